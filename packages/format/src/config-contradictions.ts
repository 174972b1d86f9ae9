// Keys that each parse, but not together. What is caught here would otherwise be found out on the day of the restore.

import type { Config } from "./config.ts";
import { replicaLabel } from "./config-replica.ts";
import { formatDuration } from "./durations.ts";

/** Says, one sentence each, which keys of `config` exclude one another; nothing if all is well. */
export function contradictionsOf(config: Config): string[] {
  return [...timesThatDisagree(config), ...sidesThatDisagree(config), ...duplicates(config)];
}

function timesThatDisagree(config: Config): string[] {
  const { snapshotIntervalMs, syncIntervalMs, retention, dataLossWindowThresholdMs } = config;
  const found: string[] = [];
  for (const [key, intervalMs] of [
    ["snapshotInterval", snapshotIntervalMs],
    ["retention.snapshotInterval", retention.snapshotIntervalMs],
  ] as const) {
    if (retention.snapshotRetentionMs < intervalMs) {
      found.push(
        `retention.snapshotRetention (${formatDuration(retention.snapshotRetentionMs)}) is shorter than ${key} ` +
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

function sidesThatDisagree(config: Config): string[] {
  const found: string[] = [];
  if (config.queue !== undefined && config.replicas.length > 0) {
    found.push(
      "replicas belong to the side that serves, and queue says that this side only sends: keep one of the two",
    );
  }
  if (config.restore.targetPath !== undefined && config.databases.length > 1) {
    found.push(`restore.targetPath names one file, and there are ${config.databases.length} databases`);
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
    ...repeated(config.replicas.map(replicaLabel)).map((label) => `the replica ${label} is listed twice`),
  ];
}

function repeated(words: readonly string[]): string[] {
  return [...new Set(words.filter((word, at) => words.indexOf(word) !== at))];
}
