// Builds a snapshot out of the archive itself: restores a point into a scratch file, proves it, encodes it, stores it. The host of the database
// has nothing to do with it. Safe to run twice, at once, and to die in: nothing is stored before it is whole and proved.

import { createReadStream } from "node:fs";
import { type FileHandle, open, rm } from "node:fs/promises";
import { join } from "node:path";
import {
  decodePackIndex,
  type EncodedSnapshot,
  encodeSnapshot,
  formatTxId,
  giveBack,
  listingOf,
  openArchive,
  PageferryError,
  packBytesMax,
  parseObjectName,
  type RestorePlan,
  readSegmentHeader,
  segmentState,
  snapshotName,
} from "@pageferry/format";
import {
  fileSpool,
  fromFileSystem,
  type RestoreFileResult,
  restoreFile,
  writeAll,
} from "@pageferry/format/node";
import { type CompactMemory, createCompactMemory, readKnownIndexes } from "./compact-memory.ts";
import { type PlannedObject, readDatabaseSize } from "./database-size.ts";
import type { StateObjectName } from "./describe.ts";
import { whyOf } from "./repair-copy.ts";
import type { Replica } from "./replica.ts";
import type { LargeBody } from "./replica-put.ts";
import { openScratch, type ScratchPlace } from "./scratch.ts";
import { type SnapshotDue, type SnapshotPolicy, snapshotDue } from "./snapshot-plan.ts";
import type { CallOptions } from "./store.ts";

/** Bytes of one read of the restored file. */
const chunkBytes = 1024 * 1024;

/** The restored file, and the snapshot twice: while it is compressed, and as the object that is stored. Compression may save nothing. */
const scratchFactor = 3.1;

export interface BuildSnapshotOptions extends CallOptions, SnapshotPolicy {
  /** Where files are put together; see `openScratch`. */
  readonly scratchDir: string;
  readonly memory?: CompactMemory;
  /** Carries out what is due, unless somebody else says that they do; `undefined` then. Default: always. */
  readonly unlessOthersDo?: <Result>(work: () => Promise<Result>) => Promise<Result | undefined>;
  /** Threads of the restore; 0: the caller's own. Default 1: nobody waits for it, and each more costs memory. */
  readonly threads?: number;
}

/** One snapshot that was due. */
export interface SnapshotBuild {
  readonly replica: string;
  readonly name: string;
  /** Why it was due. */
  readonly due: SnapshotDue["why"];
  /** Bytes of the object; 0 where it was not built. */
  readonly bytes: number;
  readonly ms: number;
  /** Why it could not be built; null: it is stored. */
  readonly failure: string | null;
}

/** Builds what is due in each generation. What fails is in the report; throws what listing throws, and the signal's reason. */
export async function buildSnapshots(
  replica: Replica,
  options: BuildSnapshotOptions,
): Promise<SnapshotBuild[]> {
  const { signal, memory = createCompactMemory(), unlessOthersDo = (work) => work() } = options;
  const archive = await openArchive([replica.remembered], { signal });
  await readKnownIndexes(archive, memory, signal);
  const listing = listingOf(archive);
  const builds: SnapshotBuild[] = [];
  for (const index of listing.generations.values()) {
    const due = snapshotDue(listing, index, options);
    const built = due === undefined ? undefined : await unlessOthersDo(() => buildOne(replica, due, options));
    if (built !== undefined) builds.push(built);
  }
  // Others removed what is remembered here.
  if (builds.some(({ failure }) => failure?.startsWith("not-found"))) await replica.refresh({ signal });
  return builds;
}

async function buildOne(
  replica: Replica,
  due: SnapshotDue,
  options: BuildSnapshotOptions,
): Promise<SnapshotBuild> {
  const { generation, plan, why, stateHash } = due;
  const start = performance.now();
  const stampMs = plan.stampMs ?? plan.snapshot.stampMs;
  const name = snapshotName({ generation, txId: plan.txId, stampMs });
  const report = { replica: replica.name, name, due: why };
  try {
    await using scratch = await openScratch(options.scratchDir);
    // The engine restores that state or none.
    const wanted = stateHash === undefined ? plan : { ...plan, stateHash };
    const bytes = await build(replica, name, { ...wanted, stampMs }, scratch, options);
    return { ...report, bytes, ms: performance.now() - start, failure: null };
  } catch (error) {
    options.signal?.throwIfAborted();
    return { ...report, bytes: 0, ms: performance.now() - start, failure: whyOf(error) };
  }
}

