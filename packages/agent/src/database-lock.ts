// One agent per shadow directory and per database. Node has no flock, so the lock is a listening socket: the kernel ends it with
// its process, also after SIGKILL, and another process can ask who holds it.
import { createHash } from "node:crypto";
import { realpath } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { basename, dirname, join, resolve } from "node:path";
import { PageferryError } from "@pageferry/format";
import { fromFileSystem } from "@pageferry/format/node";
import { askHolder, closeServer, listenAt, ownSocket } from "./owned-socket.ts";

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

/**
 * Takes the lock, or throws `locked` naming the holder. The shadow directory is guarded on any file system of this
 * machine, also between containers; the database itself, against an agent with another shadow directory, only within
 * one network namespace of Linux.
 */
export async function lockDatabase(options: DatabaseLockOptions): Promise<DatabaseLock> {
  const held = new AsyncDisposableStack();
  try {
    held.use(await lockDirectory(options));
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

const socketName = "agent.sock";

async function lockDirectory({ databasePath, directory }: DatabaseLockOptions): Promise<AsyncDisposable> {
  const owned = await ownSocket(namingServer(), { directory, socketName, guardName: "lock.guard" });
  if ("holder" in owned) throw lockedBy(owned.holder, databasePath, directory);
  return owned;
}

/** Says to whoever asks which process holds the lock. */
function namingServer(): Server {
  const server = createServer((socket) => {
    socket.on("error", () => socket.destroy());
    socket.end(`process ${process.pid}`);
  });
  return server.unref();
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
  const server = namingServer();
  if (!(await listenAt(server, path))) throw lockedBy((await askHolder(path)) ?? "", databasePath, undefined);
  return server;
}

function lockedBy(holder: string, databasePath: string, directory: string | undefined): PageferryError {
  const who = /^process \d+$/.test(holder) ? `another agent (${holder})` : "another agent";
  const where = directory === undefined ? "" : ` with ${directory}`;
  return new PageferryError("locked", `${databasePath}: ${who} already backs it up${where}`);
}
