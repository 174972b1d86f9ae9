// `pageferry restore --all DIR`: every database that replicas or a host hold, each into a file of its own. What fails stops no other.

import { join, resolve } from "node:path";
import {
  checkRestoreInPlace,
  type DatabaseName,
  isAcknowledged,
  isPageferryError,
  type Profile,
  profileOf,
  type RestorePlan,
} from "@pageferry/format";
import { makeDirectoryDurable, restoreFile } from "@pageferry/format/node";
import { type AllDatabases, openAllDatabases } from "./all-databases.ts";
import type { BackupSource } from "./backup-source.ts";
import type { CommandEnd } from "./command.ts";
import type { Io } from "./io.ts";
import { createProgress } from "./progress.ts";
import { type RestoreOptions, restoreTarget } from "./restore-options.ts";
import {
  exitCodeOf,
  fileNames,
  formatOutcomes,
  type Outcome,
  outcomeJson,
  summaryJson,
} from "./restore-outcome.ts";
import { topBuckets } from "./top-buckets.ts";

type AllOptions = Partial<RestoreOptions> & { readonly all: string };

/** One that is being restored: its threads and objects are some tens of megabytes. */
const parallelDefault = 2;

/** Restores all of them. The exit code is that of the first that failed. Errors: those of finding out which there are. */
export async function restoreAll(froms: readonly string[], options: AllOptions, io: Io): Promise<CommandEnd> {
  const { json = false, parallel = parallelDefault } = options;
  const databases = await openAllDatabases(froms, options, io);
  const directory = resolve(options.all);
  if (!options.dryRun) await makeDirectoryDurable(directory);
  const files = fileNames(databases.names);
  using progress = createBars(io, json);
  const outcomes: Outcome[] = [];
  const waiting = [...databases.names];
  const work = async (): Promise<void> => {
    for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) {
      const output = join(directory, files.get(name) ?? "");
      const outcome = await restoreOne({ name, output, progress: progress.of(name) }, databases, options, io);
      outcomes.push(outcome);
      if (json) io.out(`${JSON.stringify(outcomeJson(outcome))}\n`);
    }
  };
  const ends = await Promise.allSettled(Array.from({ length: parallel }, work));
  const broken = ends.find((end) => end.status === "rejected");
  if (broken !== undefined) throw broken.reason;
  progress[Symbol.dispose]();
  outcomes.sort((a, b) => (a.database < b.database ? -1 : 1));
  io.out(json ? `${JSON.stringify(summaryJson(outcomes))}\n` : formatOutcomes(outcomes, directory));
  return { exitCode: exitCodeOf(outcomes) };
}

interface One {
  readonly name: DatabaseName;
  readonly output: string;
  readonly progress: (done: number, total: number) => void;
}

async function restoreOne(one: One, databases: AllDatabases, options: AllOptions, io: Io): Promise<Outcome> {
  const { name: database, output } = one;
  try {
    const profile = profileOf({ name: database, ...databases.hintsOf(database) });
    const typed = typedFor(profile, options.acknowledge);
    checkHarm(profile, typed);
    await using source = await databases.open(database, typed);
    const plan = await source.plan(restoreTarget(options), io.signal);
    for (const warning of plan.warnings) io.err(`warning: ${database}: ${warning}\n`);
    if (options.dryRun) return { database, output, verdict: "planned", plan };
    const result = await carryOut(one, { source, plan, profile }, options, io);
    return { database, output, verdict: "restored", result };
  } catch (error) {
    io.signal.throwIfAborted();
    if (!isPageferryError(error)) throw error;
    const isLeftOut = isPageferryError(error, "harmful") || isPageferryError(error, "unacknowledged");
    return { database, output, verdict: isLeftOut ? "left-out" : "failed", error };
  }
}

function carryOut(
  { name, output, progress }: One,
  {
    source,
    plan,
    profile,
  }: { readonly source: BackupSource; readonly plan: RestorePlan; readonly profile: Profile },
  options: AllOptions,
  io: Io,
) {
  return restoreFile({
    ...{ plan, output, readers: source.readers, stallMs: source.stallMs, signal: io.signal },
    ...{ force: options.force, parallelism: options.parallelism, integrity: options.integrityCheck },
    onProgress: ({ bytes, total }) => progress(bytes, total),
    replan: (without, { generation, txId }) => source.plan({ generation, txId }, io.signal, without),
    async beforePublish(path) {
      const known =
        profile.name === "own" ? profileOf({ name, path: output, buckets: await topBuckets(path) }) : profile;
      checkHarm(known, typedFor(known, options.acknowledge));
    },
  });
}

/** Somebody who restores all of them has not looked at each: what does harm when it is put back is asked for by its words. */
function checkHarm(profile: Profile, typed: string | undefined): void {
  checkRestoreInPlace(profile, { typed, option: "--acknowledge", isAutomatic: false });
}

/** Several words, with commas between, are each for those that ask for them. */
function typedFor(profile: Profile, acknowledge: string | undefined): string | undefined {
  const words = acknowledge?.split(",") ?? [];
  return (
    words.find((word) => profile.acknowledgement !== undefined && isAcknowledged(profile, word)) ?? words[0]
  );
}

/** One bar for all: what is known of each, together. */
function createBars(io: Io, json: boolean) {
  const bar = createProgress(io, "restore", { json });
  const parts = new Map<string, readonly [done: number, total: number]>();
  const sum = (at: 0 | 1): number => [...parts.values()].reduce((bytes, part) => bytes + part[at], 0);
  return {
    of: (name: string) => (done: number, total: number) => {
      parts.set(name, [done, total]);
      bar.update(sum(0), sum(1));
    },
    [Symbol.dispose]: () => bar[Symbol.dispose](),
  };
}
