// Which database's standing may have changed: told by those who change it, heard by those who wait for it or show it. Nobody has to poll.

import type { DatabaseName } from "@pageferry/format";
import { createWaiters } from "./waiters.ts";

export interface Changes {
  /** Something was heard of the database, stored of it, or found in a listing. */
  changed(database: DatabaseName): void;
  /** Resolves at the database's next change, after `delayMs`, or when `signal` is aborted; it never rejects. */
  wait(database: DatabaseName, delayMs: number, signal?: AbortSignal): Promise<void>;
  /** Calls `listener` at every change, which must be quick; the answer ends that. */
  listen(listener: (database: DatabaseName) => void): () => void;
}

export function createChanges(): Changes {
  const waiters = createWaiters();
  const listeners = new Set<(database: DatabaseName) => void>();
  return {
    wait: waiters.wait,
    changed(database) {
      waiters.wake(database);
      for (const listener of listeners) listener(database);
    },
    listen(listener) {
      // Its own function: who listens twice is told twice.
      const own = (database: DatabaseName): void => listener(database);
      listeners.add(own);
      return () => listeners.delete(own);
    },
  };
}
