// Leases of restores over all replicas of a host: a point that prune leaves alone for an hour.

import { randomUUID } from "node:crypto";
import type { DatabaseName } from "@pageferry/format";
import { withDeadline } from "./deadline.ts";
import type { ManifestApiOptions } from "./manifest-api.ts";
import type { Target } from "./targets.ts";
import { addLease } from "./wanted-points.ts";

/** A replica that does not take a lease by then is not waited for: what a restore needs is safe for the grace of a prune anyway. */
const leaseWaitMs = 2000;

export interface LeasesOptions {
  readonly targets: readonly Pick<Target, "health" | "set">[];
  readonly now: () => number;
}

/** Makes what takes them; `undefined` comes of it where no replica took one. */
export function createLeases({ targets, now }: LeasesOptions): ManifestApiOptions["lease"] {
  return async (database: DatabaseName, point) => {
    const id = randomUUID();
    const nowMs = now();
    const taken = await Promise.allSettled(
      targets
        .filter((target) => target.health().state === "closed")
        .map(({ set }) =>
          withDeadline(leaseWaitMs, undefined, async (signal) =>
            addLease((await set.of(database)).objects, point, id, nowMs, { signal }),
          ),
        ),
    );
    const expiresAtMs = taken.find((one) => one.status === "fulfilled")?.value;
    return expiresAtMs === undefined ? undefined : { id, expiresAtMs };
  };
}
