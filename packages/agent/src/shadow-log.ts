// The shadow of one generation on disk: records in rolling files, appended in groups and fsynced, never changed in place.
import { type FileHandle, open, rm, stat } from "node:fs/promises";
import type { TxId } from "@pageferry/format";
import {
  fromFileSystem,
  fsyncDirectory,
  makeDirectoryDurable,
  publishDurable,
  temporaryPath,
  writeAll,
} from "@pageferry/format/node";
import {
  type LogEntry,
  type LogFile,
  logFile,
  openLogFile,
  scanLogFile,
  sweepLogFiles,
} from "./shadow-file.ts";
import type { RecordFacts } from "./shadow-record.ts";

/** What is appended: the facts that stay in memory, and the bytes that go to disk. */
export interface NewRecord {
  readonly facts: RecordFacts;
  readonly framed: Uint8Array;
}

/** One generation's log. Its calls must not overlap. */
export interface ShadowLog {
  /** What is durable, ascending by txid. */
  entries(): readonly LogEntry[];
  /** Bytes on disk. */
  bytes(): number;
  /**
   * Makes records durable: all of them, or none that counts when it throws. What was half written is cut off, and the
   * next append goes to another file, because after a failed fsync nothing is known of the old one.
   */
  append(records: readonly NewRecord[]): Promise<void>;
  /** Removes the files that hold nothing above `upTo`, if any after `before`; the one being written stays. */
  trim(upTo: TxId, before?: () => Promise<void>): Promise<void>;
  /** Writes `records` into one new file in the place of the file of `from` and all after it, whose records they stand for. */
  squash(from: LogEntry, records: AsyncIterable<NewRecord>): Promise<void>;
  /** Looks whether the files are there as they were written. Records of one that is not are forgotten, and returned. */
  inspect(): Promise<readonly LogEntry[]>;
  close(): Promise<void>;
}

/** A file is closed when the next record would take it above this: small enough to trim soon, large enough to be few. */
const defaultFileBytesMax = 8 * 1024 * 1024;

/** How to open a log. */
export interface ShadowLogOptions {
  /** Only tests need smaller files. */
  readonly fileBytesMax?: number;
}

interface ActiveFile {
  readonly file: LogFile;
  readonly handle: FileHandle;
}

interface LogState {
  readonly directory: string;
  readonly fileBytesMax: number;
  entries: LogEntry[];
  /** Good bytes of each file. */
  readonly sizes: Map<LogFile, number>;
  active: ActiveFile | undefined;
  /** The highest number that a file has had. */
  newest: number;
}

/** Opens the log in `directory`, which is made if it is missing. A torn tail is cut off. */
export async function openShadowLog(directory: string, options: ShadowLogOptions = {}): Promise<ShadowLog> {
  await makeDirectoryDurable(directory);
  const files = await sweepLogFiles(directory);
  const state: LogState = {
    directory,
    fileBytesMax: options.fileBytesMax ?? defaultFileBytesMax,
    entries: [],
    sizes: new Map(),
    active: undefined,
    newest: files.at(-1)?.last ?? 0,
  };
  for (const file of files) {
    const { entries, size } = await scanLogFile(file, file === files.at(-1));
    state.sizes.set(file, size);
    // An append whose fsync failed may have reached the disk all the same; what came after it says the same again.
    state.entries.push(...entries.filter((entry) => entry.txId > (state.entries.at(-1)?.txId ?? -1n)));
  }
  return {
    entries: () => state.entries,
    bytes: () => [...state.sizes.values()].reduce((sum, size) => sum + size, 0),
    append: (records) => append(state, records),
    trim: (upTo, before) => trim(state, upTo, before),
    squash: (from, records) => squash(state, from, records),
    inspect: () => inspect(state),
    close: () => closeActive(state),
  };
}

async function append(state: LogState, records: readonly NewRecord[]): Promise<void> {
  const bytes = joined(records);
  try {
    const { file, handle } = await activeFor(state, bytes.length);
    const start = state.sizes.get(file) ?? 0;
    await writeAll(handle, bytes, start);
    await handle.datasync();
    state.sizes.set(file, start + bytes.length);
    state.entries.push(...placed(file, start, records));
  } catch (error) {
    await abandonActive(state);
    throw fromFileSystem(error, `appending to the shadow in ${state.directory}`);
  }
}

function joined(records: readonly NewRecord[]): Uint8Array {
  const [only] = records;
  return records.length === 1 && only !== undefined
    ? only.framed
    : Buffer.concat(records.map(({ framed }) => framed));
}

function placed(file: LogFile, start: number, records: readonly NewRecord[]): LogEntry[] {
  let offset = start;
  return records.map(({ facts, framed }) => {
    const entry = { ...facts, file, offset, length: framed.length };
    offset += framed.length;
    return entry;
  });
}

