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

/** Opens the log of the queue in `path`, which must be open and have been written to. */
export function openQueueLog(path: string): QueueLog {
  if (path === ":memory:") return { sync: async () => {}, close: async () => {} };
  // The log's own name must be durable as well. It holds none of SQLite's locks, so that closing it later drops none.
  const directory = openSync(dirname(path), "r");
  fsyncSync(directory);
  closeSync(directory);
  const log = openSync(`${path}-wal`, "r+");
  let running: Promise<void> | undefined;
  let next: Promise<void> | undefined;
  const start = (): Promise<void> => {
    running = fdatasyncAsync(log)
      .catch((error: unknown) => {
        throw fromSqlite(error, `queue ${path}`);
      })
      .finally(() => {
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
