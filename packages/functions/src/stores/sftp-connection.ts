// One SFTP session as requests that are promises, each of them ended by an answer, by the loss of the connection, or
// because nothing was heard for too long. It knows nothing of objects.

import { constants } from "node:fs";
import type { Socket } from "node:net";
import { PageferryError } from "@pageferry/format";
import pMap from "p-map";
import type SftpClient from "ssh2-sftp-client";

/** The session as ssh2 has it. */
type Sftp = Awaited<ReturnType<SftpClient["connect"]>>;

/** How the server is called in messages, and how long it may be silent while it owes an answer. */
export interface SessionOptions {
  readonly name: string;
  readonly timeoutMs: number;
}

/** What a server says of a file. */
export interface Attributes {
  readonly kind: "file" | "directory" | "link" | "other";
  readonly size: number;
  readonly mtimeMs: number;
}

/** One name in a directory. */
export interface Entry extends Attributes {
  readonly name: string;
}

/** An open file on the server. */
export type Handle = Buffer;

/** Requests to a server. Where it says no they reject with its status (`statusOf`), where it is lost with `unavailable`. */
export interface SftpConnection {
  isOpen(): boolean;
  /** `create`: a new file of mode 0600, an existing one is refused. A directory may be opened to read: to sync it. */
  open(path: string, how: "read" | "create"): Promise<Handle>;
  close(handle: Handle): Promise<void>;
  /** Up to `length` bytes; fewer where the server sends fewer at once, none at the end. */
  read(handle: Handle, at: number, length: number): Promise<Uint8Array>;
  write(handle: Handle, at: number, bytes: Uint8Array): Promise<void>;
  /** Makes a file, or the names in a directory, durable. Not every server can: status `unsupported`. */
  sync(handle: Handle): Promise<void>;
  /** Whether it has shown that it cannot. */
  lacksSync(): boolean;
  attributesOf(handle: Handle): Promise<Attributes>;
  /** Of the name itself, also where it is a symbolic link. */
  look(path: string): Promise<Attributes>;
  /** Of what the name leads to. */
  follow(path: string): Promise<Attributes>;
  /** What is in a directory, of the names that are wanted; `undefined` where there is no such directory. */
  entries(path: string, isWanted?: (name: string) => boolean): Promise<Entry[] | undefined>;
  /** A directory of mode 0700. */
  makeDirectory(path: string): Promise<void>;
  unlink(path: string): Promise<void>;
  /** Gives a file a second name; an existing one is refused. Not every server can. */
  link(path: string, to: string): Promise<void>;
  /** Refuses an existing name, as OpenSSH and the protocol have it. */
  rename(path: string, to: string): Promise<void>;
  /** Takes the place of an existing name, atomically. Not every server can. */
  replace(path: string, to: string): Promise<void>;
  /** Bytes that could still be written there, or `undefined` where the server cannot tell. */
  room(path: string): Promise<number | undefined>;
  end(): void;
}

/** The statuses of SFTP version 3 that a caller can do something about. */
export const sftpStatus = {
  endOfFile: 1,
  noSuchFile: 2,
  permissionDenied: 3,
  failure: 4,
  badMessage: 5,
  unsupported: 8,
} as const;

/** The number with which a server refused, or `undefined` for any other error. */
export function statusOf(error: unknown): number | undefined {
  const code = (error as { readonly code?: unknown } | undefined)?.code;
  return typeof code === "number" && code >= 1 && code <= 31 ? code : undefined;
}

/** So long a server may take to hear that the session is over. */
const endMs = 1000;

type Answer<Value> = (error?: Error | null, value?: Value) => void;
type Request = <Value>(send: (sftp: Sftp, answer: Answer<Value>) => void) => Promise<Value>;

