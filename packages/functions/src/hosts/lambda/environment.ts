// What a deployment tells its functions, in environment variables: read once at a cold start, and checked whole. A mistake
// names its variable, and never repeats a value that may be a secret.

import { createPrivateKey, type KeyObject } from "node:crypto";
import {
  type Config,
  PageferryError,
  parseConfig,
  type ReplicaConfig,
  replicaLabel,
} from "@pageferry/format";
import { z } from "zod";
import { parseTokenRecord, type TokenRecord } from "../../tokens.ts";

/** AWS Lambda takes no more of all variables of a function together, names and values. */
const environmentBytesMax = 4096;

/** Databases that a sender may add to: all, or these. */
export type SenderDatabases = "*" | ReadonlySet<string>;

/** What every function of a deployment knows of it. */
export interface LambdaEnvironment {
  readonly config: Config;
  /** The stage that was deployed, such as `production`; an agent of another one is refused. */
  readonly deployStage: string;
  /** The bucket of staged bodies, and of what functions note down. */
  readonly stageBucket: string;
  /** Of a local AWS; `undefined`: AWS itself. */
  readonly endpoint: string | undefined;
  readonly queueUrl: string | undefined;
  /** The lane queue of each replica, by its label. */
  readonly laneUrls: ReadonlyMap<string, string>;
  /** The dead letters of each queue: `ingest`, and each replica's label. */
  readonly deadLetterUrls: ReadonlyMap<string, string>;
  /** By the unique id of an AWS identity; `undefined`: whoever may send may send for every database. */
  readonly senders: ReadonlyMap<string, SenderDatabases> | undefined;
  readonly tokens: readonly TokenRecord[];
  /** Ed25519; `undefined`: manifests are not signed. */
  readonly manifestKey: KeyObject | undefined;
}

type Variables = Readonly<Record<string, string | undefined>>;

const queueUrl = z.url({ protocol: /^https?$/ });
const queueUrls = z.record(z.string(), queueUrl);
const sendersSchema = z.record(
  z.string().regex(/^[A-Za-z0-9]{4,128}$/),
  z.union([z.literal("*"), z.array(z.string())]),
);
const stageSchema = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/);
const bucketSchema = z.string().regex(/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/);

/** Reads and checks the environment of a function. Errors: `bad-config`. */
export function readEnvironment(variables: Variables): LambdaEnvironment {
  checkSize(variables);
  const config = readConfig(variables);
  const stageBucket = parsed(variables, "PAGEFERRY_STAGE_BUCKET", bucketSchema, "the name of a bucket");
  const endpoint = variables.AWS_ENDPOINT_URL_S3 || variables.AWS_ENDPOINT_URL || undefined;
  for (const replica of config.replicas) checkReplica(replica, stageBucket, endpoint);
  const labels = config.replicas.map(replicaLabel);
  return {
    ...{ config, stageBucket, endpoint },
    deployStage: parsed(variables, "PAGEFERRY_DEPLOY_STAGE", stageSchema, "the name of a stage"),
    queueUrl: isSet(variables, "PAGEFERRY_QUEUE_URL")
      ? parsed(variables, "PAGEFERRY_QUEUE_URL", queueUrl, "the URL of a queue")
      : undefined,
    laneUrls: readQueues(variables, "PAGEFERRY_LANES", labels),
    deadLetterUrls: readQueues(variables, "PAGEFERRY_DEAD_LETTERS", ["ingest", ...labels]),
    senders: readSenders(variables),
    tokens: readTokens(variables),
    manifestKey: readManifestKey(variables),
  };
}

function isSet(variables: Variables, name: string): boolean {
  return (variables[name] ?? "") !== "";
}

/** AWS refuses it, too, but only once everything else is deployed. */
function checkSize(variables: Variables): void {
  const bytes = Object.entries(variables)
    .filter(([name]) => name.startsWith("PAGEFERRY_"))
    .reduce((sum, [name, value = ""]) => sum + Buffer.byteLength(name) + Buffer.byteLength(value), 0);
  if (bytes > environmentBytesMax) {
    throw new PageferryError(
      "bad-config",
      `PAGEFERRY_ variables: ${bytes} bytes, a function takes ${environmentBytesMax}`,
      { hint: "Fewer tokens and senders for one database each, or one deployment for fewer databases." },
    );
  }
}