async function build(
  replica: Replica,
  name: string,
  plan: RestorePlan & { readonly stampMs: number },
  scratch: ScratchPlace,
  { signal, threads = 1 }: BuildSnapshotOptions,
): Promise<number> {
  const image = join(scratch.directory, "image.db");
  const { pages, pageSize } = await readDatabaseSize(plan, ({ name: object, size }, read) =>
    read(rangesOf(replica, { name: object, size }, signal)),
  );
  await checkRoom(scratch, pages * pageSize * scratchFactor);
  const restored = await restoreFile({
    ...{ output: image, plan, readers: [replica.reader], integrity: "full", signal },
    // Nobody waits for it: one object after the other keeps it small.
    ...{ threads, parallelism: 1 },
  });
  if (restored.stateHash === undefined)
    throw new PageferryError(
      "corrupt",
      `${name}: nothing says which state transaction ${formatTxId(plan.txId)} is`,
    );
  const receivedMs = await receiptOf(replica, plan, signal);
  const file = join(scratch.directory, "object");
  const encoded = await encodeImage(image, restored, { ...plan, receivedMs }, scratch, file, signal);
  await using handle = await open(file, "r");
  const parsed = parseObjectName(name) as StateObjectName;
  const [outcome] = await replica.putAll(
    parsed.generation,
    [{ name: parsed, body: bodyOf(file, handle, encoded) }],
    {
      signal,
    },
  );
  if (outcome?.kind === "failed") throw outcome.error;
  if (outcome?.kind === "fork") throw new PageferryError("fork", outcome.why);
  return encoded.size;
}

async function checkRoom(scratch: ScratchPlace, bytes: number): Promise<void> {
  const free = await scratch.freeBytes();
  if (free >= bytes) return;
  throw new PageferryError(
    "disk-full",
    `${scratch.directory}: ${Math.ceil(bytes)} bytes are needed, ${free} are free`,
    {
      hint: "A snapshot is put together there: give it a larger disk, or raise snapshotInterval.",
    },
  );
}

/** Encodes the restored file into `file`, and removes it as soon as it has been read. */
async function encodeImage(
  image: string,
  restored: RestoreFileResult,
  {
    txId,
    stampMs,
    receivedMs,
  }: { readonly txId: RestorePlan["txId"]; stampMs: number; receivedMs: number | undefined },
  scratch: ScratchPlace,
  file: string,
  signal: AbortSignal | undefined,
): Promise<Pick<EncodedSnapshot, "size" | "sha256">> {
  const spool = fileSpool(join(scratch.directory, "spool"));
  try {
    const encoded = await encodeSnapshot(
      chunksOf(image),
      {
        txId,
        pageSize: restored.pageSize,
        createdAt: Math.floor(stampMs / 1000),
        pageCount: BigInt(restored.pages),
        stampMs,
        ...(restored.stateHash === undefined ? {} : { stateHash: restored.stateHash }),
        ...(receivedMs === undefined ? {} : { receivedMs }),
      },
      { spool, signal },
    );
    await rm(image);
    await using handle = await open(file, "wx", 0o600);
    let written = 0;
    for await (const part of encoded.open()) {
      signal?.throwIfAborted();
      await writeAll(handle, part, written);
      written += part.length;
      giveBack(part);
    }
    return encoded;
  } catch (error) {
    throw fromFileSystem(error, `building a snapshot in ${scratch.directory}`);
  } finally {
    await spool.remove();
  }
}

/** A file's bytes, each chunk in the memory of the one before it. */
async function* chunksOf(path: string): AsyncGenerator<Uint8Array> {
  await using handle = await open(path, "r");
  const chunk = Buffer.allocUnsafeSlow(chunkBytes);
  for (let at = 0; ; ) {
    const { bytesRead } = await handle.read(chunk, 0, chunk.length, at);
    if (bytesRead === 0) return;
    yield chunk.subarray(0, bytesRead);
    at += bytesRead;
  }
}

function bodyOf(
  path: string,
  handle: FileHandle,
  { size, sha256 }: Pick<EncodedSnapshot, "size" | "sha256">,
): LargeBody {
  return {
    size,
    sha256,
    open: () => createReadStream(path, { highWaterMark: chunkBytes }),
    async read(offset, length) {
      const bytes = Buffer.alloc(length);
      const { bytesRead } = await handle.read(bytes, 0, length, offset);
      if (bytesRead < length) throw new PageferryError("corrupt", `${path}: ends before ${offset + length}`);
      return bytes;
    },
  };
}

/** When the queue took the point, as the object that ends there says. */
async function receiptOf(
  replica: Replica,
  plan: RestorePlan,
  signal: AbortSignal | undefined,
): Promise<number | undefined> {
  const last = plan.steps.at(-1);
  if (last === undefined) return undefined;
  const { name, size } = last;
  if (last.kind === "pack") {
    const index = decodePackIndex(await replica.objects.read(name, packBytesMax * 2, { signal }));
    return index.find(({ txId }) => txId === plan.txId)?.receivedMs;
  }
  return segmentState(await readSegmentHeader(rangesOf(replica, { name, size }, signal))).receivedMs;
}

function rangesOf({ objects }: Replica, { name, size }: PlannedObject, signal: AbortSignal | undefined) {
  const read = (offset: number, length: number) => objects.read(name, length, { offset, length, signal });
  return { size, read };
}
