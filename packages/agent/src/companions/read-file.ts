// One companion file, whole: looked at, read, and looked at again. A link is followed to a regular file, and to nothing else.
import { constants } from "node:fs";
import { type FileHandle, open, stat } from "node:fs/promises";
import { setTimeout } from "node:timers/promises";
import { companionBytesMax } from "@pageferry/format";

/** What is at a path: all that changes with its content. */
export type Print =
  | {
      readonly kind: "file";
      /** Equal for the same content, as far as the file system tells. */
      readonly text: string;
      readonly size: number;
      /** When it was last changed in any way, by the clock of this machine. */
      readonly changedMs: number;
    }
  | { readonly kind: "gone" | "other" | "unreadable" };

/** A file as it was read. */
export type Reading =
  | { readonly kind: "file"; readonly mode: number; readonly mtimeMs: number; readonly bytes: Uint8Array }
  | { readonly kind: "gone" | "other" | "unreadable" | "busy" | "too-large" };

/** How often a file that changes while it is read is read again, and the pause before. */
const attempts = 4;
const pauseMs = 20;
const freshMs = 1000;

/** Looks at a path without reading it. Never throws. */
export async function printOf(path: string): Promise<Print> {
  try {
    const found = await stat(path, { bigint: true });
    if (!found.isFile()) return { kind: "other" };
    return {
      kind: "file",
      text: textOf(found),
      size: Number(found.size),
      changedMs: Math.floor(Math.max(Number(found.ctimeMs), Number(found.mtimeMs))),
    };
  } catch (error) {
    return { kind: kindOf(error) };
  }
}

type BigStat = Awaited<ReturnType<typeof bigStat>>;
function bigStat(handle: FileHandle) {
  return handle.stat({ bigint: true });
}

type Told = Pick<BigStat, "dev" | "ino" | "size" | "mtimeNs" | "ctimeNs" | "mode">;

function textOf({ dev, ino, size, mtimeNs, ctimeNs, mode }: Told): string {
  return `${dev} ${ino} ${size} ${mtimeNs} ${ctimeNs} ${mode}`;
}

/** What a failure says of the file: only that it is not there is a word about it. */
function kindOf(error: unknown): "gone" | "unreadable" {
  const errno = (error as NodeJS.ErrnoException).code;
  return errno === "ENOENT" || errno === "ENOTDIR" ? "gone" : "unreadable";
}

/** Reads a file whole, as it was between two looks that saw the same. Never throws. */
export async function readWhole(path: string): Promise<Reading> {
  for (let attempt = 0; attempt < attempts; attempt += 1) {
    if (attempt > 0) await setTimeout(pauseMs);
    const reading = await readOnce(path);
    if (reading.kind !== "busy") return reading;
  }
  return { kind: "busy" };
}

async function readOnce(path: string): Promise<Reading> {
  let handle: FileHandle | undefined;
  try {
    // A pipe must not hold the look up.
    handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const before = await bigStat(handle);
    if (!before.isFile()) return { kind: "other" };
    if (before.size > BigInt(companionBytesMax)) return { kind: "too-large" };
    const bytes = await readAll(handle, Number(before.size));
    if (bytes === undefined) return { kind: "busy" };
    if (isFresh(before)) {
      await setTimeout(pauseMs);
      const again = await readAll(handle, bytes.length);
      if (again === undefined || Buffer.compare(bytes, again) !== 0) return { kind: "busy" };
    }
    const after = await bigStat(handle);
    if (!isSame(before, after)) return { kind: "busy" };
    const mode = Number(before.mode & 0o777n);
    return { kind: "file", mode, mtimeMs: Number(before.mtimeNs / 1_000_000n), bytes };
  } catch (error) {
    return { kind: kindOf(error) };
  } finally {
    await handle?.close();
  }
}

/** Within a few milliseconds times of change do not differ: what was just changed has to have the same content twice. */
function isFresh({ mtimeMs }: BigStat): boolean {
  return Math.abs(Date.now() - Number(mtimeMs)) < freshMs;
}

/** A file that lost its name while it was read has another change time, and is whole: what took its place is seen by the next look. */
function isSame(before: BigStat, after: BigStat): boolean {
  const isReplaced = after.nlink < before.nlink;
  if (!isReplaced) return textOf(before) === textOf(after);
  return textOf({ ...before, ctimeNs: 0n }) === textOf({ ...after, ctimeNs: 0n });
}

/** Undefined: it is not as long as it was. */
async function readAll(handle: FileHandle, size: number): Promise<Uint8Array | undefined> {
  const bytes = new Uint8Array(size + 1);
  let done = 0;
  while (done < bytes.length) {
    const { bytesRead } = await handle.read(bytes, done, bytes.length - done, done);
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return done === size ? bytes.subarray(0, size) : undefined;
}
