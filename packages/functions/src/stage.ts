// Large bodies on their way: streamed to a file named by its SHA-256, so that a queue message can point at it. A staged
// body is kept while a message points at it, and for a while before and after.

import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { lstat, open, readdir, rm, utimes } from "node:fs/promises";
import { join } from "node:path";
import { type DatabaseName, PageferryError } from "@pageferry/format";
import {
  fromFileSystem,
  isTemporaryPath,
  makeDirectoryDurable,
  publishDurable,
  temporaryPath,
  writeAll,
} from "@pageferry/format/node";
import type { LargeBody } from "./replica-put.ts";
import { createRoom } from "./room.ts";
import type { CallOptions } from "./store.ts";

/** A sender may be away this long between staging a body and pointing at it; so may a killed writer's leftover lie. */
const stageAgeMsDefault = 60 * 60 * 1000;

/** One body: above every bolt file we know of. A disk that has less room says so earlier. */
const stageBytesMaxDefault = 2 ** 42;

const chunkBytes = 256 * 1024;

export interface StageOptions {
  readonly directory: string;
  readonly now: () => number;
  /** Default 4 TiB. */
  readonly bytesMax?: number;
  /** How long a body that no message points at is kept. Default 1 h. */
  readonly ageMs?: number;
}

export interface PutStagedOptions extends CallOptions {
  /** What the sender says the size is; refused before the first byte where there is no room for it. */
  readonly size?: number | undefined;
}

export interface Stage {
  /**
   * Stores a body under its digest, durably. `too-large` and `disk-full` come before the first byte where the size is
   * known; a body with another digest is `corrupt`, and nothing is kept.
   */
  put(
    digest: string,
    chunks: AsyncIterable<Uint8Array>,
    options?: PutStagedOptions,
  ): Promise<"stored" | "present">;
  /** The body to hand to a store; `not-found` if it is not staged. */
  body(digest: string): Promise<LargeBody>;
  /** Keeps a body from being collected for as long as if it had just come; its size, or `undefined` if it is not there. */
  touch(digest: string): Promise<number | undefined>;
  /** Removes what is old and, by `unreferenced`, needed by no message; returns the bytes freed. */
  collect(unreferenced: (digests: readonly string[]) => readonly string[]): Promise<number>;
}

/** The stage as those who fill it see it. In a bucket each database has its own; a directory keeps those of all side by side. */
export interface StageDoor {
  put(
    digest: string,
    chunks: AsyncIterable<Uint8Array>,
    options: PutStagedOptions & { readonly database: DatabaseName },
  ): Promise<"stored" | "present">;
  body(digest: string, database: DatabaseName): Promise<LargeBody>;
  touch(digest: string, database: DatabaseName): Promise<number | undefined>;
}

/** A stage in a directory, which is made at once. */
export async function openStage(options: StageOptions): Promise<Stage> {
  const { directory, now, bytesMax = stageBytesMaxDefault, ageMs = stageAgeMsDefault } = options;
  await makeDirectoryDurable(directory);
  // Between the look at its age and its removal somebody may point at a body.
  const wanted = new Set<string>();
  let isCollecting = false;
  const removing = new Map<string, Promise<void>>();
  const touch = async (digest: string): Promise<number | undefined> => {
    const path = pathOf(directory, digest);
    wanted.add(digest);
    try {
      await removing.get(digest);
      const seconds = now() / 1000;
      await utimes(path, seconds, seconds);
      return (await lstat(path)).size;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
      throw fromFileSystem(error, `staged body ${digest}`);
    } finally {
      if (!isCollecting) wanted.delete(digest);
    }
  };
  return {
    touch,
    async put(digest, chunks, call = {}) {
      call.signal?.throwIfAborted();
      if ((await touch(digest)) !== undefined) return "present";
      await checkRoom(directory, digest, call.size, bytesMax);
      return receive(directory, digest, chunks, bytesMax, call.signal);
    },
    async body(digest) {
      const path = pathOf(directory, digest);
      const size = await touch(digest);
      if (size === undefined) throw new PageferryError("not-found", `staged body ${digest} is not here`);
      const open = () => createReadStream(path, { highWaterMark: chunkBytes });
      return { size, sha256: digest, path, open, read: (offset, length) => readRange(path, offset, length) };
    },
    collect(unreferenced) {
      isCollecting = true;
      return collect(directory, now() - ageMs, unreferenced, async (name) => {
        if (wanted.has(name)) return false;
        const removal = rm(join(directory, name), { force: true });
        removing.set(name, removal);
        await removal.finally(() => removing.delete(name));
        return true;
      }).finally(() => {
        isCollecting = false;
        wanted.clear();
      });
    },
  };
}

