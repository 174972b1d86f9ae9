// A listening socket in a directory, of which one process at a time is the owner: the kernel ends it with its process, also after SIGKILL,
// and what a dead process left of it is replaced.
import { rm } from "node:fs/promises";
import { connect, type Server } from "node:net";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setTimeout } from "node:timers/promises";
import { PageferryError } from "@pageferry/format";
import { openSocketPath } from "@pageferry/format/node";

/** Where the socket is. */
export interface OwnedSocketPlace {
  /** It exists. */
  readonly directory: string;
  readonly socketName: string;
  /** A file that is locked while it is decided who the owner is. */
  readonly guardName: string;
  /** Only this user may connect, from the first moment on: mode 0600. For a process's main thread. */
  readonly isPrivate?: boolean;
}

/** Somebody else's: what they said of themselves, which may be nothing. */
export interface HeldSocket {
  readonly holder: string;
}

/** How long another process's start may take to decide; it holds the guard for some milliseconds. */
const guardTimeoutMs = 10_000;
const guardPollMs = 10;

/** Between attempts to make the socket on a full disk. */
const listenAgainMs = 1000;

/** How long a holder may take to say who it is, which is for the message only. */
const askTimeoutMs = 500;

/**
 * Lets `server` listen, unless another process does; disposing of what is returned closes it. Errors: `locked` where the guard cannot be
 * taken, what the file system throws.
 */
export async function ownSocket(
  server: Server,
  { directory, socketName, guardName, isPrivate = false }: OwnedSocketPlace,
): Promise<AsyncDisposable | HeldSocket> {
  await using held = new AsyncDisposableStack();
  const path = held.use(await openSocketPath(directory, socketName)).path;
  // Two starts at once must not both find a dead holder and replace each other: SQLite's lock lasts for this moment only.
  await using guarded = new AsyncDisposableStack();
  const guard = guarded.use(new DatabaseSync(join(directory, guardName)));
  await takeGuard(guard, directory);
  const holder = await askHolder(path);
  if (holder !== undefined) return { holder };
  await rm(join(directory, socketName), { force: true });
  const listen = () => (isPrivate ? privately(() => listenAt(server, path)) : listenAt(server, path));
  const isListening = await listen().catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOSPC") throw error;
  });
  if (isListening === false) return { holder: "" };
  held.adopt(server, closeServer);
  if (isListening === undefined) held.use(listenLater(listen, guarded.move()));
  return held.move();
}

/** A socket gets its mode when it is bound, which is before `listen` returns. */
function privately<Result>(listen: () => Result): Result {
  const before = process.umask(0o177);
  try {
    return listen();
  } finally {
    process.umask(before);
  }
}

/**
 * On some file systems, such as XFS, not even a socket can be made on a full disk. The guard is the lock until there is room: the kernel ends
 * it with its process, too.
 */
function listenLater(listen: () => Promise<boolean>, guarded: AsyncDisposableStack): AsyncDisposable {
  const ending = new AbortController();
  const { signal } = ending;
  const listening = (async () => {
    for (let isListening = false; !isListening && !signal.aborted; ) {
      await setTimeout(listenAgainMs, undefined, { signal, ref: false }).catch(() => {});
      // Nobody else can have it while the guard is held.
      if (!signal.aborted) isListening = await listen().catch(() => false);
    }
    await guarded.disposeAsync();
  })();
  return {
    async [Symbol.asyncDispose]() {
      ending.abort();
      await listening;
    },
  };
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

/** Who listens at `path`; `undefined` if nobody does. */
export function askHolder(path: string): Promise<string | undefined> {
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

/** Listens, or says false where somebody else does. */
export function listenAt(server: Server, path: string): Promise<boolean> {
  return new Promise((settle, fail) => {
    const onListening = () => {
      server.off("error", onError);
      // A connection that could not be taken, as where descriptors are used up, is its client's trouble.
      server.on("error", () => {});
      settle(true);
    };
    const onError = (error: NodeJS.ErrnoException) => {
      server.off("listening", onListening);
      if (error.code === "EADDRINUSE") settle(false);
      else fail(error);
    };
    server.once("error", onError);
    server.once("listening", onListening);
    server.listen(path);
  });
}

/** Ends a server, when its connections have ended. */
export async function closeServer(server: Server): Promise<void> {
  await new Promise((settle) => server.close(settle));
}
