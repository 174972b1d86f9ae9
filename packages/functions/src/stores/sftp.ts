// Objects as files below one directory of an SFTP server, `<path>/<name>`. A name never shows a part of its object:
// temporary file, fsync, hard link (which refuses an existing name), unlink. What a server cannot do, and what is promised
// then, is in docs/replicas.md#sftp.

import { setTimeout as sleep } from "node:timers/promises";
import { checkObjectName, isPageferryError, PageferryError, type SftpReplicaConfig } from "@pageferry/format";
import { bodySize, haveSameBytes, openBody } from "../body.ts";
import { untilAborted } from "../deadline.ts";
import { streamOfBytes } from "../file-stream.ts";
import { slots } from "../slots.ts";
import {
  type CallOptions,
  checkMutableName,
  type Difference,
  isMutableName,
  type RangeOptions,
  rangeWithin,
  type Store,
  type StoreBody,
} from "../store.ts";
import { type Attributes, type SftpConnection, sftpStatus, statusOf } from "./sftp-connection.ts";
import { listPlace } from "./sftp-list.ts";
import { connectSftp } from "./sftp-login.ts";
import {
  checkDirectories,
  directoryOf,
  fromSftp,
  fromSftpWriting,
  lookAt,
  pathOf,
  prepareDirectory,
  rootOf,
  type SftpPlace,
  syncOpened,
  unlinkIfThere,
} from "./sftp-place.ts";
import { type Draft, openDraft, pieceBytes, piecesOf, readRange, streamRange } from "./sftp-transfer.ts";
import { storedBytes } from "./stored-bytes.ts";

/** Objects that are stored, opened or removed at a time; more wait their turn. One session does one thing after the other. */
const operationsAtOnce = 16;
/** 2 MiB of writes and 4 MiB of reads under way: over a line of 1 Mbit/s their answers come well within the timeouts. */
const writesAtOnce = 16;
const readsAtOnce = 32;

const timeoutMsDefault = 15_000;
/** What is under way when the store is closed may clear up behind itself for so long. */
const closeMs = 2000;

export interface SftpStoreOptions extends Omit<SftpReplicaConfig, "type" | "port"> {
  /** Default 22. */
  readonly port?: number;
  /** A stable word for logs. Default `sftp://<host>:<port>/<path>`. */
  readonly name?: string;
  /** A server that says nothing for so long while it owes an answer is `unavailable`. Default 15 s. */
  readonly timeoutMs?: number;
  /** Remove what killed writers left behind, after an hour. For the store's owner only. Default false. */
  readonly sweep?: boolean;
  readonly now?: () => number;
}

/** A store in a directory of an SFTP server, which is made when the first object comes. Nothing is connected until used. */
export function sftpStore(options: SftpStoreOptions): Store {
  if (options.password === undefined && options.keyPath === undefined) {
    throw new PageferryError("bad-config", `sftp ${options.host}: neither password nor keyPath is set`);
  }
  const port = options.port ?? 22;
  const name = options.name ?? `sftp://${options.host}:${port}/${options.path.replace(/^\//, "")}`;
  const timeoutMs = options.timeoutMs ?? timeoutMsDefault;
  const link = oneConnection(name, (signal) => connectSftp({ ...options, port, name, timeoutMs }, signal));
  const place: SftpPlace = {
    root: rootOf(options.path),
    connect: link.connect,
    writes: slots(writesAtOnce),
    reads: slots(readsAtOnce),
    sweep: options.sweep ?? false,
    now: options.now ?? Date.now,
    known: new Map(),
    writing: new Set(),
    links: "untried",
  };
  const operations = slots(operationsAtOnce);
  const underWay = new Set<Promise<unknown>>();

  /** Runs it to its end, also when its caller is told at once that he stopped it: it has to clear up behind itself. */
  function run<Result>(signal: AbortSignal | undefined, work: () => Promise<Result>): Promise<Result> {
    const running = operations.run(async () => {
      signal?.throwIfAborted();
      return work();
    });
    const ended: Promise<unknown> = running.catch(() => undefined).finally(() => underWay.delete(ended));
    underWay.add(ended);
    return untilAborted(running, signal);
  }

  async function close(): Promise<void> {
    await Promise.race([Promise.all(underWay), sleep(closeMs, undefined, { ref: false })]);
    await link.close();
  }

  return {
    name,
    async put(name, body, call = {}) {
      call.signal?.throwIfAborted();
      checkObjectName(name);
      return run(call.signal, () => put(place, name, body, call));
    },
    async get(name, range = {}) {
      range.signal?.throwIfAborted();
      checkObjectName(name);
      return run(range.signal, () => get(place, name, range));
    },
    list: (prefix, call = {}) => listPlace(place, prefix, call),
    async remove(names, call = {}) {
      call.signal?.throwIfAborted();
      const checked = Array.from(names, checkObjectName);
      await Promise.all(checked.map((name) => run(call.signal, () => remove(place, name))));
      return [];
    },
    async replace(name, bytes, call = {}) {
      call.signal?.throwIfAborted();
      checkMutableName(name);
      await run(call.signal, () => replace(place, name, bytes, call.signal));
    },
    differences: () => differences(place),
    close,
    [Symbol.asyncDispose]: close,
  };
}