/** Digests come from outside and become file names. */
function pathOf(directory: string, digest: string): string {
  if (!/^[0-9a-f]{64}$/.test(digest)) {
    throw new PageferryError(
      "bad-request",
      `digest ${JSON.stringify(digest.slice(0, 80))} is not 64 lower-case hex digits`,
    );
  }
  return join(directory, digest);
}

async function readRange(path: string, offset: number, length: number): Promise<Uint8Array> {
  const bytes = Buffer.alloc(length);
  const handle = await open(path, "r");
  try {
    for (let done = 0; done < length; ) {
      const { bytesRead } = await handle.read(bytes, done, length - done, offset + done);
      if (bytesRead === 0)
        throw new PageferryError("corrupt", `staged body ${path}: ends before ${offset + length}`);
      done += bytesRead;
    }
  } finally {
    await handle.close();
  }
  return bytes;
}

async function checkRoom(
  directory: string,
  digest: string,
  size: number | undefined,
  bytesMax: number,
): Promise<void> {
  if (size !== undefined && size > bytesMax) {
    throw new PageferryError(
      "too-large",
      `staged body ${digest}: ${size} bytes, at most ${bytesMax} are taken`,
    );
  }
  // Without a size the disk says when it is full; what was written by then is removed.
  await createRoom(directory).check(size ?? 0);
}

async function receive(
  directory: string,
  digest: string,
  chunks: AsyncIterable<Uint8Array>,
  bytesMax: number,
  signal: AbortSignal | undefined,
): Promise<"stored" | "present"> {
  const temporary = temporaryPath(directory);
  try {
    const found = await writeHashed(temporary, chunks, bytesMax, digest, signal);
    if (found !== digest) {
      throw new PageferryError("corrupt", `staged body ${digest}: what came has digest ${found}`);
    }
    // Bytes that have this digest may replace bytes that have it: two senders of one body meet here.
    await publishDurable(temporary, pathOf(directory, digest), { overwrite: true });
    return "stored";
  } catch (error) {
    await rm(temporary, { force: true });
    throw fromFileSystem(error, `staging ${digest} in ${directory}`);
  }
}

async function writeHashed(
  path: string,
  chunks: AsyncIterable<Uint8Array>,
  bytesMax: number,
  digest: string,
  signal: AbortSignal | undefined,
): Promise<string> {
  const hash = createHash("sha256");
  let size = 0;
  const handle = await open(path, "wx", 0o600);
  try {
    for await (const chunk of chunks) {
      signal?.throwIfAborted();
      size += chunk.length;
      if (size > bytesMax) {
        throw new PageferryError("too-large", `staged body ${digest}: more than ${bytesMax} bytes`);
      }
      hash.update(chunk);
      await writeAll(handle, chunk);
    }
  } finally {
    await handle.close();
  }
  return hash.digest("hex");
}

async function collect(
  directory: string,
  beforeMs: number,
  unreferenced: (digests: readonly string[]) => readonly string[],
  remove: (name: string) => Promise<boolean>,
): Promise<number> {
  const old = new Map<string, number>();
  for (const name of await readdir(directory)) {
    const found = await lstat(join(directory, name)).catch(() => undefined);
    if (found?.isFile() === true && found.mtimeMs < beforeMs) old.set(name, found.size);
  }
  const digests = [...old.keys()].filter((name) => /^[0-9a-f]{64}$/.test(name));
  const doomed = [
    ...[...old.keys()].filter(isTemporaryPath),
    ...(digests.length === 0 ? [] : unreferenced(digests)),
  ];
  let freed = 0;
  for (const name of doomed) {
    if (await remove(name)) freed += old.get(name) ?? 0;
  }
  return freed;
}
