// What the local host tells those who watch it: who waits for a transaction, and what happened. It ends before the server does, for their lines
// are open for as long as it goes on.

import { type Changes, createChanges } from "../changes.ts";
import { createWaiting, type WaitingOptions } from "../wait.ts";
import type { WaitApiOptions } from "../wait-api.ts";

export interface Watch {
  /** Told by the parts whenever something changed. */
  readonly changes: Changes;
  /** What the API is given, once the parts are there. */
  routes(parts: Omit<WaitingOptions, "changes">): WaitApiOptions;
  /** Ends every open line. */
  end(): void;
}

export function createWatch(): Watch {
  const changes = createChanges();
  const closing = new AbortController();
  return {
    changes,
    routes: (parts) => ({ waitFor: createWaiting({ ...parts, changes }), closing: closing.signal }),
    end: () => closing.abort(),
  };
}
