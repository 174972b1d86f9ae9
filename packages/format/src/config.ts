// The whole configuration (docs/operations.md): one for agent, functions and command line. It comes in as YAML or JSON
// that someone else has read, and goes out checked, with every default filled in, durations in ms and sizes in bytes.

import type { z } from "zod";
import type { AlarmsConfig } from "./config-alarms.ts";
import { type CompressionConfig, defaultCompression } from "./config-compression.ts";
import { contradictionsOf } from "./config-contradictions.ts";
import type { DirectoryConfig } from "./config-directory.ts";
import type { QueueConfig } from "./config-queue.ts";
import { type ReplicaConfig, secretKeys } from "./config-replica.ts";
import {
  type CompactionConfig,
  type RetentionConfig,
  resolveCompaction,
  resolveRetention,
} from "./config-retention.ts";
import { configSchema, databaseNamePattern, goKeys } from "./config-schema.ts";
import { expandEnvironment, formatKeyPath, type KeyPath, valueAt } from "./config-text.ts";
import { PageferryError } from "./errors.ts";
import type { ProfileName } from "./profiles.ts";

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
const dayMs = 24 * hourMs;

/** A database to back up. */
export interface DatabaseConfig {
  /** Its name in every replica: the file's stem unless told. Letters, digits, `.`, `_` and `-`, 64 at most. */
  readonly name: string;
  readonly path: string;
  /** Called every minute while this database is healthy, instead of `alarms.heartbeat`. */
  readonly heartbeat?: string;
  /** Where a Go application's witchbolt `stream` writes its commits: these are captured, and not the file. */
  readonly shadowDirectory?: string;
  /** The application it is of, where name and path do not tell it. */
  readonly profile?: ProfileName;
  /** Small files beside it that are backed up when they change: paths, in which `*` and `?` stand for names of one directory. */
  readonly files?: readonly string[];
}

/** Restore on start. */
export interface RestoreConfig {
  readonly enabled: boolean;
  /** Where to restore to; the database's own path unless told. */
  readonly targetPath?: string;
  /** Where the file is put together; the target's directory unless told. Renaming needs the same file system. */
  readonly tempDir?: string;
  /** A token of the host with the scope `restore`, for an agent that restores: its own can add, and read nothing. */
  readonly token?: string;
  /** The words that an application's profile asks for before an old file is put in its place. */
  readonly acknowledge?: string;
  /** Whether companion files that are missing come back to their places; without it they can be had by `restore --files`. */
  readonly files?: boolean;
}

/** The configuration, complete. Where a number has no unit in its name it is a count. */
export interface Config {
  /** Only the Go implementation's keys were used: one database, and a replica's path is itself the root of its archive. */
  readonly isGoForm: boolean;
  readonly databases: readonly DatabaseConfig[];
  /** The entries of `databases` that name a directory. */
  readonly directories: readonly DirectoryConfig[];
  /** Where `up` and `serve` keep queue, stage, token and shadow; `pageferry-data` in the working directory unless told. */
  readonly dataDir?: string;
  /** The agent's durable local log; `<dataDir>/shadow` unless told. */
  readonly shadowDir?: string;
  /** How often a whole database is sent beside its segments. Default 6h. Shorter: faster restores, more bytes. */
  readonly snapshotIntervalMs: number;
  readonly retention: RetentionConfig;
  readonly compaction: CompactionConfig;
  /** How often restores are tried. Default 24h; 0 never. */
  readonly verifyIntervalMs: number;
  readonly compression: CompressionConfig;
  readonly replicas: readonly ReplicaConfig[];
  readonly restore: RestoreConfig;
  /** Warn when a replica lacks commits for longer; 0: after about a minute. */
  readonly dataLossWindowThresholdMs: number;
  /** How long commits are gathered before they are sent. Default 1s. 0 sends each at once, at the price of more requests. */
  readonly syncIntervalMs: number;
  /** `interval`: one point per batch. `transaction`: every commit is a point, at the price of larger archives. */
  readonly granularity: "interval" | "transaction";
  /** Where to send; absent where agent and host are one process. */
  readonly queue?: QueueConfig;
  /** Where the host listens. Without a port: 7373, or a free one if that is taken. */
  readonly listen: { readonly host: string; readonly port?: number };
  /** The bearer token of the host; `<dataDir>/token` unless told. */
  readonly token?: string;
  /** How long fan-out waits for more segments to pack into one object. Default 0. */
  readonly packWindowMs: number;
  /** How long the queue keeps what no replica has taken. Default 14 days; an alarm comes at half of it. */
  readonly queueRetentionMs: number;
  /** The shadow merges segments above this size instead of growing. Default 1 GiB. */
  readonly shadowBytesMax: number;
  /** Above it: `squash` merges and in the end gives up what was not sent; `stop` gives up nothing and captures no more. Default squash. */
  readonly shadowPolicy: "squash" | "stop";
  /** Bytes per second that capture may read; 0 is no limit. Default 256 MiB. */
  readonly maxReadRate: number;
  /** How long a base copy may take under load before `source-too-busy` is raised. Default 10 min. */
  readonly baseDeadlineMs: number;
  /** Above this much of one database in one replica the alarm `storage` is raised; 0 is no ceiling. */
  readonly storageBytesMax: number;
  /** Whether a host shows buckets, keys and values to tokens with the scope `inspect`. Default false. */
  readonly inspect: boolean;
  readonly alarms: AlarmsConfig;
}