async function differences({ connect, links }: SftpPlace): Promise<readonly Difference[]> {
  const noSync: Difference = {
    what: "the server does not know fsync@openssh.com: what it acknowledged may be lost with its power",
    todo: "Have a second replica, or use OpenSSH's server.",
  };
  const noLinks: Difference = {
    what: "the server makes no hard links: objects are renamed, and two hosts that write one name at once may not be kept apart",
    todo: "Let one host alone write to this path, or use a server and a file system with hard links.",
  };
  const lacksSync = (await connect()).lacksSync();
  return [...(lacksSync ? [noSync] : []), ...(links === "none" ? [noLinks] : [])];
}

/** One connection for all, made when it is first needed and again after it was lost. */
function oneConnection(name: string, open: (signal: AbortSignal) => Promise<SftpConnection>) {
  let current: Promise<SftpConnection> | undefined;
  const closing = new AbortController();

  async function connect(): Promise<SftpConnection> {
    for (let round = 1; ; round++) {
      if (closing.signal.aborted) throw new PageferryError("unavailable", `${name}: the store is closed`);
      if (round > 2) throw new PageferryError("unavailable", `${name}: the server ends every new session`);
      current ??= open(closing.signal);
      const mine = current;
      try {
        const connection = await mine;
        if (connection.isOpen()) return connection;
        if (current === mine) current = undefined;
      } catch (error) {
        if (current === mine) current = undefined;
        throw error;
      }
    }
  }

  async function close(): Promise<void> {
    closing.abort();
    (await current?.catch(() => undefined))?.end();
  }

  return { connect, close };
}

/** Rounds of a put or replace: another writer may be first, and somebody may remove the directory. What stays is an error. */
const roundsMax = 3;

/** Runs `once` again where the name was taken, or the directory is gone, in the meantime. */
async function inRounds<Result>(
  place: SftpPlace,
  name: string,
  once: (connection: SftpConnection) => Promise<Result>,
): Promise<Result> {
  for (let round = 1; ; round++) {
    const connection = await place.connect();
    try {
      await prepareDirectory(place, connection, directoryOf(name));
      return await once(connection);
    } catch (error) {
      const isGone = statusOf(error) === sftpStatus.noSuchFile;
      if (!isGone && !isPageferryError(error, "exists")) {
        throw await fromSftpWriting(connection, pathOf(place, ""), 0, error, `object ${name}`);
      }
      if (round >= roundsMax)
        throw new PageferryError("unavailable", `object ${name}: ${(error as Error).message}`, {
          cause: error,
        });
      place.known.clear();
    }
  }
}

function put(
  place: SftpPlace,
  name: string,
  body: StoreBody,
  call: CallOptions,
): Promise<"stored" | "present"> {
  const path = pathOf(place, name);
  return inRounds(place, name, async (connection) => {
    const directory = pathOf(place, directoryOf(name));
    // Asked at once: most objects are new, and then one way to the server and back is saved.
    const [found, opened] = await Promise.allSettled([
      lookAt(connection, path),
      openDraft(place, connection, directory),
    ]);
    await using draft = opened.status === "fulfilled" ? opened.value : undefined;
    if (found.status === "rejected") throw found.reason;
    if (found.value !== undefined) {
      await checkSame(place, connection, name, found.value, body, call.signal);
      await draft?.syncDirectory();
      return "present";
    }
    try {
      if (draft === undefined) throw (opened as PromiseRejectedResult).reason;
      await draft.write(openBody(body, `object ${name}`, call.signal), call.signal);
      await publish(place, connection, draft, path);
      return "stored";
    } catch (error) {
      if (statusOf(error) === sftpStatus.noSuchFile) throw error;
      throw await fromSftpWriting(connection, directory, bodySize(body), error, `writing object ${name}`);
    }
  });
}

/** Throws unless these very bytes are stored. Its writer may have been killed before he made them durable: that is done. */
async function checkSame(
  place: SftpPlace,
  connection: SftpConnection,
  name: string,
  found: Attributes,
  body: StoreBody,
  signal: AbortSignal | undefined,
): Promise<void> {
  const conflict = (cause?: unknown) =>
    new PageferryError("conflict", `object ${name}: ${found.size} other bytes are stored under this name`, {
      cause,
    });
  if (found.kind === "link") throw conflict();
  if (found.kind !== "file")
    throw new PageferryError("unavailable", `object ${name}: it is a directory there`);
  if (found.size !== bodySize(body)) throw conflict();
  const file = await connection.open(pathOf(place, name), "read");
  const reader = readRange(place, connection, file, [0, found.size], `object ${name}`);
  const stored = storedBytes(piecesOf(reader), conflict);
  if (!(await haveSameBytes(stored, openBody(body, `object ${name}`, signal)))) throw conflict();
  await syncOpened(connection, await connection.open(pathOf(place, name), "read"));
}

