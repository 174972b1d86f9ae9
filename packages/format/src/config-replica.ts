// One entry of `replicas`: an object told apart by its `type`, or a URL (file://, s3://, nats://, sftp://). The keys are
// the Go implementation's. Nothing here says a secret aloud: `replicaLabel` is what logs and messages show.

import { z } from "zod";
import { PageferryError } from "./errors.ts";

/** A text that is not empty. */
export const text = z.string().min(1, { error: "a text is expected, not an empty one" });
/** True or false, also as the text that an environment variable or a URL gives. */
export const flag = z.union([z.boolean(), z.enum(["true", "false"]).transform((value) => value === "true")]);
/** A port, also as the text that an environment variable or a URL gives. */
export const portSchema = z
  .union(
    [
      z.int(),
      z
        .string()
        .regex(/^\d{1,5}$/)
        .transform(Number),
    ],
    { error: "a port from 0 to 65535 is expected" },
  )
  .refine((port) => port >= 0 && port <= 65_535, { error: "a port from 0 to 65535 is expected" });

/** A comma parts servers where one follows it, not within a password. */
const serversApart = /,(?=[a-z][a-z0-9+.-]*:\/\/|[^@]*$)/i;

/** What stands before a host ends with the last @ of its authority; one after that is a password that was cut short. */
const address = text
  .refine((urls) => !urls.split(serversApart).some((url) => afterAuthority(url).includes("@")), {
    error: "an @ stands after the host: write the / ? # of a password as %2F %3F %23",
  })
  .refine((urls) => urls.split(serversApart).every((url) => isDecodable(authorityOf(url))), {
    error: "a % is not followed by two hexadecimal digits: write it as %25",
  });

