// Bearer tokens: compared in a time that tells nothing of them, kept in a file that only its owner reads.

import { randomBytes, timingSafeEqual } from "node:crypto";
import { chmod, readFile } from "node:fs/promises";
import { isPageferryError, PageferryError } from "@pageferry/format";
import { fromFileSystem, writeFileDurable } from "@pageferry/format/node";
import type { Authenticate } from "./access.ts";
import type { FailureLimit } from "./failures.ts";
import { tooMany } from "./problem.ts";
import { everything } from "./scopes.ts";
import type { TokenBook } from "./token-files.ts";
import { digestOf, grantOf, partsOf, type TokenRecord } from "./tokens.ts";

/** Below this a token could be guessed. */
const tokenLengthMin = 16;

export interface AuthOptions {
  /** The host's own, which may do everything; absent where there is none. */
  readonly token?: string | undefined;
  readonly book: Pick<TokenBook, "find">;
  readonly failures: FailureLimit;
  /** Told once a minute where too many wrong tokens come from. */
  readonly onMany: (address: string) => void;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

/** What is wrong may have been made a moment ago: the records are looked at again, but not for every guess. */
const freshMs = 100;

/** Makes what tells who calls. Nothing of what was given is in its errors. */
export function createAuthenticate(options: AuthOptions): Authenticate {
  const { book, failures, now } = options;
  // Compared where there is no such token, so that it takes as long as where there is.
  const nobody = randomBytes(32);
  const own = options.token === undefined ? nobody : digestOf(options.token);
  const recordOf = async (given: string, ageMsMax?: number): Promise<TokenRecord | undefined> => {
    const { id, secret } = partsOf(given) ?? { id: "", secret: given };
    const record = await book.find(id, ageMsMax);
    const kept = record === undefined ? nobody : Buffer.from(record.sha256, "hex");
    return timingSafeEqual(digestOf(secret), kept) ? record : undefined;
  };
  return async (header, address) => {
    const given = /^Bearer +([^ ]+) *$/i.exec(header ?? "")?.[1];
    if (given === undefined) throw refusal("no bearer token was given", address, options);
    let record = await recordOf(given);
    if (timingSafeEqual(digestOf(given), own)) return everything;
    if (record === undefined && !failures.isReached(address)) record = await recordOf(given, freshMs);
    if (record === undefined) throw refusal("the bearer token is none of this host's", address, options);
    if (record.expiresAtMs !== undefined && now() >= record.expiresAtMs)
      throw refusal("the bearer token has expired", address, options);
    return grantOf(record);
  };
}

/** Counts it. Who has the right token is never in this way, whoever else calls from the same address. */
function refusal(what: string, address: string, { failures, onMany }: AuthOptions): PageferryError {
  const limit = failures.failed(address);
  if (limit?.isFirst === true) onMany(address);
  if (limit !== undefined) return tooMany("too many wrong tokens came from this address", limit.waitMs);
  return new PageferryError("unauthorized", what, {
    hint: "Set PAGEFERRY_TOKEN to one that `pageferry token create` made at the host, or to the one in its data directory.",
  });
}

/** The token in a file, made there if there is none, mode 0600. Errors: `bad-config` for one that is too short. */
export async function tokenFromFile(
  path: string,
): Promise<{ readonly token: string; readonly isNew: boolean }> {
  const known = await readToken(path);
  return { token: checkToken(known ?? (await makeToken(path)), path), isNew: known === undefined };
}

/** Returns the token if it is long enough and fits into a header; else `bad-config`. */
export function checkToken(token: string, where: string): string {
  if (token.length < tokenLengthMin || !/^[\x21-\x7e]+$/.test(token)) {
    throw new PageferryError(
      "bad-config",
      `token in ${where}: at least ${tokenLengthMin} printable characters without spaces are expected`,
    );
  }
  return token;
}

async function readToken(path: string): Promise<string | undefined> {
  try {
    const token = (await readFile(path, "utf8")).trim();
    // Somebody may have copied it with a wider mode.
    await chmod(path, 0o600).catch(() => undefined);
    return token;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw fromFileSystem(error, `reading ${path}`);
  }
}

async function makeToken(path: string): Promise<string> {
  const token = randomBytes(32).toString("base64url");
  try {
    await writeFileDurable(path, Buffer.from(`${token}\n`));
    return token;
  } catch (error) {
    if (!isPageferryError(error, "exists")) throw error;
    return (await readToken(path)) ?? token;
  }
}
