// The databases of a host, each with its replicas: which there are, how they stand, what their agents are asked for, and
// where they can be read.

import { setTimeout as sleep } from "node:timers/promises";
import {
  type DatabaseName,
  type GenerationNeeds,
  isPageferryError,
  type Needs,
  PageferryError,
  parseDatabaseName,
} from "@pageferry/format";
import type { Alarms } from "./alarms.ts";
import type { Repairs } from "./behind.ts";
import { ingestLane } from "./consumer.ts";
import type { Holdings } from "./holdings.ts";
import type { HostReader } from "./host-reader.ts";
import { computeGenerationNeeds, computeNeeds, settleMsDefault } from "./needs.ts";
import type { DurableQueue } from "./queue.ts";
import type { Sources } from "./sources.ts";
import { type DatabaseStatus, databaseStatus, type StatusOptions } from "./status.ts";
import type { CallOptions } from "./store.ts";
import type { Target } from "./targets.ts";
import type { Verified } from "./verified.ts";

/** How long an answer waits for a replica that must be listed first. */
const listingWaitMs = 5000;

/** Once one replica has answered, how long the others are waited for: one that hangs must delay nobody's envelopes. */
const restWaitMs = 100;

/** How long the first envelope of a database waits to hear that a replica is another's; those after it do not wait. */
const admitWaitMs = 500;

/** How often a replica that could not tell is asked again whose it is. */
const admitAgainMs = 10_000;

export interface DatabasesOptions {
  readonly queue: Pick<DurableQueue, "depths">;
  readonly sources: Sources;
  readonly targets: readonly Target[];
  readonly alarms: Alarms;
  /** Those the configuration names. */
  readonly known: readonly DatabaseName[];
  readonly repairs: Pick<Repairs, "needsRepair">;
  readonly verified?: Pick<Verified, "of"> | undefined;
  readonly upkeep?: StatusOptions["upkeep"];
  readonly counts?: StatusOptions["counts"];
  readonly now: () => number;
  readonly settleMs?: number;
  /** How old the newest snapshot may become, where snapshots are built here. */
  readonly snapshotIntervalMs?: number | undefined;
  /** Since when a database's holes are known, for `needs`. Default: in memory, from the first time somebody asks. */
  readonly holesOf?: (database: DatabaseName) => Map<string, number>;
}

export interface Databases {
  databases(): Promise<readonly DatabaseName[]>;
  /** Throws `conflict` where a replica is the archive of another database; a replica that cannot tell now is not waited for. */
  admit(database: DatabaseName): Promise<void>;
  status(database: DatabaseName): Promise<DatabaseStatus>;
  /** The same without waiting; holdings that were not listed yet are asked for, and unknown until they come. */
  standing(database: DatabaseName): DatabaseStatus;
  /** What the current generation lacks, of what is known now; `undefined` while that is nothing. To be asked every few seconds. */
  gaps(database: DatabaseName): GenerationNeeds | undefined;
  /** `unavailable` while no replica can be listed: an agent that is told less than there is would do harm. */
  needs(database: DatabaseName, call: CallOptions): Promise<Needs>;
  /** Healthiest first. */
  readers(database: DatabaseName): Promise<readonly HostReader[]>;
}

export function createDatabases(options: DatabasesOptions): Databases {
  const { queue, sources, targets, alarms, known, now, repairs, verified, upkeep, counts } = options;
  const { holesOf = inMemory() } = options;
  const ownHolesOf = inMemory();
  const discovered = new Set<DatabaseName>();
  // A replica that cannot be listed now tells what it holds when it can; nobody waits for it each time.
  const discovery = sources.all().length > 0 ? Promise.resolve() : discover(targets, discovered);
  const firstLook = Promise.race([discovery, sleep(listingWaitMs, undefined, { ref: false })]);
  const holdingsOf = (database: DatabaseName, call: CallOptions): Promise<Answer<Holdings>[]> =>
    answers(
      targets.map((target) => holdingsIn(target, database)),
      call,
    );
  const settleMs = options.settleMs ?? settleMsDefault;
  const facts = (database: DatabaseName, replicas: readonly Holdings[]) => ({
    ...{ replicas, source: sources.get(database), isPending: isPending(database, queue, targets) },
    ...{ nowMs: now(), settleMs },
  });
  const gaps: Databases["gaps"] = (database) => {
    const source = sources.get(database);
    const replicas = targets.flatMap(({ set }) => set.opened().get(database)?.holdingsNow() ?? []);
    if (source === undefined || replicas.length === 0) return undefined;
    const firstSeen = ownHolesOf(database);
    return computeGenerationNeeds(source.generation, { ...facts(database, replicas), firstSeen });
  };
  const shown = (database: DatabaseName) =>
    databaseStatus(database, {
      ...{ queue, sources, targets, alarms, repairs, verified, upkeep, counts },
      gaps: gaps(database)?.missing.map(([from, to]) => ({ from, to })),
    });
  return {
    async databases() {
      await firstLook;
      const heard = sources.all().map(({ database }) => database);
      return [...new Set([...known, ...heard, ...discovered])].sort();
    },
    admit: createAdmission(targets),
    async status(database) {
      await holdingsOf(database, {});
      return shown(database);
    },
    standing(database) {
      for (const target of targets) holdingsIn(target, database).catch(() => undefined);
      return shown(database);
    },
    gaps,
    async needs(database, call) {
      const results = await holdingsOf(database, call);
      call.signal?.throwIfAborted();
      const replicas = results.flatMap((result) => (result?.status === "fulfilled" ? [result.value] : []));
      if (replicas.length === 0 && targets.length > 0) {
        const failed = results.find((result) => result?.status === "rejected");
        throw new PageferryError("unavailable", `no replica of ${database} can be listed now`, {
          cause: failed?.reason,
        });
      }
      return computeNeeds({
        ...facts(database, replicas),
        firstSeen: holesOf(database),
        snapshotIntervalMs: options.snapshotIntervalMs,
      });
    },
    async readers(database) {
      const byHealth = targets.toSorted((a, b) => a.health().failures - b.health().failures);
      const opened = await answers(
        byHealth.map(async ({ set }) => (await set.of(database)).remembered),
        {},
      );
      const readers = opened.flatMap((result) => (result?.status === "fulfilled" ? [result.value] : []));
      const failed = opened.find((result) => result?.status === "rejected");
      if (readers.length === 0 && failed !== undefined) throw failed.reason;
      return readers;
    },
  };
}

