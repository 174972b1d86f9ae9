// One agent per shadow directory and per database. Node has no flock, so the lock is a listening socket: the kernel ends it with
// its process, also after SIGKILL, and another process can ask who holds it.
import { createHash } from "node:crypto";
import { open, realpath, rm } from "node:fs/promises";
import { connect, createServer, type Server } from "node:net";
import { basename, dirname, join, resolve } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setTimeout } from "node:timers/promises";
import { PageferryError } from "@pageferry/format";
import { fromFileSystem } from "@pageferry/format/node";

/** A held lock. Closing it twice is nothing. */
export interface DatabaseLock extends AsyncDisposable {
  close(): Promise<void>;
}

/** What is locked. */
export interface DatabaseLockOptions {
  readonly databasePath: string;
  /** The database's own directory below the shadow directory; it exists. */
  readonly directory: string;
}

/** How long another agent's start may take to decide; it holds the guard for some milliseconds. */
const guardTimeoutMs = 10_000;
const guardPollMs = 10;

/** How long a holder may take to say who it is, which is for the message only. */
const askTimeoutMs = 500;

/**
 * Takes the lock, or throws `locked` naming the holder. The shadow directory is guarded on any file system of this
 * machine, also between containers; the database itself, against an agent with another shadow directory, only within
 * one network namespace of Linux.
 */
export async function lockDatabase(options: DatabaseLockOptions): Promise<DatabaseLock> {
  const held = new AsyncDisposableStack();
  try {
    const path = await shortPath(options.directory, held);
    held.adopt(await lockDirectory(options, path), closeServer);
    const ofDatabase = await lockPath(options.databasePath);
    if (ofDatabase !== undefined) {
      held.adopt(ofDatabase, closeServer);
    }
  } catch (error) {
    await held.disposeAsync();
    throw fromFileSystem(error, `locking ${options.directory}`);
  }
  const close = () => held.disposeAsync();
  return { close, [Symbol.asyncDispose]: close };
}

async function lockDirectory(options: DatabaseLockOptions, path: string): Promise<Server> {
  // Two starts at once must not both find a dead holder and replace each other: SQLite's lock lasts for this moment only.
  using guard = new DatabaseSync(join(options.directory, "lock.guard"));
  await takeGuard(guard, options.directory);
  const holder = await ask(path);
  if (holder !== undefined) {
    throw lockedBy(holder, options.databasePath, options.directory);
  }
  await rm(join(options.directory, socketName), { force: true });
  const server = await listen(path);
  if (server === undefined) {
    throw lockedBy("", options.databasePath, options.directory);
  }
  return server;
}

/** Polls instead of letting SQLite wait: that would stop this thread, and with it a holder in this very process. */
async function takeGuard(guard: DatabaseSync, directory: string): Promise<void> {
  const endMs = performance.now() + guardTimeoutMs;
  for (;;) {
    try {
      guard.exec("PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE");
      return;
    } catch (cause) {
      const isBusy = (cause as { errcode?: number }).errcode === 5;
      if (!isBusy || performance.now() > endMs) {
        const message = `locking ${directory}: the guard cannot be taken`;
        throw new PageferryError(isBusy ? "locked" : "unavailable", message, { cause });
      }
    }
    await setTimeout(guardPollMs);
  }
}

const socketName = "agent.sock";

/** A socket's path holds 107 bytes; a deeper directory gets a short name from /proc for as long as it is open. */
async function shortPath(directory: string, held: AsyncDisposableStack): Promise<string> {
  const path = join(directory, socketName);
  if (Buffer.byteLength(path) <= 100) {
    return path;
  }
  const handle = await open(directory, "r");
  held.defer(() => handle.close());
  return `/proc/self/fd/${handle.fd}/${socketName}`;
}

/** Who listens at `path`; `undefined` if nobody does. */
function ask(path: string): Promise<string | undefined> {
  return new Promise((settle) => {
    const socket = connect(path);
    let answer = "";
    const end = (holder: string | undefined) => {
      socket.destroy();
      settle(holder);
    };
    socket.setEncoding("utf8");
    socket.setTimeout(askTimeoutMs, () => end(answer));
    socket.on("data", (text: string) => {
      answer = `${answer}${text}`.slice(0, 100);
    });
    socket.on("end", () => end(answer));
    socket.on("error", (error: NodeJS.ErrnoException) => {
      const isDead = error.code === "ECONNREFUSED" || error.code === "ENOENT" || error.code === "ENOTSOCK";
      end(isDead ? undefined : answer);
    });
  });
}

/** Listens, or says `undefined` where somebody else does. */
function listen(path: string): Promise<Server | undefined> {
  const server = createServer((socket) => {
    socket.on("error", () => socket.destroy());
    socket.end(`process ${process.pid}`);
  });
  server.unref();
  return new Promise((settle, fail) => {
    server.once("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "EADDRINUSE") {
        settle(undefined);
      } else {
        fail(error);
      }
    });
    server.listen(path, () => settle(server));
  });
}

/** An abstract socket named for the database's real path; nothing is written near the application's file. */
async function lockPath(databasePath: string): Promise<Server | undefined> {
  if (process.platform !== "linux") {
    return;
  }
  const absolute = resolve(databasePath);
  const directory = await realpath(dirname(absolute)).catch(() => dirname(absolute));
  const digest = createHash("sha256")
    .update(join(directory, basename(absolute)))
    .digest("hex");
  const path = `\0pageferry/${digest.slice(0, 32)}`;
  const server = await listen(path);
  if (server === undefined) {
    throw lockedBy((await ask(path)) ?? "", databasePath, undefined);
  }
  return server;
}

function lockedBy(holder: string, databasePath: string, directory: string | undefined): PageferryError {
  const who = /^process \d+$/.test(holder) ? `another agent (${holder})` : "another agent";
  const where = directory === undefined ? "" : ` with ${directory}`;
  return new PageferryError("locked", `${databasePath}: ${who} already backs it up${where}`);
}

async function closeServer(server: Server): Promise<void> {
  await new Promise((settle) => server.close(settle));
}
