// The queue's write-ahead log, made durable without holding up the process: SQLite writes it in order, this syncs it on
// another thread, and what came while a sync ran shares the next one. SQLite itself syncs it before it copies it back.

import { close, closeSync, fdatasync, fsyncSync, openSync } from "node:fs";
import { dirname } from "node:path";
import { promisify } from "node:util";
import { fromSqlite } from "./queue-schema.ts";

const fdatasyncAsync = promisify(fdatasync);
const closeAsync = promisify(close);

export interface QueueLog {
  /** Resolves when everything that was committed before the call is durable. */
  sync(): Promise<void>;
  close(): Promise<void>;
}

/**
 * Opens the log of the queue in `path`, which must be open and have been written to. `copyBack` puts all of the log into the
 * database file, durably: after a sync that failed the log is not to be trusted, since the system may have dropped what it
 * could not write, and what follows in the log would be lost with it.
 */
export function openQueueLog(path: string, copyBack: () => void): QueueLog {
  if (path === ":memory:") return { sync: async () => {}, close: async () => {} };
  // The log's own name must be durable as well. It holds none of SQLite's locks, so that closing it later drops none.
  const directory = openSync(dirname(path), "r");
  fsyncSync(directory);
  closeSync(directory);
  const log = openSync(`${path}-wal`, "r+");
  let running: Promise<void> | undefined;
  let next: Promise<void> | undefined;
  let isSuspect = false;
  const syncOnce = async (): Promise<void> => {
    try {
      if (isSuspect) copyBack();
      isSuspect = true;
      await fdatasyncAsync(log);
      isSuspect = false;
    } catch (error) {
      throw fromSqlite(error, `queue ${path}`);
    }
  };
  const start = (): Promise<void> => {
    running = syncOnce().finally(() => {
      running = undefined;
    });
    return running;
  };
  return {
    sync() {
      if (running === undefined) return start();
      next ??= running
        .catch(() => undefined)
        .then(() => {
          next = undefined;
          return start();
        });
      return next;
    },
    async close() {
      await running?.catch(() => undefined);
      await next?.catch(() => undefined);
      await closeAsync(log);
    },
  };
}
