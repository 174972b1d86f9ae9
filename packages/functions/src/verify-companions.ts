// The newest version of companion files of each replica, read to its checksums: what `full` does with all of them.

import { indexCompanions, isPageferryError } from "@pageferry/format";
import { checkObject } from "./object-check.ts";
import { whyOf } from "./repair-copy.ts";
import type { CallOptions } from "./store.ts";
import { onSide, type VerifySide } from "./verify-sides.ts";

/** Reads them; what does not hold is a problem of its replica. */
export async function checkNewestCompanions(
  sides: readonly VerifySide[],
  { signal }: CallOptions,
): Promise<void> {
  for (const side of sides) {
    const entries = [...indexCompanions(side.archive?.objects ?? []).values()].flat();
    const newest = entries.reduce<(typeof entries)[number] | undefined>(
      (most, one) => (most === undefined || one.stampMs > most.stampMs ? one : most),
      undefined,
    );
    if (newest === undefined || side.row.error !== null) continue;
    await onSide(side, { signal }, async () => {
      try {
        await checkObject(newest.name, await side.store.get(newest.name, { signal }));
        side.row.bytesRead += newest.size;
      } catch (error) {
        signal?.throwIfAborted();
        const isObjects = isPageferryError(error) && error.remedy === "stop" && error.code !== "unauthorized";
        if (!isObjects) throw error;
        // It was removed meanwhile, as by a prune.
        if (error.code !== "not-found")
          side.add({ verdict: "CORRUPT", object: newest.name, why: whyOf(error) });
      }
    });
  }
}
