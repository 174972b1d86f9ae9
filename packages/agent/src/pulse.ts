// The heartbeats of many databases in one request: alone, those of a thousand idle ones cost several percent of a core. It only saves; a
// database whose heartbeat is not taken here sends it alone, and hears why.
import type { DatabaseName } from "@pageferry/format";
import type { Queue } from "./queue.ts";

/** A heartbeat that may go with those of others. */
export interface DueHeartbeat {
  readonly database: DatabaseName;
  /** An encoded envelope without items. */
  readonly envelope: Uint8Array;
  /** To be called when the host has taken it. */
  taken(): void;
}

/** What is asked of a database. */
export interface Pulsed {
  /** Its heartbeat, where one is due before `dueMs` by the monotonic clock and nothing else is under way to the host. */
  heartbeat(dueMs: number): DueHeartbeat | undefined;
}

/** What it works with. */
export interface PulseOptions {
  readonly queue: Pick<Queue, "beat">;
  readonly heartbeatMs: number;
  readonly databases: () => readonly Pulsed[];
  /** How many these are. */
  readonly count: () => number;
}

/** Sends heartbeats together. */
export interface Pulse {
  /** To be called about once a second. */
  tick(): void;
  /** How long a database waits before it sends its heartbeat by itself, ms. */
  aloneMs(): number;
  /** Breaks off what is under way. */
  stop(): void;
}

/** So many in the time between two heartbeats: what is due within one of these goes with the first. */
const turns = 10;

/** As often as `tick` is called. */
const turnMsMin = 1000;

/** With fewer databases there is nothing to save. */
const manyMin = 8;

/** Of one request; a host takes twice as many. */
const togetherMax = 500;

/** A database that was not taken with the others sends its own after so much more than the usual time. */
const aloneFactor = 1.25;

/** A host that does not know this call may be a newer one after this. */
const unknownMs = 10 * 60_000;

/** Makes it. */
export function createPulse({ queue, heartbeatMs, databases, count }: PulseOptions): Pulse {
  const abort = new AbortController();
  const turnMs = Math.max(turnMsMin, heartbeatMs / turns);
  let dueMs = Number.NEGATIVE_INFINITY;
  let unknownUntilMs = Number.NEGATIVE_INFINITY;
  let isUnderWay = false;

  function isOn(): boolean {
    return queue.beat !== undefined && performance.now() >= unknownUntilMs && count() >= manyMin;
  }

  async function turn(): Promise<void> {
    const beforeMs = performance.now() + turnMs;
    const due = databases().flatMap((database) => database.heartbeat(beforeMs) ?? []);
    for (let at = 0; at < due.length; at += togetherMax) {
      const some = due.slice(at, at + togetherMax);
      const envelopes = some.map(({ envelope }) => envelope);
      const refused = await queue.beat?.(envelopes, { signal: abort.signal });
      if (refused === undefined) {
        unknownUntilMs = performance.now() + unknownMs;
        return;
      }
      const names = new Set(refused);
      for (const one of some) if (!names.has(one.database)) one.taken();
    }
  }

  return {
    tick() {
      if (isUnderWay || performance.now() < dueMs || abort.signal.aborted || !isOn()) return;
      isUnderWay = true;
      dueMs = performance.now() + turnMs;
      // A host that cannot be reached is met by each database by itself.
      void turn()
        .catch(() => {})
        .finally(() => {
          isUnderWay = false;
        });
    },
    aloneMs: () => (isOn() ? heartbeatMs * aloneFactor : heartbeatMs),
    stop: () => abort.abort(),
  };
}