/** The requests of a session that was opened over this socket. */
export function openRequests(sftp: Sftp, socket: Socket, options: SessionOptions): SftpConnection {
  const { request, isOpen } = watchRequests(sftp, socket, options);
  let lacksSync = false;
  const status = (send: (sftp: Sftp, answer: Answer<undefined>) => void): Promise<void> => request(send);
  return {
    isOpen,
    open: (path, how) =>
      request<Buffer>((to, answer) => {
        if (how === "create") to.open(path, "wx", { mode: 0o600 }, answer);
        else to.open(path, "r", answer);
        // A copy: what comes in is a view of all that came in with it.
      }).then((handle) => Buffer.from(handle)),
    close: (handle) => status((to, answer) => to.close(handle, answer)),
    async read(handle, at, length) {
      const bytes = Buffer.allocUnsafeSlow(length);
      const count = await request<number>((to, answer) => to.read(handle, bytes, 0, length, at, answer));
      return bytes.subarray(0, count);
    },
    write: (handle, at, bytes) =>
      status((to, answer) => {
        const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
        to.write(handle, buffer, 0, buffer.length, at, answer);
      }),
    async sync(handle) {
      try {
        await status((to, answer) => to.ext_openssh_fsync(handle, answer));
      } catch (error) {
        lacksSync ||= statusOf(error) === sftpStatus.unsupported;
        throw error;
      }
    },
    lacksSync: () => lacksSync,
    attributesOf: async (handle) =>
      attributesFrom(await request<Stats>((to, answer) => to.fstat(handle, answer))),
    look: async (path) => attributesFrom(await lstat(request, path)),
    follow: async (path) => attributesFrom(await request<Stats>((to, answer) => to.stat(path, answer))),
    entries: (path, isWanted = () => true) => readEntries(request, path, isWanted),
    makeDirectory: (path) => status((to, answer) => to.mkdir(path, { mode: 0o700 }, answer)),
    unlink: (path) => status((to, answer) => to.unlink(path, answer)),
    link: (path, name) => status((to, answer) => to.ext_openssh_hardlink(path, name, answer)),
    rename: (path, name) => status((to, answer) => to.rename(path, name, answer)),
    replace: (path, name) => status((to, answer) => to.ext_openssh_rename(path, name, answer)),
    room: (path) => readRoom(request, path),
    end() {
      sftp.end();
      socket.end();
      // A server that does not read any more would keep it, and so the process.
      const timer = setTimeout(() => socket.destroy(), endMs);
      socket.once("close", () => clearTimeout(timer));
    },
  };
}

/** Requests that all end: with their answer, or with the connection, which ends when nothing is heard any more. */
function watchRequests(
  sftp: Sftp,
  socket: Socket,
  { name, timeoutMs }: SessionOptions,
): { readonly request: Request; readonly isOpen: () => boolean } {
  const waiting = new Map<(error: PageferryError) => void, number>();
  let lost: PageferryError | undefined;
  let heard = { bytes: 0, atMs: 0 };
  let timer: NodeJS.Timeout | undefined;

  const lose = (why: string, cause?: Error) => {
    if (lost !== undefined) return;
    lost = new PageferryError("unavailable", `${name}: ${why}`, { cause });
    clearInterval(timer);
    socket.destroy();
    for (const end of [...waiting.keys()]) end(lost);
  };
  const watch = () => {
    const nowMs = performance.now();
    if (socket.bytesRead !== heard.bytes) heard = { bytes: socket.bytesRead, atMs: nowMs };
    const [oldestMs = nowMs] = waiting.values();
    if (nowMs - heard.atMs >= timeoutMs) lose(`no answer for ${timeoutMs} ms`);
    // Alive, as its keepalives say, but this one answer does not come: an fsync may take long, yet not for ever.
    else if (nowMs - oldestMs >= 8 * timeoutMs) lose(`a request without an answer for too long`);
  };
  const add = (end: (error: PageferryError) => void) => {
    if (waiting.size === 0) {
      heard = { bytes: socket.bytesRead, atMs: performance.now() };
      timer = setInterval(watch, Math.max(1, Math.floor(timeoutMs / 8)));
    }
    waiting.set(end, performance.now());
  };
  /** What is asked in one turn of the event loop goes out in one system call: with small objects these cost most. */
  let isGathering = false;
  const gather = () => {
    if (isGathering) return;
    isGathering = true;
    socket.cork();
    setImmediate(() => {
      isGathering = false;
      socket.uncork();
    });
  };
  const drop = (end: (error: PageferryError) => void) => {
    if (waiting.delete(end) && waiting.size === 0) clearInterval(timer);
  };

  socket.on("error", (error) => lose("the connection broke", error));
  socket.on("close", () => lose("the connection was closed"));
  sftp.on("error", (error: Error) => lose("the session broke", error));
  sftp.on("end", () => lose("the server ended the session"));
  sftp.on("close", () => lose("the server closed the session"));

  const request: Request = (send) =>
    new Promise((resolve, reject) => {
      if (lost !== undefined) return reject(lost);
      const end = (error: unknown) => {
        drop(end);
        reject(error);
      };
      add(end);
      gather();
      try {
        send(sftp, (error, value) => {
          if (error === undefined || error === null) {
            drop(end);
            resolve(value as never);
          } else if (statusOf(error) !== undefined) end(error);
          else lose("the connection was lost", error);
        });
      } catch (error) {
        // ssh2 throws at once where the server did not offer an extension.
        const isMissing = /does not support/.test((error as Error).message);
        end(isMissing ? Object.assign(error as Error, { code: sftpStatus.unsupported }) : error);
      }
    });
  return { request, isOpen: () => lost === undefined };
}

