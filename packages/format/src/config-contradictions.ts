// Keys that each parse, but not together. What is caught here would otherwise be found out on the day of the restore.

import type { Config } from "./config.ts";
import { queueContradictions } from "./config-queue.ts";
import { replicaLabel } from "./config-replica.ts";
import { formatDuration } from "./durations.ts";

/** Says, one sentence each, which keys of `config` exclude one another; nothing if all is well. */
export function contradictionsOf(config: Config): string[] {
  return [
    ...timesThatDisagree(config),
    ...retentionThatCannotHold(config),
    ...sidesThatDisagree(config),
    ...duplicates(config),
  ];
}

function timesThatDisagree(config: Config): string[] {
  const { snapshotIntervalMs, syncIntervalMs, retention, dataLossWindowThresholdMs } = config;
  const found: string[] = [];
  const { key: within, ms: withinMs } = withinOf(retention);
  for (const [key, intervalMs] of [
    ["snapshotInterval", snapshotIntervalMs],
    ["retention.snapshotInterval", retention.snapshotIntervalMs],
  ] as const) {
    if (withinMs < intervalMs) {
      found.push(
        `${within} (${formatDuration(withinMs)}) is shorter than ${key} ` +
          `(${formatDuration(intervalMs)}): the newest snapshot would be dropped before the next one is made`,
      );
    }
  }
  if (syncIntervalMs > snapshotIntervalMs) {
    found.push(
      `syncInterval (${formatDuration(syncIntervalMs)}) is longer than snapshotInterval (${formatDuration(snapshotIntervalMs)})`,
    );
  }
  if (dataLossWindowThresholdMs > 0 && dataLossWindowThresholdMs <= syncIntervalMs) {
    found.push(
      `dataLossWindowThreshold (${formatDuration(dataLossWindowThresholdMs)}) is not longer than syncInterval ` +
        `(${formatDuration(syncIntervalMs)}): it would warn all the time`,
    );
  }
  return found;
}

/** The key that a person wrote, of the two words for one time. */
function withinOf({ keepWithinMs, snapshotRetentionMs }: Config["retention"]) {
  return keepWithinMs === snapshotRetentionMs
    ? { key: "retention.snapshotRetention", ms: snapshotRetentionMs }
    : { key: "retention.keepWithin", ms: keepWithinMs };
}

function retentionThatCannotHold({ retention, compaction }: Config): string[] {
  const found: string[] = [];
  const { keepWithinMs, snapshotRetentionMs, segmentRetentionMs } = retention;
  const { levelsMs } = compaction;
  if (keepWithinMs !== snapshotRetentionMs) {
    found.push(
      `retention.keepWithin (${formatDuration(keepWithinMs)}) and retention.snapshotRetention ` +
        `(${formatDuration(snapshotRetentionMs)}) are two words for one time: keep one of them`,
    );
  }
  if (keepWithinMs < segmentRetentionMs) {
    found.push(
      `${withinOf(retention).key} (${formatDuration(keepWithinMs)}) is shorter than retention.segmentRetention ` +
        `(${formatDuration(segmentRetentionMs)}): fine points would be kept for longer than coarse ones`,
    );
  }
  const [finestMs] = levelsMs;
  // Where nothing stays for longer than that, as by the Go implementation's keys, nothing is lost by it.
  if (finestMs !== undefined && segmentRetentionMs < Math.min(finestMs, keepWithinMs)) {
    found.push(
      `retention.segmentRetention (${formatDuration(segmentRetentionMs)}) is shorter than the finest of compaction.levels ` +
        `(${formatDuration(finestMs)}): segments would go before they are merged`,
    );
  }
  return [...found, ...levelsThatCannotHold(levelsMs)];
}

/** More would be merged again and again for little. */
const levelsMax = 5;

function levelsThatCannotHold(levelsMs: readonly number[]): string[] {
  const found: string[] = [];
  if (levelsMs.length > levelsMax)
    found.push(`compaction.levels holds ${levelsMs.length} levels: at most ${levelsMax} are merged`);
  if ((levelsMs[0] ?? 1) < 1)
    found.push("compaction.levels begins with less than 1ms: no window is so short");
  for (const [at, levelMs] of levelsMs.entries()) {
    const belowMs = levelsMs[at - 1];
    if (belowMs === undefined || belowMs < 1) continue;
    if (levelMs <= belowMs) {
      found.push(
        `compaction.levels: ${formatDuration(levelMs)} is not longer than ${formatDuration(belowMs)} before it`,
      );
    } else if (levelMs % belowMs !== 0) {
      found.push(
        `compaction.levels: ${formatDuration(levelMs)} is not a multiple of ${formatDuration(belowMs)} before it: ` +
          "their windows would not end together",
      );
    }
  }
  return found;
}

function sidesThatDisagree(config: Config): string[] {
  const found = config.queue === undefined ? [] : queueContradictions(config.queue);
  if (config.queue !== undefined && config.replicas.length > 0) {
    found.push(
      "replicas belong to the side that serves, and queue says that this side only sends: keep one of the two",
    );
  }
  if (config.restore.targetPath !== undefined && config.databases.length > 1) {
    found.push(`restore.targetPath names one file, and there are ${config.databases.length} databases`);
  }
  if (config.restore.targetPath !== undefined && config.directories.length > 0) {
    found.push("restore.targetPath names one file, and an entry with dir is for any number of them");
  }
  for (const { name, shadowDirectory } of config.databases) {
    if (shadowDirectory !== undefined && shadowDirectory === config.shadowDir) {
      found.push(
        `shadowDir is the agent's own directory, and shadowDirectory of ${name} the one that the application writes: they cannot be the same`,
      );
    }
  }
  return found;
}

function duplicates(config: Config): string[] {
  return [
    ...repeated(config.databases.map(({ name }) => name)).map(
      (name) => `two databases are named ${name}: give one of them another \`name\``,
    ),
    ...repeated(config.databases.map(({ path }) => path)).map(
      (path) => `the database ${path} is listed twice`,
    ),
    ...repeated(config.directories.map(({ dir, pattern }) => `${dir} with the pattern ${pattern}`)).map(
      (entry) => `the directory ${entry} is listed twice`,
    ),
    ...repeated(config.databases.flatMap((one) => one.shadowDirectory ?? [])).map(
      (path) => `the shadowDirectory ${path} is listed twice: each application has its own`,
    ),
    ...repeated(config.replicas.map(replicaLabel)).map((label) => `the replica ${label} is listed twice`),
  ];
}

function repeated(words: readonly string[]): string[] {
  return [...new Set(words.filter((word, at) => words.indexOf(word) !== at))];
}
