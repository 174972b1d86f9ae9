// The configuration's keys as zod schemas. Short forms (a path for a database, a URL for a replica) are spelled out here.

import { z } from "zod";
import { whyNoPattern } from "./companion-place.ts";
import { alarmsShape, heartbeatSchema, webhookShape } from "./config-alarms.ts";
import { type CompressionConfig, compressionSettings, parseCompressionConfig } from "./config-compression.ts";
import { directoryShape, eitherEntry } from "./config-directory.ts";
import { queueShape } from "./config-queue.ts";
import { flag, portSchema, replicaEntryFromUrl, replicaShapes, text } from "./config-replica.ts";
import { parseByteCount } from "./config-size.ts";
import { nearestKey } from "./config-text.ts";
import { parseDuration } from "./durations.ts";
import { isPageferryError } from "./errors.ts";
import { profileNames } from "./profiles.ts";

/** An object whose unknown keys are errors that name the nearest known one. */
function keyed<Shape extends z.ZodRawShape>(shape: Shape): z.ZodObject<Shape, z.core.$strict> {
  return z.strictObject(shape, {
    error: (issue) =>
      issue.code === "unrecognized_keys" ? unknownKeys(issue.keys, Object.keys(shape)) : undefined,
  });
}

function unknownKeys(keys: readonly string[], known: readonly string[]): string {
  return keys
    .map((key) => {
      const elsewhere = Object.entries(nestedKeys).find(([, nested]) => nested.includes(key));
      const near = nearestKey(key, known) ?? (elsewhere && `${elsewhere[0]}.${key}`);
      return `${key} is not a known key; ${near === undefined ? `known are ${known.join(", ")}` : `the nearest is ${near}`}`;
    })
    .join("; ");
}

/** Runs one of our parsers as a schema. Its own message may repeat the value, which may be a secret: `expected` is said instead. */
function parsed<Value>(parse: (value: unknown) => Value, expected: string): z.ZodType<Value> {
  return z.unknown().transform((value, context) => {
    try {
      return parse(value);
    } catch (error) {
      if (!isPageferryError(error)) throw error;
      context.addIssue({ code: "custom", message: `${expected} is expected` });
      return z.NEVER;
    }
  });
}

/** Spells out a short form before `schema` sees it. */
function spelledOut<Schema extends z.ZodType>(spell: (value: unknown) => unknown, schema: Schema) {
  return z.preprocess((value, context) => {
    try {
      return spell(value);
    } catch (error) {
      if (!isPageferryError(error)) throw error;
      context.addIssue({ code: "custom", message: error.message });
      return z.NEVER;
    }
  }, schema);
}

const duration = () =>
  parsed(parseDuration, 'a duration such as "6h" or "1h30m", or nanoseconds,').optional();
/** The same, or a word for never. */
const durationOrOff = () =>
  parsed(
    (value) => (isOff(value) ? 0 : parseDuration(value)),
    'a duration such as "24h", or "off",',
  ).optional();
const isOff = (value: unknown): boolean => value === false || value === "off";
/** Points of calendar hours, days, weeks or months. */
const keptCount = () => z.int().min(0).max(100_000).optional();
const byteCount = () => parsed(parseByteCount, 'a number of bytes, or a text such as "64MiB",').optional();

/** Unknown codecs are refused here, where Go would wait until the first segment. */
const compression = parsed((value): CompressionConfig => {
  const config = parseCompressionConfig(value);
  compressionSettings(config);
  return config;
}, '"zstd", "none" or {codec, level, window}');

const replica = spelledOut(
  (value) => (typeof value === "string" ? replicaEntryFromUrl(value) : value),
  z.discriminatedUnion("type", [
    keyed({ type: z.literal("file"), ...replicaShapes.file }),
    keyed({ type: z.literal("s3"), ...replicaShapes.s3 }),
    keyed({ type: z.literal("nats"), ...replicaShapes.nats }),
    keyed({ type: z.literal("sftp"), ...replicaShapes.sftp }),
  ]),
);

/** What a database may be called; see docs/format.md. */
export const databaseNamePattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
const databaseName = z.string().regex(databaseNamePattern, {
  error: "a name of letters, digits, dots, dashes and underscores is expected, 64 at most",
});

/** Patterns of one database: each is looked for every few seconds. */
const companionPatternsMax = 64;
const companionPattern = text.superRefine((pattern, context) => {
  const why = whyNoPattern(pattern);
  if (why !== undefined) context.addIssue({ code: "custom", message: why });
});

