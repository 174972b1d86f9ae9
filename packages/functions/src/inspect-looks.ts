// One look into a backup, as the API and the page take it: only where the configuration lets anybody look, and told with everything but what
// was looked at. docs/operations.md#look-inside.

import { type DatabaseName, formatTxId, PageferryError } from "@pageferry/format";
import type { Context } from "hono";
import { grantOfCall } from "./access.ts";
import {
  createInspectPoints,
  type InspectPointsOptions,
  type OpenedPoint,
  type PointOrder,
} from "./inspect-points.ts";
import type { CallOptions } from "./store.ts";

/** One use, as it is logged. */
export interface InspectUse {
  readonly database: DatabaseName;
  readonly generation: string;
  readonly txid: string;
  /** Buckets in the path. */
  readonly depth: number;
  readonly call: "ls" | "get";
  /** The token's id. */
  readonly token: string;
}

export interface InspectOptions {
  /** Absent: nobody may look inside. */
  readonly inspect?: { readonly onUse: (use: InspectUse) => void } | undefined;
}

export interface Looks {
  /** Whether anybody may look. */
  readonly isOn: boolean;
  /** Throws `forbidden` where nobody may. */
  requireOn(): void;
  /** Opens the point, tells the use, and looks. Errors: `forbidden`, and as `planRestore` and what `see` does. */
  look<Result>(
    context: Context,
    order: PointOrder,
    use: Pick<InspectUse, "depth" | "call"> & CallOptions,
    see: (point: OpenedPoint) => Promise<Result>,
  ): Promise<Result>;
}

export function createLooks({ inspect, lease }: InspectOptions & Pick<InspectPointsOptions, "lease">): Looks {
  const points = createInspectPoints({ lease, now: () => performance.now() });
  return {
    isOn: inspect !== undefined,
    requireOn: () => void required(inspect),
    async look(context, order, { depth, call, signal }, see) {
      const { onUse } = required(inspect);
      const { database } = order;
      return points.use(order, { signal }, async (point) => {
        const { generation, txId } = point.plan;
        const token = grantOfCall(context).id;
        onUse({ database, generation, txid: formatTxId(txId), depth, call, token });
        return see(point);
      });
    },
  };
}

function required(inspect: InspectOptions["inspect"]): NonNullable<InspectOptions["inspect"]> {
  if (inspect !== undefined) return inspect;
  throw new PageferryError("forbidden", "this host does not let anybody look inside its backups", {
    hint: "Set `inspect: true` in its configuration; docs/operations.md#look-inside says what that means.",
  });
}