/** Directories come a hundred names at a time; so many of these are asked for at once. */
const listingsAtOnce = 4;

/** Some servers list names alone: so many of these are looked at at a time. */
const looksAtOnce = 16;

async function readEntries(
  request: Request,
  path: string,
  isWanted: (name: string) => boolean,
): Promise<Entry[] | undefined> {
  let handle: Handle;
  try {
    handle = Buffer.from(await request<Buffer>((to, answer) => to.opendir(path, answer)));
  } catch (error) {
    if (statusOf(error) === sftpStatus.noSuchFile) return undefined;
    throw error;
  }
  try {
    const entries: Entry[] = [];
    const bare: string[] = [];
    for (let isDone = false; !isDone; ) {
      const parts = await Promise.all(
        Array.from({ length: listingsAtOnce }, () => readSome(request, handle)),
      );
      for (const part of parts) {
        isDone ||= part === undefined;
        for (const { filename: name, attrs } of part ?? []) {
          if (!isWanted(name)) continue;
          if (attrs.mode === undefined) bare.push(name);
          else entries.push({ name, ...attributesFrom(attrs) });
        }
      }
    }
    const looked = await pMap(bare, (name) => lookAtEntry(request, path, name), { concurrency: looksAtOnce });
    return [...entries, ...looked.filter((entry) => entry !== undefined)];
  } finally {
    await request<undefined>((to, answer) => to.close(handle, answer)).catch(() => undefined);
  }
}

/** A name that was listed; `undefined` if it is gone by now. */
async function lookAtEntry(request: Request, path: string, name: string): Promise<Entry | undefined> {
  try {
    return { name, ...attributesFrom(await lstat(request, `${path}/${name}`)) };
  } catch (error) {
    if (statusOf(error) === sftpStatus.noSuchFile) return undefined;
    throw error;
  }
}

function lstat(request: Request, path: string): Promise<Stats> {
  return request((to, answer) => to.lstat(path, answer));
}

interface Stats {
  readonly mode: number;
  readonly size: number;
  readonly mtime: number;
}

interface Listed {
  readonly filename: string;
  readonly attrs: Stats;
}

async function readSome(request: Request, handle: Handle): Promise<readonly Listed[] | undefined> {
  try {
    return await request<Listed[]>((to, answer) => to.readdir(handle, answer));
  } catch (error) {
    if (statusOf(error) === sftpStatus.endOfFile) return undefined;
    throw error;
  }
}

async function readRoom(request: Request, path: string): Promise<number | undefined> {
  try {
    const facts = await request<Record<string, unknown>>((to, answer) =>
      to.ext_openssh_statvfs(path, answer),
    );
    const { f_frsize: blockSize, f_bavail: blocks, f_files: files, f_favail: filesLeft } = facts;
    // Where a file system counts no files, as btrfs, it reports none left either.
    if (typeof files === "number" && files > 0 && filesLeft === 0) return 0;
    return typeof blocks === "number" && typeof blockSize === "number" ? blocks * blockSize : undefined;
  } catch (error) {
    if (statusOf(error) === undefined) throw error;
    return undefined;
  }
}

const kinds: ReadonlyMap<number, Attributes["kind"]> = new Map([
  [constants.S_IFREG, "file"],
  [constants.S_IFDIR, "directory"],
  [constants.S_IFLNK, "link"],
]);

function attributesFrom(stats: Stats): Attributes {
  return {
    kind: kinds.get(stats.mode & constants.S_IFMT) ?? "other",
    size: stats.size,
    mtimeMs: stats.mtime * 1000,
  };
}
