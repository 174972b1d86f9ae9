// How many requests each database cost in each replica since the host began, counted as a bucket's bill counts them.

import type { Observe, Operation } from "./measured-store.ts";

/** S3 gives a listing in pages of this many names, and bills each. */
const namesOfPage = 1000;

/** Larger bodies go in parts, as `stores/s3-upload.ts` sends them: each is billed, and so are beginning and end. */
const partBytes = 6 * 1024 * 1024;

export interface OperationCounts {
  /** Puts and pages of listings: the dearer ones. */
  readonly writes: number;
  readonly reads: number;
  /** Since when it was counted. */
  readonly elapsedMs: number;
}

export interface OperationCounter {
  observe(replica: string): Observe;
  /** Of a database in a replica; without one, of the whole replica. */
  of(replica: string, database?: string): OperationCounts;
}

interface Counted {
  writes: number;
  reads: number;
}

/** `nowMs` may not be set back: a monotonic clock. */
export function createOperationCounter(nowMs: () => number): OperationCounter {
  const begunMs = nowMs();
  const counted = new Map<string, Counted>();
  const count = (key: string, { writes, reads }: Counted): void => {
    const known = counted.get(key) ?? { writes: 0, reads: 0 };
    counted.set(key, { writes: known.writes + writes, reads: known.reads + reads });
  };
  return {
    observe: (replica) => (operation) => {
      const requests = requestsOf(operation);
      count(replica, requests);
      const [database, ...rest] = operation.name.split("/");
      if (rest.length > 0) count(`${replica}\n${database}`, requests);
    },
    of(replica, database) {
      const key = database === undefined ? replica : `${replica}\n${database}`;
      return { ...(counted.get(key) ?? { writes: 0, reads: 0 }), elapsedMs: nowMs() - begunMs };
    },
  };
}

/** What failed is billed as well; what removes is not. */
function requestsOf({ operation, bytes, items = 0 }: Operation): Counted {
  if (operation === "get") return { writes: 0, reads: 1 };
  if (operation === "remove") return { writes: 0, reads: 0 };
  if (operation === "list") return { writes: Math.max(1, Math.ceil(items / namesOfPage)), reads: 0 };
  return { writes: bytes <= partBytes ? 1 : Math.ceil(bytes / partBytes) + 2, reads: 0 };
}