async function activeFor(state: LogState, byteCount: number): Promise<ActiveFile> {
  const size = state.active === undefined ? 0 : (state.sizes.get(state.active.file) ?? 0);
  if (size > 0 && size + byteCount > state.fileBytesMax) {
    await closeActive(state);
  }
  if (state.active === undefined) {
    await makeDirectoryDurable(state.directory);
    state.newest += 1;
    const file = logFile(state.directory, state.newest, state.newest);
    state.active = { file, handle: await openLogFile(file, "wx") };
    state.sizes.set(file, 0);
    await fsyncDirectory(state.directory);
  }
  return state.active;
}

async function closeActive(state: LogState): Promise<void> {
  const closing = state.active;
  state.active = undefined;
  await closing?.handle.close();
}

/** Leaves a file whose end is in doubt. What cannot be cut off now is passed over when the log is next opened. */
async function abandonActive(state: LogState): Promise<void> {
  const failed = state.active;
  state.active = undefined;
  if (failed === undefined) return;
  const goodBytes = state.sizes.get(failed.file) ?? 0;
  await failed.handle.truncate(goodBytes).catch(() => {});
  await failed.handle.close().catch(() => {});
  if (goodBytes === 0) {
    state.sizes.delete(failed.file);
    await rm(failed.file.path, { force: true }).catch(() => {});
  }
}

async function trim(state: LogState, upTo: TxId, before?: () => Promise<void>): Promise<void> {
  const lastOf = new Map<LogFile, bigint>(state.entries.map((entry) => [entry.file, entry.txId]));
  const isSmall = (file: LogFile) => (state.sizes.get(file) ?? 0) < state.fileBytesMax / 8;
  const doomed = [...state.sizes.keys()].filter(
    (file) => (lastOf.get(file) ?? 0n) <= upTo && !(file === state.active?.file && isSmall(file)),
  );
  if (doomed.length === 0) return;
  await before?.();
  try {
    if (state.active !== undefined && doomed.includes(state.active.file)) await closeActive(state);
    // The oldest first, so that a crash in between leaves a log without a hole.
    for (const file of doomed) {
      await rm(file.path, { force: true });
      state.sizes.delete(file);
    }
  } catch (error) {
    throw fromFileSystem(error, `trimming the shadow in ${state.directory}`);
  } finally {
    state.entries = state.entries.filter((entry) => state.sizes.has(entry.file));
  }
}

async function squash(state: LogState, from: LogEntry, records: AsyncIterable<NewRecord>): Promise<void> {
  await closeActive(state);
  const { first } = from.file;
  const file = logFile(state.directory, first, state.newest);
  const temporary = temporaryPath(state.directory);
  try {
    const written = await writeSquashed(temporary, file, records);
    await publishDurable(temporary, file.path, { overwrite: true });
    const replaced = [...state.sizes.keys()].filter((other) => other.first >= first);
    state.entries = [...state.entries.filter((entry) => entry.file.first < first), ...written.entries];
    for (const other of replaced) state.sizes.delete(other);
    state.sizes.set(file, written.size);
    // What cannot be removed now goes when the log is next opened: the new file stands for it.
    const leftovers = replaced.filter((other) => other.path !== file.path);
    await Promise.allSettled(leftovers.map((other) => rm(other.path, { force: true })));
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {});
    throw fromFileSystem(error, `squashing the shadow in ${state.directory}`);
  }
}

async function inspect(state: LogState): Promise<LogEntry[]> {
  const lost = new Set<LogFile>();
  try {
    for (const [file, size] of state.sizes) if (!(await isAsWritten(state, file, size))) lost.add(file);
  } catch (error) {
    throw fromFileSystem(error, `looking at the shadow in ${state.directory}`);
  }
  if (lost.size === 0) return [];
  // What is appended to a file without a name is gone with this process.
  if (state.active !== undefined && lost.has(state.active.file)) await closeActive(state).catch(() => {});
  for (const file of lost) {
    state.sizes.delete(file);
    // Of one that was cut short, a restart would read the beginning.
    await rm(file.path, { force: true }).catch(() => {});
  }
  const gone = state.entries.filter((entry) => lost.has(entry.file));
  state.entries = state.entries.filter((entry) => !lost.has(entry.file));
  return gone;
}

async function isAsWritten(state: LogState, file: LogFile, size: number): Promise<boolean> {
  const found = await stat(file.path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT" || error.code === "ENOTDIR") return;
    throw error;
  });
  if (found === undefined || found.size < size) return false;
  return file !== state.active?.file || found.ino === (await state.active.handle.stat()).ino;
}

async function writeSquashed(
  temporary: string,
  file: LogFile,
  records: AsyncIterable<NewRecord>,
): Promise<{ readonly entries: readonly LogEntry[]; readonly size: number }> {
  const handle = await open(temporary, "wx", 0o600);
  const entries: LogEntry[] = [];
  let size = 0;
  try {
    for await (const record of records) {
      await writeAll(handle, record.framed, size);
      entries.push(...placed(file, size, [record]));
      size += record.framed.length;
    }
  } finally {
    await handle.close();
  }
  return { entries, size };
}
