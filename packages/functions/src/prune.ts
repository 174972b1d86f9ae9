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
import type { Retained } from "./store.ts";

/** Names handed to a store at a time; an interrupted prune has removed whole batches of what nothing needed. */
const removedAtOnce = 500;

/** Leases and pins are one line of JSON. */
const leaseBytesMax = 64 * 1024;

/** A lock may last for years: an object that has one is asked for again once a day. */
const lockedAgainMs = 24 * 60 * 60 * 1000;

/** What a prune did: names, relative to the archive's root. */
export interface PruneReport {
  /** What is gone, and frees its room. */
  readonly removed: readonly string[];
  /** What nothing needs any more, and takes its room all the same. */
  readonly retained: readonly Retained[];
}

/** Names that were locked when they were last asked for, and when that was. */
export type LockedNames = Map<string, number>;

interface PruneOptions {
  readonly generation: Generation | undefined;
  readonly retention: Pick<RetentionConfig, "snapshotIntervalMs" | "snapshotRetentionMs">;
  readonly nowMs: number;
  readonly signal: AbortSignal | undefined;
  /** Kept from one prune to the next, so that a locked object is not asked for every time. */
  readonly locked: LockedNames;
}

/** Removes what the retention does not keep. An archive whose leases cannot be read is left alone. */
export async function pruneReplica(
  store: RootedStore,
  reader: ArchiveReader,
  options: PruneOptions,
): Promise<PruneReport> {
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
  return removeDoomed(store, planPrune(listingOf(archive), policy, nowMs), options);
}

async function removeDoomed(
  store: RootedStore,
  doomed: readonly string[],
  { nowMs, signal, locked }: PruneOptions,
): Promise<PruneReport> {
  const isWaiting = (name: string) => {
    const sinceMs = nowMs - (locked.get(name) ?? Number.NEGATIVE_INFINITY);
    return sinceMs >= 0 && sinceMs < lockedAgainMs;
  };
  const asked = doomed.filter((name) => !isWaiting(name));
  const retained = new Map<string, Retained>();
  for (const name of doomed) if (isWaiting(name)) retained.set(name, { name, reason: "locked" });
  for (let at = 0; at < asked.length; at += removedAtOnce) {
    for (const one of await store.remove(asked.slice(at, at + removedAtOnce), { signal })) {
      retained.set(one.name, one);
      if (one.reason === "locked") locked.set(one.name, nowMs);
    }
  }
  const removed = asked.filter((name) => !retained.has(name));
  for (const name of removed) locked.delete(name);
  return { removed, retained: [...retained.values()] };
}

const hexSchema = z.string().regex(/^[0-9a-f]{16}$/);
const leaseSchema = z.object({
  expiresAtMs: z.number().optional(),
  generation: hexSchema.transform(parseGeneration),
  txId: hexSchema.transform(parseTxId),
});

/** Points that somebody reads (leases, until they expire) or has pinned. */
export async function keptPoints(
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
