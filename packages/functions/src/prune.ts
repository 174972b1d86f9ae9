// Carries a prune plan out: reads what the plan must know, decides, removes.

import {
  type ArchiveReader,
  type Generation,
  isPageferryError,
  listingOf,
  openArchive,
  PageferryError,
  parseGeneration,
  parseTxId,
  type RetentionConfig,
  readPoints,
  type TxId,
} from "@pageferry/format";
import { z } from "zod";
import { planPrune } from "./prune-plan.ts";
import type { RootedStore } from "./rooted-store.ts";

/** Names handed to a store at a time; an interrupted prune has removed whole batches of what nothing needed. */
const removedAtOnce = 500;

/** Leases and pins are one line of JSON. */
const leaseBytesMax = 64 * 1024;

interface PruneOptions {
  readonly generation: Generation | undefined;
  readonly retention: Pick<RetentionConfig, "snapshotIntervalMs" | "snapshotRetentionMs">;
  readonly nowMs: number;
  readonly signal: AbortSignal | undefined;
}

/** Removes what the retention does not keep; returns the names. An archive whose leases cannot be read is left alone. */
export async function pruneReplica(
  store: RootedStore,
  reader: ArchiveReader,
  options: PruneOptions,
): Promise<string[]> {
  const { generation, retention, nowMs, signal } = options;
  const archive = await openArchive([reader], { signal });
  await readPoints(archive, { signal });
  const keep = await keptPoints(
    store,
    archive.objects.map(({ name }) => name),
    nowMs,
    signal,
  );
  const { snapshotIntervalMs, snapshotRetentionMs } = retention;
  const policy = {
    snapshotIntervalMs,
    snapshotRetentionMs,
    keep,
    ...(generation === undefined ? {} : { generation }),
  };
  const doomed = planPrune(listingOf(archive), policy, nowMs);
  for (let at = 0; at < doomed.length; at += removedAtOnce) {
    await store.remove(doomed.slice(at, at + removedAtOnce), { signal });
  }
  return doomed;
}

const hexSchema = z.string().regex(/^[0-9a-f]{16}$/);
const leaseSchema = z.object({
  expiresAtMs: z.number().optional(),
  generation: hexSchema.transform(parseGeneration),
  txId: hexSchema.transform(parseTxId),
});

/** Points that somebody reads (leases, until they expire) or has pinned. */
async function keptPoints(
  store: RootedStore,
  names: readonly string[],
  nowMs: number,
  signal: AbortSignal | undefined,
): Promise<{ readonly generation: Generation; readonly txId: TxId }[]> {
  const kept: { readonly generation: Generation; readonly txId: TxId }[] = [];
  for (const name of names.filter((one) => /^(leases|pins)\//.test(one))) {
    try {
      const bytes = await store.read(name, leaseBytesMax, { signal });
      const { expiresAtMs, ...point } = leaseSchema.parse(JSON.parse(new TextDecoder().decode(bytes)));
      if (expiresAtMs === undefined || expiresAtMs > nowMs) kept.push(point);
    } catch (cause) {
      signal?.throwIfAborted();
      if (isPageferryError(cause, "not-found")) continue;
      if (isPageferryError(cause)) throw cause;
      throw new PageferryError(
        "corrupt",
        `${store.name}/${name}: names no point to keep; nothing was pruned`,
        { cause },
      );
    }
  }
  return kept;
}
