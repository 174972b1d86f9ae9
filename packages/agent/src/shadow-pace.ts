// The pause between two writes of a shadow. An fsync of ours holds up those of the application on the same disk, and a pause lets more commits share
// one; docs/decisions/0020 has the figures.
import { createWake } from "./wake.ts";

/** Keeps writes apart. */
export interface Pace {
  /** A write has ended. */
  wrote(): void;
  /** Returns when the next may begin: at once where none was for a while, or somebody is in a hurry. */
  wait(signal: AbortSignal): Promise<void>;
  /** The present pause ends, or the next one does not begin. */
  hurry(): void;
}

/** Makes it. `paceMs` from the end of a write to the begin of the next; 0: there are no pauses. */
export function createPace(paceMs: number): Pace {
  const wake = createWake();
  let wroteMs = Number.NEGATIVE_INFINITY;
  return {
    wrote() {
      wroteMs = performance.now();
    },
    wait: (signal) => wake.wait(wroteMs + paceMs - performance.now(), signal),
    hurry: wake.notify,
  };
}
