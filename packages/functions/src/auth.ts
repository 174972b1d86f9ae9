// Bearer tokens: compared in a time that tells nothing of them, kept in a file that only its owner reads.

import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { chmod, readFile } from "node:fs/promises";
import { isPageferryError, PageferryError } from "@pageferry/format";
import { fromFileSystem, writeFileDurable } from "@pageferry/format/node";

/** Below this a token could be guessed. */
const tokenLengthMin = 16;

/** Throws `unauthorized` unless the header is `Bearer` and the token. */
export function checkBearer(header: string | undefined, token: string): void {
  const given = /^Bearer +([^ ]+) *$/i.exec(header ?? "")?.[1];
  if (given !== undefined && timingSafeEqual(digest(given), digest(token))) return;
  const what = given === undefined ? "no bearer token was given" : "the bearer token is not this host's";
  throw new PageferryError("unauthorized", what, {
    hint: "Set PAGEFERRY_TOKEN to the host's token; it lies in its data directory.",
  });
}

function digest(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}

/** The token in a file, made there if there is none, mode 0600. Errors: `bad-config` for one that is too short. */
export async function tokenFromFile(path: string): Promise<string> {
  const token = (await readToken(path)) ?? (await makeToken(path));
  return checkToken(token, path);
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