function readConfig(variables: Variables): Config {
  const written = fromJson(variables, "PAGEFERRY_CONFIG");
  // A deployment is for many databases, also where it names none: that it has only the Go implementation's keys says nothing.
  const isObject = typeof written === "object" && written !== null && !Array.isArray(written);
  const config = parseConfig(isObject ? { databases: [], ...written } : written, {
    env: variables,
    source: "PAGEFERRY_CONFIG",
  });
  if (config.replicas.length === 0)
    throw new PageferryError("bad-config", "PAGEFERRY_CONFIG: has no replicas");
  return config;
}

function checkReplica(replica: ReplicaConfig, stageBucket: string, endpoint: string | undefined): void {
  if (replica.type === "file") {
    throw new PageferryError(
      "bad-config",
      `PAGEFERRY_CONFIG: ${replicaLabel(replica)}: the disk of a function is gone when it ends`,
      { hint: "Use s3, nats or sftp; for a file replica run `pageferry serve`." },
    );
  }
  const isSameServer = replica.type === "s3" && (replica.endpoint ?? endpoint) === endpoint;
  if (isSameServer && replica.bucket === stageBucket) {
    throw new PageferryError(
      "bad-config",
      `PAGEFERRY_CONFIG: ${replicaLabel(replica)}: is the bucket of staged bodies, where objects expire`,
      { hint: "Give the replica a bucket of its own." },
    );
  }
}

function readQueues(
  variables: Variables,
  name: string,
  known: readonly string[],
): ReadonlyMap<string, string> {
  if (!isSet(variables, name)) return new Map();
  const urls = checked(fromJson(variables, name), name, queueUrls, "an object of queues' URLs");
  const stranger = Object.keys(urls).find((label) => !known.includes(label));
  if (stranger !== undefined) {
    throw new PageferryError(
      "bad-config",
      `${name}: ${JSON.stringify(stranger.slice(0, 200))} is none of ${known.join(", ")}`,
    );
  }
  return new Map(Object.entries(urls));
}

function readSenders(variables: Variables): LambdaEnvironment["senders"] {
  const name = "PAGEFERRY_SENDERS";
  if (!isSet(variables, name)) return undefined;
  const senders = checked(
    fromJson(variables, name),
    name,
    sendersSchema,
    'unique ids of AWS, each with names of databases or "*",',
  );
  return new Map(
    Object.entries(senders).map(([id, databases]) => [id, databases === "*" ? "*" : new Set(databases)]),
  );
}

function readTokens(variables: Variables): readonly TokenRecord[] {
  const name = "PAGEFERRY_TOKENS";
  if (!isSet(variables, name)) return [];
  const records = checked(fromJson(variables, name), name, z.array(z.unknown()), "an array of records");
  return records.map((record, at) => parseTokenRecord(JSON.stringify(record) ?? "", `${name}[${at}]`));
}

function readManifestKey(variables: Variables): KeyObject | undefined {
  const name = "PAGEFERRY_MANIFEST_KEY";
  const text = variables[name]?.trim() ?? "";
  if (text === "") return undefined;
  try {
    const decoded = Buffer.from(text, "base64");
    const isPem = (bytes: string) => bytes.startsWith("-----BEGIN");
    const key = isPem(text)
      ? createPrivateKey(text)
      : isPem(decoded.toString())
        ? createPrivateKey(decoded.toString())
        : createPrivateKey({ key: decoded, format: "der", type: "pkcs8" });
    if (key.asymmetricKeyType === "ed25519") return key;
  } catch {
    // What it says of the key is not repeated: it may hold some of it.
  }
  throw new PageferryError("bad-config", `${name}: is no Ed25519 private key in PEM, nor base64 of one`);
}

function parsed<Value>(
  variables: Variables,
  name: string,
  schema: z.ZodType<Value>,
  expected: string,
): Value {
  if (!isSet(variables, name)) throw new PageferryError("bad-config", `${name}: is not set`);
  return checked(variables[name], name, schema, expected);
}

/** The place is named, the value is not. */
function checked<Value>(value: unknown, name: string, schema: z.ZodType<Value>, expected: string): Value {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  throw new PageferryError("bad-config", `${name}: ${expected} is expected`);
}

function fromJson(variables: Variables, name: string): unknown {
  if (!isSet(variables, name)) throw new PageferryError("bad-config", `${name}: is not set`);
  try {
    return JSON.parse(variables[name] ?? "");
  } catch {
    // What the parser says repeats some of the text.
  }
  throw new PageferryError("bad-config", `${name}: is no JSON`);
}
