// The files of a shadow log: their names, what a crash leaves among them, and reading their records back.
import { type FileHandle, open, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { PageferryError } from "@pageferry/format";
import { fromFileSystem, isTemporaryPath } from "@pageferry/format/node";
import {
  decodeRecord,
  isIntactRecord,
  type RecordFacts,
  recordHeadBytes,
  recordLength,
  type ShadowRecord,
} from "./shadow-record.ts";

/** A file of the log. `first` to `last` are the numbers of the files it stands for: one, or those squashed into it. */
export interface LogFile {
  readonly first: number;
  readonly last: number;
  readonly path: string;
}

/** A record in its place. */
export interface LogEntry extends RecordFacts {
  readonly file: LogFile;
  readonly offset: number;
  readonly length: number;
}

/** The file of these numbers in `directory`: `<first>-<last>.log`, eight hex digits each. */
export function logFile(directory: string, first: number, last: number): LogFile {
  const name = `${first.toString(16).padStart(8, "0")}-${last.toString(16).padStart(8, "0")}.log`;
  return { first, last, path: join(directory, name) };
}

const namePattern = /^([0-9a-f]{8})-([0-9a-f]{8})\.log$/;

/** Lists the files in order, and removes what a crash left: unpublished ones, and those a squashed file stands for. */
export async function sweepLogFiles(directory: string): Promise<LogFile[]> {
  const found: LogFile[] = [];
  const rubbish: string[] = [];
  for (const name of await readdir(directory)) {
    const [, first, last] = namePattern.exec(name) ?? [];
    if (first !== undefined && last !== undefined) {
      found.push(logFile(directory, Number.parseInt(first, 16), Number.parseInt(last, 16)));
    } else if (isTemporaryPath(name)) {
      rubbish.push(join(directory, name));
    }
  }
  const isReplaced = (file: LogFile) =>
    found.some((other) => other !== file && other.first <= file.first && other.last >= file.last);
  rubbish.push(...found.filter(isReplaced).map((file) => file.path));
  const kept = found.filter((file) => !isReplaced(file)).sort((a, b) => a.first - b.first);
  await Promise.all(rubbish.map((path) => rm(path, { force: true })));
  return kept;
}

/** The records of a file up to the first that is not whole. */
export interface ScannedFile {
  readonly entries: readonly LogEntry[];
  /** Bytes of the whole records. */
  readonly size: number;
}

/**
 * Reads a file's records. With `isLast` a torn tail is cut off and the rest is fsynced, because a process that was killed
 * may have left it in memory only. Elsewhere a bad tail is what a failed append left behind, and is passed over.
 */
export async function scanLogFile(file: LogFile, isLast: boolean): Promise<ScannedFile> {
  const handle = await openLogFile(file, isLast ? "r+" : "r");
  try {
    const { size } = await handle.stat();
    const entries: LogEntry[] = [];
    let offset = 0;
    for (;;) {
      const framed = await readWhole(handle, offset, size);
      if (framed === undefined) break;
      const { segment: _, freed: __, ...facts } = decodeRecord(framed, `${file.path} at ${offset}`);
      entries.push({ ...facts, file, offset, length: framed.length });
      offset += framed.length;
    }
    if (isLast) {
      if (offset < size) await handle.truncate(offset);
      await handle.sync();
    }
    return { entries, size: offset };
  } catch (error) {
    throw fromFileSystem(error, `reading ${file.path}`);
  } finally {
    await handle.close();
  }
}

async function readWhole(handle: FileHandle, offset: number, size: number): Promise<Uint8Array | undefined> {
  const head = await readAt(handle, offset, Math.min(recordHeadBytes, size - offset));
  const length = recordLength(head, size - offset);
  if (length === undefined) return;
  const framed = await readAt(handle, offset, length);
  return framed.length === length && isIntactRecord(framed) ? framed : undefined;
}

/** Reads the record of an entry; `corrupt` where the disk no longer holds it. */
export async function readLogEntry(entry: LogEntry): Promise<ShadowRecord> {
  const what = `${entry.file.path} at ${entry.offset}`;
  const handle = await openLogFile(entry.file, "r");
  try {
    const framed = await readAt(handle, entry.offset, entry.length);
    if (framed.length < entry.length) throw new PageferryError("corrupt", `${what}: the record is cut short`);
    return decodeRecord(framed, what);
  } catch (error) {
    throw fromFileSystem(error, `reading ${what}`);
  } finally {
    await handle.close();
  }
}

/** Opens a file of the log; what the file system says becomes a code. */
export async function openLogFile(file: LogFile, flags: "r" | "r+" | "wx"): Promise<FileHandle> {
  try {
    return await open(file.path, flags, 0o600);
  } catch (error) {
    throw fromFileSystem(error, `opening ${file.path}`);
  }
}

async function readAt(handle: FileHandle, offset: number, length: number): Promise<Uint8Array> {
  const buffer = Buffer.allocUnsafe(length);
  let done = 0;
  while (done < length) {
    const { bytesRead } = await handle.read(buffer, done, length - done, offset + done);
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return buffer.subarray(0, done);
}
