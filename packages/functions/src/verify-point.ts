// One point of one replica, restored into scratch, checked as a whole, and removed again; or, where that is too much, its objects read to their
// ends. Says what does not hold, and which object is to blame.

import { mkdtemp, rm, statfs } from "node:fs/promises";
import { join } from "node:path";
import {
  type Archive,
  type ArchiveReader,
  formatStateHash,
  type Generation,
  isPageferryError,
  PageferryError,
  parseObjectName,
  planFromArchive,
  type RestorePlan,
  readObject,
  type TxId,
} from "@pageferry/format";
import { logicalHashOf, makeDirectoryDurable, restoreFile } from "@pageferry/format/node";
import { readDatabaseSize } from "./database-size.ts";
import { describeObject, type StateObjectName } from "./describe.ts";
import type { VerifyMode } from "./evidence.ts";
import { checkObject } from "./object-check.ts";
import { whyOf } from "./repair-copy.ts";
import type { CallOptions } from "./store.ts";

/** Left free on the disk of the scratch directory, for others who write there. */
const reserveBytes = 256 * 1024 * 1024;

/** On a small disk a sixteenth of it is left free. */
const reserveShare = 1 / 16;

/** A header, or a bare object as a whole. */
const headerBytesMax = 300 * 1024 * 1024;

export interface DrillOptions extends CallOptions {
  /** Where the database is put together, and removed. */
  readonly scratchDir: string;
  /** A database and its objects above this many bytes together are not restored, but read. */
  readonly bytesMax?: number | undefined;
  readonly onProgress?: ((progress: { readonly bytes: number; readonly total: number }) => void) | undefined;
}

/** A replica as a drill sees it: its own reader, and no other. */
export interface DrillSource {
  readonly archive: Archive;
  readonly reader: ArchiveReader;
}

/** What came of one point. */
export interface Drill {
  readonly mode: VerifyMode;
  readonly stampMs: number | null;
  readonly stateHash: string | null;
  readonly logicalHash: string | null;
  /** Live pages that were checked; null where it was not restored. */
  readonly pages: number | null;
  readonly bytes: number;
  readonly ms: number;
  /** Empty: it holds. */
  readonly broken: readonly { readonly object: string | null; readonly why: string }[];
}

/**
 * Restores and checks a point. What does not hold is in the answer. Errors: `not-found` and `gap` where it cannot be planned or an object is
 * gone, `disk-full` where scratch lacks room, `unavailable`, the signal's reason.
 */
export async function drillPoint(
  source: DrillSource,
  { generation, txId }: { readonly generation: Generation; readonly txId: TxId },
  options: DrillOptions,
): Promise<Drill> {
  const startMs = performance.now();
  const plan = await planFromArchive(source.archive, { generation, txId }, options);
  const databaseBytes = await databaseBytesOf(source, plan, options);
  const isLarge = plan.bytes + databaseBytes > (options.bytesMax ?? Number.POSITIVE_INFINITY);
  const found = isLarge
    ? await readAll(source, plan, options)
    : await restore(source, plan, databaseBytes, options);
  return { ...found, stampMs: plan.stampMs, ms: Math.round(performance.now() - startMs) };
}

type Found = Omit<Drill, "stampMs" | "ms">;

async function restore(
  { reader }: DrillSource,
  plan: RestorePlan,
  databaseBytes: number,
  options: DrillOptions,
): Promise<Found> {
  const { signal, scratchDir } = options;
  await makeDirectoryDurable(scratchDir);
  await checkRoom(scratchDir, databaseBytes);
  const directory = await mkdtemp(join(scratchDir, "verify-"));
  try {
    const output = join(directory, "restored.db");
    const { stateHash, bytes, check } = await restoreFile({
      ...{ output, plan, readers: [reader], integrity: "full", signal },
      onProgress: ({ bytes: done, total }) => options.onProgress?.({ bytes: done, total }),
    });
    return {
      mode: "restore",
      stateHash: stateHash === undefined ? null : formatStateHash(stateHash),
      logicalHash: await logicalHashOf(output, { signal }),
      pages: check?.pages ?? null,
      bytes: plan.bytes + bytes,
      broken: [],
    };
  } catch (error) {
    signal?.throwIfAborted();
    if (!isBroken(error)) throw error;
    const { broken } = await readAll({ reader }, plan, options);
    const why = whyOf(error);
    const object = [plan.snapshot, ...plan.steps].find(({ name }) => why.includes(name))?.name ?? null;
    const told = { object, why };
    const nothing = { stateHash: null, logicalHash: null, pages: null, bytes: plan.bytes };
    // Where each holds by itself, what they give together does not: the engine's words name what they can.
    return { mode: "restore", ...nothing, broken: broken.length > 0 ? broken : [told] };
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

function isBroken(error: unknown): boolean {
  return isPageferryError(error) && ["corrupt", "too-large", "unsupported-version"].includes(error.code);
}

/** Reads every object of a plan to its end, and what the last one says of the state. */
async function readAll(
  { reader }: Pick<DrillSource, "reader">,
  plan: RestorePlan,
  { signal, onProgress }: DrillOptions,
): Promise<Found> {
  const broken: { readonly object: string; readonly why: string }[] = [];
  let bytes = 0;
  for (const { name, size } of [plan.snapshot, ...plan.steps]) {
    try {
      await checkObject(name, await reader.get(name, { signal }));
    } catch (error) {
      signal?.throwIfAborted();
      if (!isBroken(error)) throw error;
      broken.push({ object: name, why: whyOf(error) });
    }
    bytes += size;
    onProgress?.({ bytes, total: plan.bytes });
  }
  const stateHash = broken.length > 0 ? null : await stateOf(reader, plan, signal);
  return { mode: "objects", stateHash, logicalHash: null, pages: null, bytes, broken };
}

async function stateOf(
  reader: ArchiveReader,
  plan: RestorePlan,
  signal: AbortSignal | undefined,
): Promise<string | null> {
  const last = plan.steps.at(-1) ?? plan.snapshot;
  const links = await describeObject(
    parseObjectName(last.name) as StateObjectName,
    randomOf(reader, last, signal),
  );
  const post = links.find(({ txId }) => txId === plan.txId)?.post;
  return post === undefined ? null : formatStateHash(post);
}

/** How large the database will be, of which a broken object says nothing. */
async function databaseBytesOf(
  { reader }: DrillSource,
  plan: RestorePlan,
  { signal }: CallOptions,
): Promise<number> {
  try {
    const { pages, pageSize } = await readDatabaseSize(plan, (object, read) =>
      read(randomOf(reader, object, signal)),
    );
    return pages * pageSize;
  } catch (error) {
    if (!isBroken(error)) throw error;
    return 0;
  }
}

function randomOf(
  reader: ArchiveReader,
  { name, size }: { readonly name: string; readonly size: number },
  signal: AbortSignal | undefined,
) {
  return {
    size,
    read: (offset: number, length: number) =>
      readObject(reader, name, { offset, length, signal, bytesMax: Math.min(length, headerBytesMax) }),
  };
}

/** The host's queue may be on that disk: a drill must never be what fills it. */
async function checkRoom(directory: string, bytes: number): Promise<void> {
  const { bavail, bsize, blocks } = await statfs(directory);
  const free = bavail * bsize - Math.min(reserveBytes, blocks * bsize * reserveShare);
  if (bytes <= free) return;
  throw new PageferryError(
    "disk-full",
    `${directory}: a database of ${bytes} bytes cannot be restored for verification, ${Math.max(0, Math.floor(free))} are free`,
    { hint: "Free space there, or give a scratch directory on another disk." },
  );
}