/** Gives a finished draft its name, or throws `exists`. */
async function publish(
  place: SftpPlace,
  connection: SftpConnection,
  draft: Draft,
  path: string,
): Promise<void> {
  const taken = (cause: unknown) => new PageferryError("exists", `${path} is there already`, { cause });
  if (place.links === "work") {
    const [linked, unlinked, synced] = await Promise.allSettled([
      connection.link(draft.path, path),
      connection.unlink(draft.path),
      draft.syncDirectory(),
    ]);
    if (unlinked.status === "fulfilled") draft.forget();
    if (linked.status === "rejected") {
      throw (await lookAt(connection, path)) === undefined ? linked.reason : taken(linked.reason);
    }
    if (synced.status === "rejected") throw synced.reason;
    return;
  }
  if (place.links === "untried" && (await tryLink(connection, draft.path, path, taken))) {
    place.links = "work";
    await Promise.all([unlinkIfThere(connection, draft.path), draft.syncDirectory()]);
    return draft.forget();
  }
  // Without hard links: look, then rename. OpenSSH refuses an existing name; a server that does not is raced only here.
  if ((await lookAt(connection, path)) !== undefined) throw taken(undefined);
  try {
    await connection.rename(draft.path, path);
  } catch (error) {
    if (statusOf(error) === undefined || (await lookAt(connection, path)) === undefined) throw error;
    throw taken(error);
  }
  place.links = "none";
  draft.forget();
  await draft.syncDirectory();
}

/** Tells whether the server could; throws `exists` where it is there already. */
async function tryLink(
  connection: SftpConnection,
  from: string,
  to: string,
  taken: (cause: unknown) => PageferryError,
): Promise<boolean> {
  try {
    await connection.link(from, to);
    return true;
  } catch (error) {
    if (statusOf(error) === undefined || statusOf(error) === sftpStatus.noSuchFile) throw error;
    if ((await lookAt(connection, to)) !== undefined) throw taken(error);
    return false;
  }
}

async function get(place: SftpPlace, name: string, range: RangeOptions): Promise<ReadableStream<Uint8Array>> {
  const { signal } = range;
  const path = pathOf(place, name);
  const missing = () => new PageferryError("not-found", `object ${name} is not in ${pathOf(place, "")}`);
  const connection = await place.connect();
  try {
    if (!(await checkDirectories(place, connection, directoryOf(name)))) throw missing();
    const found = await lookAt(connection, path);
    if (found === undefined) throw missing();
    if (found.kind === "link") throw new PageferryError("bad-config", `object ${name} is a symbolic link`);
    // A pipe or a device would hold the session up for as long as it likes.
    if (found.kind !== "file") throw missing();
    const file = await connection.open(path, "read");
    try {
      // A name that may be replaced can be another file by now: what is open counts.
      const { size } = isMutableName(name) ? await connection.attributesOf(file) : found;
      signal?.throwIfAborted();
      const [start, end] = rangeWithin(size, range, `object ${name}`);
      const reader = readRange(place, connection, file, [start, end], `object ${name}`);
      if (end - start > pieceBytes) return streamRange(reader, signal);
      // Most objects are small: read at once, so that a reader who forgets the stream holds nothing open.
      const bytes = await reader.next();
      reader.stop();
      return streamOfBytes(bytes ?? new Uint8Array());
    } catch (error) {
      await connection.close(file).catch(() => undefined);
      throw error;
    }
  } catch (error) {
    if (statusOf(error) === sftpStatus.noSuchFile) throw missing();
    throw fromSftp(error, `reading object ${name}`);
  }
}

async function remove(place: SftpPlace, name: string): Promise<void> {
  const connection = await place.connect();
  try {
    if (!(await checkDirectories(place, connection, directoryOf(name)))) return;
    await unlinkIfThere(connection, pathOf(place, name));
  } catch (error) {
    throw fromSftp(error, `removing object ${name}`);
  }
}

function replace(
  place: SftpPlace,
  name: string,
  bytes: Uint8Array,
  signal: AbortSignal | undefined,
): Promise<void> {
  const path = pathOf(place, name);
  return inRounds(place, name, async (connection) => {
    const directory = pathOf(place, directoryOf(name));
    try {
      await using draft = await openDraft(place, connection, directory);
      await draft.write(openBody(bytes, `object ${name}`), signal);
      await takePlace(connection, draft.path, path);
      draft.forget();
      await draft.syncDirectory();
    } catch (error) {
      if (statusOf(error) === sftpStatus.noSuchFile) throw error;
      throw await fromSftpWriting(connection, directory, bytes.length, error, `replacing object ${name}`);
    }
  });
}

/** Renames over what is there; on servers that cannot, the old one is removed first, and for a moment there is none. */
async function takePlace(connection: SftpConnection, from: string, to: string): Promise<void> {
  try {
    return await connection.replace(from, to);
  } catch (error) {
    if (statusOf(error) !== sftpStatus.unsupported) throw error;
  }
  await unlinkIfThere(connection, to);
  await connection.rename(from, to);
}
