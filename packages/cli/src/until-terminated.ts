// How long-running commands live: until SIGINT or SIGTERM, or until a part of them fails.

import type { Io } from "./io.ts";

/** Resolves when the process is asked to end. */
export function untilTerminated({ signal }: Io): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}