const retentionShape = {
  snapshotInterval: duration(),
  snapshotRetention: duration(),
  checkInterval: duration(),
  segmentRetention: duration(),
  keepWithin: duration(),
  keepHourly: keptCount(),
  keepDaily: keptCount(),
  keepWeekly: keptCount(),
  keepMonthly: keptCount(),
  supersededRetention: duration(),
};

const compactionShape = { levels: z.array(parsed(parseDuration, 'a duration such as "5m"')).optional() };

const restoreShape = {
  enabled: flag.default(false),
  ...{ targetPath: text.optional(), tempDir: text.optional() },
  ...{ token: text.optional(), acknowledge: text.optional() },
  files: flag.optional(),
};

const listenShape = { host: text.default("127.0.0.1"), port: portSchema.optional() };

const webhook = spelledOut(
  (value) => (typeof value === "string" ? { url: value } : value),
  keyed(webhookShape),
);

const alarmsKeys = { webhooks: z.array(webhook).default([]), ...alarmsShape };

/** Where a key is looked for when it stands in the wrong place. */
const nestedKeys: Readonly<Record<string, readonly string[]>> = {
  retention: Object.keys(retentionShape),
  compaction: Object.keys(compactionShape),
  restore: Object.keys(restoreShape),
  listen: Object.keys(listenShape),
  queue: Object.keys(queueShape),
  alarms: Object.keys(alarmsKeys),
};

/** The keys of the Go implementation's configuration; one that has no others is in "the seed's form" of docs/operations.md. */
export const goKeys: ReadonlySet<string> = new Set([
  "shadowDir",
  "snapshotInterval",
  "retention",
  "compression",
  "replicas",
  "restore",
  "dataLossWindowThreshold",
]);

/** The whole configuration as written; `resolve` in config.ts fills in what is absent. */
export const configSchema = keyed({
  databases: z
    .array(
      eitherEntry(
        spelledOut(
          (value) => (typeof value === "string" ? { path: value } : value),
          keyed({
            ...{ path: text, name: databaseName.optional(), heartbeat: heartbeatSchema.optional() },
            profile: z.enum(profileNames).optional(),
            shadowDirectory: text.optional(),
            files: z.array(companionPattern).max(companionPatternsMax).optional(),
          }),
        ),
        keyed(directoryShape),
      ),
    )
    .default([]),
  dataDir: text.optional(),
  shadowDir: text.optional(),
  snapshotInterval: duration(),
  retention: keyed(retentionShape).default({}),
  compaction: spelledOut((value) => (isOff(value) ? { levels: [] } : value), keyed(compactionShape)).default(
    {},
  ),
  verifyInterval: durationOrOff(),
  compression: compression.optional(),
  replicas: z.array(replica).default([]),
  restore: keyed(restoreShape).default({ enabled: false }),
  dataLossWindowThreshold: duration(),
  syncInterval: duration(),
  granularity: z.enum(["interval", "transaction"]).default("interval"),
  queue: spelledOut(
    (value) => (typeof value === "string" ? { url: value } : value),
    keyed(queueShape),
  ).optional(),
  listen: spelledOut(listenFromText, keyed(listenShape)).default({ host: "127.0.0.1" }),
  token: text.optional(),
  packWindow: duration(),
  queueRetention: duration(),
  shadowBytesMax: byteCount(),
  shadowPolicy: z.enum(["squash", "stop"]).default("squash"),
  maxReadRate: byteCount(),
  baseDeadline: duration(),
  storageBytesMax: byteCount(),
  inspect: flag.default(false),
  alarms: keyed(alarmsKeys).default({ webhooks: [], allowPrivate: false }),
});

/** Every key, nested ones with a dot: what docs/operations.md has a row for. Of `databases` and `replicas` only the key itself. */
export const configKeys: readonly string[] = Object.keys(configSchema.shape).flatMap((key) =>
  Object.hasOwn(nestedKeys, key) ? (nestedKeys[key] ?? []).map((nested) => `${key}.${nested}`) : [key],
);

/** "127.0.0.1:7373", "[::1]:7373", ":7373" or 7373. */
function listenFromText(value: unknown): unknown {
  if (typeof value === "number") return { port: value };
  if (typeof value !== "string") return value;
  const [, host = "", port] = /^(\[[^\]]*\]|[^:]*):?(\d*)$/.exec(value) ?? [];
  if (/^\d+$/.test(host) && !port) return { port: host };
  return { ...(host === "" ? {} : { host: host.replace(/[[\]]/g, "") }), ...(port ? { port } : {}) };
}