/** What `parseConfig` may look at besides the value. */
export interface ParseConfigOptions {
  /** For `${NAME}`; without it every variable is unset. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** What messages call the configuration, such as its file's name. */
  readonly source?: string;
}

/**
 * Checks a configuration and fills in its defaults. Every mistake in it is named, with its path and, for a key nobody
 * knows, the nearest known one; secrets are never repeated. Errors: `bad-config`.
 */
export function parseConfig(value: unknown, options: ParseConfigOptions = {}): Config {
  const source = options.source ?? "configuration";
  const expanded = expandEnvironment(value ?? {}, options.env ?? {});
  const result = configSchema.safeParse(expanded);
  if (!result.success) {
    const problems = result.error.issues.map((issue) => describeIssue(issue, value));
    throw new PageferryError("bad-config", `${source}: ${problems.join("; ")}`);
  }
  const config = resolve(result.data, isGoForm(expanded), source);
  const contradictions = contradictionsOf(config);
  if (contradictions.length > 0)
    throw new PageferryError("bad-config", `${source}: ${contradictions.join("; ")}`);
  return config;
}

/** `raw` is what was written, before variables were filled in: showing it shows no secret from the environment. */
function describeIssue(issue: z.core.$ZodIssue, raw: unknown): string {
  const at = formatKeyPath(issue.path);
  if (issue.code === "invalid_type" && issue.message.endsWith("received undefined"))
    return `${at}: is missing`;
  const given = safeToShow(raw, issue.path);
  return `${at === "" ? "" : `${at}: `}${lowerFirst(issue.message)}${given === "" ? "" : ` (it is ${given})`}`;
}

function safeToShow(raw: unknown, path: KeyPath): string {
  const isSecret = path.some((key) => secretKeys.has(String(key)) || key === "url") || path.length === 0;
  const value = isSecret ? undefined : valueAt(raw, path);
  // A replica's URL may hold a password; an object may hold anything.
  if (typeof value === "string") return value.includes("://") ? "" : JSON.stringify(value.slice(0, 80));
  return typeof value === "number" || typeof value === "boolean" || value === null ? String(value) : "";
}

function lowerFirst(message: string): string {
  return /^[A-Z][a-z]/.test(message) ? `${message.charAt(0).toLowerCase()}${message.slice(1)}` : message;
}

type Written = z.output<typeof configSchema>;

function isGoForm(value: unknown): boolean {
  const keys = typeof value === "object" && value !== null ? Object.keys(value) : [];
  return keys.length > 0 && keys.every((key) => goKeys.has(key));
}

function resolve(written: Written, isGoForm: boolean, source: string): Config {
  const snapshotIntervalMs = written.snapshotInterval || 6 * hourMs;
  const { dataDir, shadowDir, queue, listen, token } = written;
  return {
    isGoForm,
    databases: written.databases.flatMap((entry) => {
      if ("dir" in entry) return [];
      const { path, name, ...more } = entry;
      return { path, name: name ?? databaseNameOf(path, source), ...given(more) };
    }),
    directories: written.databases.flatMap((entry) => {
      if (!("dir" in entry)) return [];
      const { dir, pattern, recursive, watch, name, profile } = entry;
      return { ...{ dir, pattern, recursive, watch }, ...given({ name, profile }) };
    }),
    ...given({ dataDir, shadowDir, token }),
    snapshotIntervalMs,
    retention: resolveRetention(written.retention, isGoForm, snapshotIntervalMs),
    compaction: resolveCompaction(written.compaction),
    verifyIntervalMs: written.verifyInterval ?? dayMs,
    compression: written.compression ?? defaultCompression,
    replicas: written.replicas as readonly ReplicaConfig[],
    restore: given(written.restore),
    dataLossWindowThresholdMs: written.dataLossWindowThreshold ?? 0,
    syncIntervalMs: written.syncInterval ?? 1000,
    granularity: written.granularity,
    ...(queue === undefined ? {} : { queue: given(queue) }),
    listen: given(listen),
    packWindowMs: written.packWindow ?? 0,
    queueRetentionMs: written.queueRetention || 14 * dayMs,
    shadowBytesMax: written.shadowBytesMax ?? 2 ** 30,
    shadowPolicy: written.shadowPolicy,
    maxReadRate: written.maxReadRate ?? 256 * 2 ** 20,
    baseDeadlineMs: written.baseDeadline || 10 * minuteMs,
    storageBytesMax: written.storageBytesMax ?? 0,
    inspect: written.inspect,
    alarms: { ...given(written.alarms), webhooks: written.alarms.webhooks.map(given) },
  };
}

/** The name of a database that was given by its path alone: the file's stem. */
function databaseNameOf(path: string, source: string): string {
  const file = path.split("/").at(-1) ?? "";
  const stem = file.replace(/(?<=.)\.[^.]*$/, "");
  if (!databaseNamePattern.test(stem)) {
    throw new PageferryError(
      "bad-config",
      `${source}: the database ${path} needs a \`name\`: ${JSON.stringify(stem)} is not one`,
    );
  }
  return stem;
}

type Given<T> = { [K in keyof T as undefined extends T[K] ? never : K]: T[K] } & {
  [K in keyof T as undefined extends T[K] ? K : never]?: Exclude<T[K], undefined>;
};

/** Leaves out what is undefined, so that "absent" has one form. */
function given<T extends object>(fields: T): Given<T> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Given<T>;
}
