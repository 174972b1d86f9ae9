// The databases of a host, each with its replicas: which there are, how they stand, what their agents are asked for, and
// where they can be read.

import { setTimeout as sleep } from "node:timers/promises";
import {
  type ArchiveReader,
  type DatabaseName,
  isPageferryError,
  type Needs,
  PageferryError,
  parseDatabaseName,
} from "@pageferry/format";
import type { Alarms } from "./alarms.ts";
import { ingestLane } from "./consumer.ts";
import type { Holdings } from "./holdings.ts";
import { computeNeeds, settleMsDefault } from "./needs.ts";
import type { DurableQueue } from "./queue.ts";
import type { Sources } from "./sources.ts";
import { type DatabaseStatus, databaseStatus } from "./status.ts";
import type { CallOptions } from "./store.ts";
import type { Target } from "./targets.ts";

/** How long an answer waits for a replica that must be listed first. */
const listingWaitMs = 5000;

/** How long the first envelope of a database waits to hear that a replica is another's. */
const admitWaitMs = 500;

export interface DatabasesOptions {
  readonly queue: DurableQueue;
  readonly sources: Sources;
  readonly targets: readonly Target[];
  readonly alarms: Alarms;
  /** Those the configuration names. */
  readonly known: readonly DatabaseName[];
  readonly now: () => number;
  readonly settleMs?: number;
}

export interface Databases {
  databases(): Promise<readonly DatabaseName[]>;
  /** Throws `conflict` where a replica is the archive of another database; a replica that cannot tell now is not waited for. */
  admit(database: DatabaseName): Promise<void>;
  status(database: DatabaseName): Promise<DatabaseStatus>;
  /** `unavailable` while no replica can be listed: an agent that is told less than there is would do harm. */
  needs(database: DatabaseName, call: CallOptions): Promise<Needs>;
  /** Healthiest first. */
  readers(database: DatabaseName): Promise<readonly ArchiveReader[]>;
}

export function createDatabases(options: DatabasesOptions): Databases {
  const { queue, sources, targets, alarms, known, now } = options;
  const holes = new Map<DatabaseName, Map<string, number>>();
  const admitted = new Set<DatabaseName>();
  const discovery = sources.all().length > 0 ? Promise.resolve([]) : discover(targets);
  const holdingsOf = async (
    database: DatabaseName,
    call: CallOptions,
  ): Promise<PromiseSettledResult<Holdings>[]> => {
    const until = AbortSignal.timeout(listingWaitMs);
    const signal = call.signal === undefined ? until : AbortSignal.any([call.signal, until]);
    return Promise.allSettled(targets.map(async ({ set }) => (await set.of(database)).holdings({ signal })));
  };
  return {
    async databases() {
      const names = new Set([
        ...known,
        ...sources.all().map(({ database }) => database),
        ...(await discovery),
      ]);
      return [...names].sort();
    },
    async admit(database) {
      if (admitted.has(database)) return;
      const told = Promise.allSettled(targets.map(({ set }) => set.of(database)));
      const results = await Promise.race([told, sleep(admitWaitMs, [], { ref: false })]);
      for (const result of results) {
        if (result.status === "rejected" && isPageferryError(result.reason, "conflict")) throw result.reason;
      }
      if (results.length > 0 && results.every(({ status }) => status === "fulfilled")) admitted.add(database);
    },
    async status(database) {
      await holdingsOf(database, {});
      return databaseStatus(database, { queue, sources, targets, alarms });
    },
    async needs(database, call) {
      const results = await holdingsOf(database, call);
      call.signal?.throwIfAborted();
      const replicas = results.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
      const failed = results.find((result) => result.status === "rejected");
      if (replicas.length === 0 && failed !== undefined) {
        throw new PageferryError("unavailable", `no replica of ${database} can be listed now`, {
          cause: failed.reason,
        });
      }
      const firstSeen = holes.get(database) ?? new Map<string, number>();
      holes.set(database, firstSeen);
      const waiting = new Set(
        queue
          .depths()
          .filter((depth) => depth.database === database && depth.messages > 0)
          .map(({ lane }) => lane),
      );
      // A lane of one replica that is down says nothing while another has no lane: that one took everything.
      const isPending =
        waiting.has(ingestLane) ||
        targets.every(({ lane, copyLane }) => waiting.has(lane) || waiting.has(copyLane));
      const settleMs = options.settleMs ?? settleMsDefault;
      return computeNeeds({
        replicas,
        source: sources.get(database),
        isPending,
        nowMs: now(),
        settleMs,
        firstSeen,
      });
    },
    async readers(database) {
      const byHealth = targets.toSorted((a, b) => a.health().failures - b.health().failures);
      const opened = await Promise.allSettled(
        byHealth.map(async ({ set }) => (await set.of(database)).reader),
      );
      const readers = opened.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
      const failed = opened.find((result) => result.status === "rejected");
      if (readers.length === 0 && failed !== undefined) throw failed.reason;
      return readers;
    },
  };
}

/** A host that lost its own memory finds its databases in its replicas. */
async function discover(targets: readonly Target[]): Promise<DatabaseName[]> {
  const names = new Set<DatabaseName>();
  for (const { set } of targets) {
    try {
      for (const name of await set.discover()) if (isDatabaseName(name)) names.add(parseDatabaseName(name));
    } catch {
      // A replica that cannot be listed now has its own alarm; the others may tell more.
    }
  }
  return [...names];
}

function isDatabaseName(name: string): boolean {
  try {
    parseDatabaseName(name);
    return true;
  } catch {
    return false;
  }
}