function authorityOf(url: string): string {
  return (
    url
      .trim()
      .replace(/^[a-z][a-z0-9+.-]*:\/\//i, "")
      .split(/[/\\?#]/, 1)[0] ?? ""
  );
}

function afterAuthority(url: string): string {
  return url
    .trim()
    .replace(/^[a-z][a-z0-9+.-]*:\/\//i, "")
    .slice(authorityOf(url).length);
}

/** The keys of each type of replica, besides `type`. */
export const replicaShapes = {
  file: { path: text },
  s3: {
    endpoint: address.optional(),
    region: text.optional(),
    bucket: text,
    prefix: z.string().default(""),
    accessKey: text.optional(),
    secretKey: text.optional(),
    sessionToken: text.optional(),
    insecure: flag.default(false),
    forcePathStyle: flag.optional(),
    rootCAs: z.union([z.array(text), text.transform((path) => [path])]).default([]),
  },
  nats: {
    url: address,
    bucket: text.regex(/^[A-Za-z0-9_-]*$/, { error: "a bucket's name is letters, digits, _ and -" }),
    prefix: z.string().default(""),
    creds: text.optional(),
    nkey: text.optional(),
    rootCAs: z.union([z.array(text), text.transform((path) => [path])]).default([]),
    createBucket: flag.default(false),
  },
  sftp: {
    host: text,
    port: portSchema.default(22),
    user: text,
    password: text.optional(),
    keyPath: text.optional(),
    passphrase: text.optional(),
    path: text,
    hostKey: text.optional(),
    knownHosts: text.optional(),
  },
} as const;

/** Keys whose values never appear in a message. */
export const secretKeys: ReadonlySet<string> = new Set([
  "accessKey",
  "secretKey",
  "sessionToken",
  "creds",
  "nkey",
  "password",
  "passphrase",
  "token",
  "webhooks",
  "heartbeat",
]);

/** A directory: `<path>/<database>/`, or itself the archive of one database (see docs/format.md). */
export type FileReplicaConfig = { readonly type: "file" } & Parsed<typeof replicaShapes.file>;
/** An S3-compatible bucket. Without keys, those of the environment. */
export type S3ReplicaConfig = { readonly type: "s3" } & Parsed<typeof replicaShapes.s3>;
/** A NATS JetStream object store. `url` may name several servers, parted by commas, and hold a user and a password. */
export type NatsReplicaConfig = { readonly type: "nats" } & Parsed<typeof replicaShapes.nats>;
/** A directory on an SFTP server: absolute, or relative to where the login begins, which a URL writes as `/~/`. */
export type SftpReplicaConfig = { readonly type: "sftp" } & Parsed<typeof replicaShapes.sftp>;
/** Where one copy of the archive is kept. */
export type ReplicaConfig = FileReplicaConfig | S3ReplicaConfig | NatsReplicaConfig | SftpReplicaConfig;

type Parsed<Shape extends z.ZodRawShape> = Readonly<z.output<z.ZodObject<Shape>>>;

/** Turns a replica's URL into the entry it stands for, still to be checked as one. Errors: `bad-request`, without the URL. */
export function replicaEntryFromUrl(written: string): Record<string, unknown> {
  if (/^\.{0,2}\//.test(written)) return { type: "file", path: written };
  if (/^[a-z][a-z0-9+.-]*:\/\/.*#/is.test(written)) {
    throw new PageferryError("bad-request", "a # begins a fragment, which no replica has: write it as %23");
  }
  const [one, servers] = oneServer(written);
  const url = URL.canParse(one) ? new URL(one) : undefined;
  const read = url === undefined ? undefined : readers[url.protocol];
  if (url === undefined || read === undefined) {
    throw new PageferryError("bad-request", "neither a file://, s3://, nats:// or sftp:// URL nor a path");
  }
  const entry: Record<string, unknown> = { ...read(url), ...(servers === undefined ? {} : { url: servers }) };
  for (const [word, value] of url.searchParams) {
    const key = keyOf(String(entry.type), word);
    if (key !== undefined) entry[key] = value;
  }
  return entry;
}

/** Of a NATS URL that names several servers, `nats://one:4222,two:4222/bucket`: the same with one, and their list. */
function oneServer(written: string): readonly [url: string, servers: string | undefined] {
  const [, scheme = "", authority = "", rest = ""] = /^(nats|tls):\/\/([^/?#]*)(.*)$/i.exec(written) ?? [];
  const servers = authority.split(serversApart);
  if (servers.length < 2) return [written, undefined];
  return [
    `${scheme}://several${rest}`,
    servers.map((server) => `${scheme.toLowerCase()}://${server}`).join(","),
  ];
}

/** Words of Litestream's URLs for keys of ours; `undefined`: what it says is so here, whatever it says. */
const litestreamWords: Readonly<Record<string, Readonly<Record<string, string | undefined>>>> = {
  s3: {
    accesskeyid: "accessKey",
    secretaccesskey: "secretKey",
    signpayload: undefined,
    requirecontentmd5: undefined,
    concurrency: undefined,
    partsize: undefined,
  },
  sftp: { concurrentwrites: undefined },
};

/** The key that a URL's parameter means: `force-path-style`, `forcePathStyle` and `forcepathstyle` are one. */
function keyOf(type: string, written: string): string | undefined {
  const plain = written.replaceAll("-", "").toLowerCase();
  if (plain === "skipverify") {
    throw new PageferryError(
      "bad-request",
      `${written}: certificates are always verified; name the authority in rootCAs`,
    );
  }
  const known = Object.keys(replicaShapes[type as keyof typeof replicaShapes]);
  const found = known.find((key) => key.toLowerCase() === plain);
  const words = litestreamWords[type] ?? {};
  return found === undefined && Object.hasOwn(words, plain) ? words[plain] : (found ?? written);
}

const readers: Readonly<Record<string, (url: URL) => Record<string, unknown>>> = {
  "file:": (url) => {
    if (url.host !== "") {
      throw new PageferryError("bad-request", "a file:// URL holds an absolute path: file:///var/backups");
    }
    return { type: "file", path: decoded(url.pathname) };
  },
  "s3:": (url) => {
    if (url.port !== "") {
      throw new PageferryError(
        "bad-request",
        "an s3:// URL names a bucket, which has no port; the / of a key is written as %2F",
      );
    }
    return {
      type: "s3",
      bucket: url.host,
      prefix: pathOf(url),
      ...given({ accessKey: url.username, secretKey: url.password }),
    };
  },
  "nats:": natsEntry,
  "tls:": natsEntry,
  "sftp:": (url) => ({
    type: "sftp",
    host: url.hostname.replace(/^\[(.*)\]$/, "$1"),
    path: decoded(url.pathname),
    ...given({ port: url.port, user: url.username, password: url.password }),
  }),
};

function natsEntry(url: URL): Record<string, unknown> {
  const [bucket = "", ...prefix] = pathOf(url).split("/");
  const user = url.username === "" ? "" : `${url.username}${url.password && `:${url.password}`}@`;
  return { type: "nats", url: `${url.protocol}//${user}${url.host}`, bucket, prefix: prefix.join("/") };
}

function pathOf(url: URL): string {
  return decoded(url.pathname).replace(/^\/+|\/+$/g, "");
}

/** Errors: `bad-request`, without the text: it may be a password. */
function decoded(written: string): string {
  if (isDecodable(written)) return decodeURIComponent(written);
  throw new PageferryError(
    "bad-request",
    "a % that is not followed by two hexadecimal digits: write it as %25",
  );
}

function isDecodable(written: string): boolean {
  try {
    decodeURIComponent(written);
    return true;
  } catch {
    return false;
  }
}

function given(fields: Record<string, string>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(fields).flatMap(([key, value]) => (value === "" ? [] : [[key, decoded(value)]])),
  );
}

/** A stable word for a replica in logs and messages, such as `s3://backups/orders`. Never holds a secret. */
export function replicaLabel(replica: ReplicaConfig): string {
  switch (replica.type) {
    case "file":
      return replica.path.startsWith("/") ? `file://${replica.path}` : `file:${replica.path}`;
    case "s3":
      return `s3://${joined(replica.bucket, replica.prefix)}${replica.endpoint === undefined ? "" : `?endpoint=${withoutUser(replica.endpoint)}`}`;
    case "nats":
      return `${serversWithoutUsers(replica.url)}/${joined(replica.bucket, replica.prefix)}`;
    case "sftp":
      return `sftp://${replica.host.includes(":") ? `[${replica.host}]` : replica.host}:${replica.port}${replica.path.replace(/^(~\/)?(?!\/)/, "/~/")}`;
  }
}

function joined(bucket: string, prefix: string): string {
  return prefix === "" ? bucket : `${bucket}/${prefix}`;
}

/** `nats://one,two` of a list of servers. */
function serversWithoutUsers(urls: string): string {
  const [first = "", ...others] = urls.split(serversApart).map((url) => withoutUser(url.trim()));
  return [first, ...others.map((server) => server.replace(/^[a-z][a-z0-9+.-]*:\/\//i, ""))].join(",");
}

/** Cuts `user:password@` out, also where the text is no URL, or the password holds what should have been escaped. */
function withoutUser(url: string): string {
  return url.replace(/^([a-z][a-z0-9+.-]*:\/\/)?.*@/is, "$1");
}
