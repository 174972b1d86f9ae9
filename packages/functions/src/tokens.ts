// A token that somebody made: `pf_<id>_<secret>`. What is kept of it is a record with the hash of the secret, never the secret.

import { createHash, randomBytes } from "node:crypto";
import { PageferryError, parseDatabaseName } from "@pageferry/format";
import { z } from "zod";
import { type Grant, type Scope, scopes } from "./scopes.ts";

/** Names of databases in one token: for more, make it for all. */
const databasesMax = 1000;

const noteLengthMax = 200;

/** What is kept of a token. */
export interface TokenRecord {
  readonly version: 1;
  readonly id: string;
  /** Of the secret, in hex. It is as long as the hash and random, so it needs no salt and no slow hash. */
  readonly sha256: string;
  readonly scopes: readonly Scope[];
  readonly databases: "*" | readonly string[];
  readonly createdAtMs: number;
  /** Refused from then on. */
  readonly expiresAtMs?: number | undefined;
  /** For people. */
  readonly note?: string | undefined;
}

const msSchema = z.int().min(0);

const recordSchema = z.strictObject({
  version: z.literal(1),
  id: z.string().regex(/^[0-9a-f]{12}$/),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  scopes: z.array(z.enum(scopes)).min(1),
  databases: z.union([z.literal("*"), z.array(z.string()).min(1).max(databasesMax)]),
  createdAtMs: msSchema,
  expiresAtMs: msSchema.optional(),
  note: z.string().max(noteLengthMax).optional(),
});

/** Reads a record as it is kept. Errors: `bad-config`, which repeats nothing of it. */
export function parseTokenRecord(text: string, where: string): TokenRecord {
  try {
    return recordSchema.parse(JSON.parse(text));
  } catch (cause) {
    const at = cause instanceof z.ZodError ? (cause.issues[0]?.path.join(".") ?? "") : "";
    throw new PageferryError(
      "bad-config",
      `${where}: ${at === "" ? "it is no record of a token" : `its ${at} is not as expected`}`,
      {
        cause,
        hint: "Put it back as it was, or revoke the token: `pageferry token revoke`.",
      },
    );
  }
}

/** What a new token is to be for. */
export interface NewToken {
  readonly scopes: readonly Scope[];
  readonly databases: "*" | readonly string[];
  readonly expiresAtMs?: number | undefined;
  readonly note?: string | undefined;
}

/** Makes a token; its text is nowhere but here. Errors: `bad-request`, `bad-name`. */
export function makeToken(wanted: NewToken, nowMs: number): { token: string; record: TokenRecord } {
  const { databases, note, expiresAtMs } = wanted;
  if (databases !== "*") for (const name of databases) parseDatabaseName(name);
  if (databases !== "*" && databases.length > databasesMax)
    throw new PageferryError(
      "bad-request",
      `${databases.length} databases, at most ${databasesMax} are taken`,
    );
  if (note !== undefined && note.length > noteLengthMax)
    throw new PageferryError("bad-request", `the note is longer than ${noteLengthMax} characters`);
  const id = randomBytes(6).toString("hex");
  const secret = randomBytes(32).toString("base64url");
  const record: TokenRecord = {
    ...{ version: 1, id, sha256: digestOf(secret).toString("hex"), scopes: wanted.scopes, databases },
    createdAtMs: nowMs,
    ...(expiresAtMs === undefined ? {} : { expiresAtMs }),
    ...(note === undefined ? {} : { note }),
  };
  return { token: `pf_${id}_${secret}`, record };
}

/** The id and the secret of what looks like a made token. */
export function partsOf(token: string): { readonly id: string; readonly secret: string } | undefined {
  const [, id, secret] = /^pf_([0-9a-f]{12})_([A-Za-z0-9_-]{43})$/.exec(token) ?? [];
  return id === undefined || secret === undefined ? undefined : { id, secret };
}

export function digestOf(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}

/** What the bearer of the record's token may do. */
export function grantOf({ id, scopes: granted, databases }: TokenRecord): Grant {
  return { id, scopes: new Set(granted), databases: databases === "*" ? "*" : new Set(databases) };
}