/** Since when holes are known, for as long as this process is. */
function inMemory(): (database: DatabaseName) => Map<string, number> {
  const holes = new Map<DatabaseName, Map<string, number>>();
  return (database) => {
    const own = holes.get(database) ?? new Map<string, number>();
    holes.set(database, own);
    return own;
  };
}

/** Whether messages of a database still wait somewhere. */
function isPending(
  database: DatabaseName,
  queue: Pick<DurableQueue, "depths">,
  targets: readonly Target[],
): boolean {
  const waiting = new Set(
    queue
      .depths(database)
      .filter((depth) => depth.messages > 0)
      .map(({ lane }) => lane),
  );
  // A lane of one replica that is down says nothing while another has no lane: that one took everything.
  return (
    waiting.has(ingestLane) ||
    targets.every(({ lane, copyLane }) => waiting.has(lane) || waiting.has(copyLane))
  );
}

/** What a replica holds; of one that is left alone, what it held when it last answered. */
async function holdingsIn(target: Target, database: DatabaseName): Promise<Holdings> {
  const known = target.set.opened().get(database)?.holdingsNow();
  return known ?? target.ask(async (signal) => (await target.set.of(database)).holdings({ signal }));
}

/** What came of a question; `undefined`: nothing yet. */
type Answer<Value> = PromiseSettledResult<Value> | undefined;

/** Waits for all answers, but not long for the rest when one is there, and never for longer than anybody would. */
async function answers<Value>(
  asked: readonly Promise<Value>[],
  { signal }: CallOptions,
): Promise<Answer<Value>[]> {
  const results: Answer<Value>[] = asked.map(() => undefined);
  const over = new AbortController();
  const told = asked.map(async (one, at) => {
    [results[at]] = await Promise.allSettled([one]);
  });
  const first = Promise.any(asked).then(
    () => sleep(restWaitMs, undefined, { ref: false, signal: over.signal }),
    () => undefined,
  );
  const until = signal === undefined ? over.signal : AbortSignal.any([signal, over.signal]);
  const longest = sleep(listingWaitMs, undefined, { ref: false, signal: until });
  for (const timer of [first, longest]) timer.catch(() => undefined);
  await Promise.race([Promise.all(told), first, longest]).catch(() => undefined);
  over.abort();
  return [...results];
}

interface Asked {
  readonly isTold: boolean;
  /** When it is asked again. */
  readonly againMs: number;
  /** It is another's. */
  readonly error?: unknown;
}

/** A replica that is another's archive is refused; one that cannot tell now is asked again, beside what goes on. */
function createAdmission(targets: readonly Target[]): Databases["admit"] {
  const asked = new Map<DatabaseName, Map<Target, Asked>>();
  const ask = async (database: DatabaseName, target: Target): Promise<void> => {
    const states = asked.get(database) ?? new Map<Target, Asked>();
    asked.set(database, states);
    // What it told before holds until it tells anew: nothing comes in while it is asked, or does not answer.
    const before = states.get(target);
    const known = before?.error === undefined ? {} : { error: before.error };
    states.set(target, { isTold: false, againMs: Number.POSITIVE_INFINITY, ...known });
    try {
      await target.ask(() => target.set.of(database));
      states.set(target, { isTold: true, againMs: Number.POSITIVE_INFINITY });
    } catch (error) {
      const againMs = performance.now() + admitAgainMs;
      states.set(target, {
        isTold: false,
        againMs,
        ...(isPageferryError(error, "conflict") ? { error } : known),
      });
    }
  };
  return async (database) => {
    const isFirst = !asked.has(database);
    const due = targets.filter((target) => {
      const state = asked.get(database)?.get(target);
      return state === undefined || (!state.isTold && performance.now() >= state.againMs);
    });
    const telling = Promise.all(due.map((target) => ask(database, target)));
    if (isFirst) await Promise.race([telling, sleep(admitWaitMs, undefined, { ref: false })]);
    for (const { error } of asked.get(database)?.values() ?? []) if (error !== undefined) throw error;
  };
}

/** A host that lost its own memory finds its databases in its replicas. */
async function discover(targets: readonly Target[], found: Set<DatabaseName>): Promise<void> {
  const asked = targets.map(async (target) => {
    for (const name of await target.ask((signal) => target.set.discover({ signal }))) {
      if (isDatabaseName(name)) found.add(parseDatabaseName(name));
    }
  });
  // One that fails has its own alarm; the others may tell more.
  await Promise.allSettled(asked);
}

function isDatabaseName(name: string): boolean {
  try {
    parseDatabaseName(name);
    return true;
  } catch {
    return false;
  }
}
