// A base image becomes a snapshot object: encoded through a spool on disk, staged at the host, and only then named in an
// envelope. Nothing here survives a crash; the cursor says that no snapshot was acknowledged, and another base is asked for.
// What is lost on the way, be it by a deleted file, is made again; what the host refuses is kept, and brought again slowly.
import { type FileHandle, open, rm } from "node:fs/promises";
import { join } from "node:path";
import {
  type CompressionConfig,
  type EncodedSnapshot,
  encodeSnapshot,
  formatTxId,
  type Generation,
  isPageferryError,
  type Spool,
  type StagedItem,
  snapshotName,
  type TxId,
} from "@pageferry/format";
import { fileSpool, fromFileSystem, makeDirectoryDurable } from "@pageferry/format/node";
import type { Alarms } from "./alarms.ts";
import type { Gate } from "./gate.ts";
import { isBodyLost, type StagedBody } from "./queue.ts";
import { basePlaceMs } from "./settings.ts";
import type { BaseEvent } from "./sources/capture-event.ts";
import { createWake } from "./wake.ts";

/** A snapshot that is staged and waits to be named in an envelope. */
export interface ReadySnapshot {
  readonly generation: Generation;
  readonly txId: TxId;
  readonly item: StagedItem;
  /** Kept until the envelope is acknowledged: a host may ask for it again. */
  readonly body: StagedBody;
}

/** How snapshots of one database are uploaded. */
export interface SnapshotUploadOptions {
  readonly scratchDir: string;
  readonly compression: CompressionConfig;
  /** Encoding is shared by all databases of an agent. */
  readonly gate: Gate;
  /** So are places on the disk, for what was encoded and is not staged. */
  readonly places: Gate;
  /** A place is held for so long at most, ms. Default ten minutes. */
  readonly placeMs?: number;
  readonly alarms: Alarms;
  /** Stages a body, retrying for as long as it takes. */
  readonly stage: (body: StagedBody, signal: AbortSignal) => Promise<void>;
  /** What a host refused, such as a token, is brought again after this, ms. */
  readonly refusedMs: number;
  /** Run before a snapshot is staged: what a restart needs to go on from it becomes durable first. */
  readonly beforeStage: (txId: TxId, signal: AbortSignal) => Promise<void>;
  /** A snapshot became ready, or was given up. */
  readonly onChange: () => void;
  /** A snapshot was given up; only another image helps. */
  readonly onFailed: (error: unknown) => void;
  /** The host has another history. */
  readonly onFork: (error: unknown) => void;
  /**
   * A full disk took no snapshot, made of an image of so many bytes; told with each attempt but the first. True: give it up, since what waits for
   * it is what fills the disk, and may go then.
   */
  readonly onNoRoom: (generation: Generation, imageBytes: number) => boolean;
}

/** The snapshots of one database on their way; one at a time, a newer one takes the place of an older. */
export interface SnapshotUploads {
  /** Takes an image; it is deleted when it is no longer needed. */
  take(generation: Generation, base: BaseEvent): void;
  /** Whether one of this generation is on its way or ready. */
  isBusy(generation: Generation): boolean;
  /** Whether the one of this generation rests because the host refused it. */
  isRefused(generation: Generation): boolean;
  ready(generation: Generation): ReadySnapshot | undefined;
  /** The transaction of the oldest one of this generation that is on its way or ready. */
  oldestTxId(generation: Generation): TxId | null;
  /** The ready one was acknowledged, or is no longer wanted. */
  done(snapshot: ReadySnapshot): Promise<void>;
  /** Gives up what is on its way, and deletes it. */
  close(): Promise<void>;
}

/** Bytes of an image read at a time. */
const chunkBytes = 1024 * 1024;

/** Frames compressed at a time: more would take memory, and cores from the application. */
const framesAtOnce = 2;

/** Between attempts to encode onto a full disk. */
const retryMs = 5000;

interface Upload {
  readonly generation: Generation;
  readonly txId: TxId;
  readonly controller: AbortController;
  readonly running: Promise<void>;
  isRefused: boolean;
}

interface Ready extends ReadySnapshot {
  readonly spool: Spool;
}

/** Makes the uploads of one database. */
export function createSnapshotUploads(options: SnapshotUploadOptions): SnapshotUploads {
  let current: Upload | undefined;
  const ready = new Map<Generation, Ready>();

  async function run(generation: Generation, base: BaseEvent, signal: AbortSignal): Promise<void> {
    let failure: unknown;
    try {
      const setRefused = (isRefused: boolean) => {
        if (current?.controller.signal === signal) current.isRefused = isRefused;
      };
      const snapshot = await upload(options, { generation, base, signal, setRefused });
      await ready.get(generation)?.spool.remove();
      ready.set(generation, snapshot);
    } catch (error) {
      failure = error;
      if (!signal.aborted) options.alarms.raiseError("snapshot", error);
    } finally {
      await rm(base.imagePath, { force: true }).catch(() => {});
      if (current?.controller.signal === signal) current = undefined;
    }
    if (signal.aborted) return;
    // Only now is the room of the image free, and what waited for it may go.
    if (failure !== undefined) options.onFailed(failure);
    options.onChange();
  }

  async function abandon(): Promise<void> {
    const abandoned = current;
    current = undefined;
    abandoned?.controller.abort();
    await abandoned?.running;
  }

  async function done({ generation }: ReadySnapshot): Promise<void> {
    const finished = ready.get(generation);
    ready.delete(generation);
    await finished?.spool.remove();
  }

  return {
    take(generation, base) {
      const before = abandon();
      const controller = new AbortController();
      const running = before.then(() => run(generation, base, controller.signal));
      current = { generation, txId: base.txId, controller, running, isRefused: false };
    },
    isBusy: (generation) => current?.generation === generation || ready.has(generation),
    isRefused: (generation) => current?.generation === generation && current.isRefused,
    ready: (generation) => ready.get(generation),
    oldestTxId(generation) {
      const running = current?.generation === generation ? current.txId : null;
      return ready.get(generation)?.txId ?? running;
    },
    done,
    async close() {
      await abandon();
      for (const snapshot of ready.values()) await done(snapshot);
    },
  };
}

interface Task {
  readonly generation: Generation;
  readonly base: BaseEvent;
  readonly signal: AbortSignal;
  setRefused(isRefused: boolean): void;
}

async function upload(options: SnapshotUploadOptions, task: Task): Promise<Ready> {
  const { generation, base, signal } = task;
  using place = await options.places.enter(signal);
  const timer = setTimeout(() => place[Symbol.dispose](), options.placeMs ?? basePlaceMs).unref();
  using _ = { [Symbol.dispose]: () => clearTimeout(timer) };
  const { encoded, spool } = await encodeUntilDone(options, generation, base, signal);
  try {
    // The image is as large as the database; its room is given back before the upload, which may take hours.
    await rm(base.imagePath, { force: true });
    const { sha256: digest, size, open } = encoded;
    const body = { digest, size, open };
    await options.beforeStage(base.txId, signal);
    await stageUntilTaken(options, body, { ...task, onRefused: () => place[Symbol.dispose]() });
    const name = snapshotName({ generation, txId: base.txId, stampMs: base.stampMs });
    return { generation, txId: base.txId, item: { name, digest, size }, body, spool };
  } catch (error) {
    await spool.remove().catch(() => {});
    throw error;
  }
}

/** What a host refuses may be allowed later: a token is renewed, a bound is raised. To read the database again would not help. */
async function stageUntilTaken(
  options: SnapshotUploadOptions,
  body: StagedBody,
  { signal, setRefused, onRefused }: Task & { readonly onRefused: () => void },
): Promise<void> {
  const pause = createWake();
  for (;;) {
    try {
      await options.stage(body, signal);
      options.alarms.clear("snapshot");
      return;
    } catch (error) {
      // Damaged bytes stay damaged.
      if (signal.aborted || isBodyLost(error) || !isPageferryError(error) || error.code === "corrupt")
        throw error;
      if (error.code === "fork") options.onFork(error);
      options.alarms.raiseError("snapshot", error);
      setRefused(true);
      onRefused();
      options.onChange();
      await pause.wait(options.refusedMs, signal);
      setRefused(false);
    }
  }
}

interface Encoded {
  readonly encoded: EncodedSnapshot;
  readonly spool: Spool;
}

async function encodeUntilDone(
  options: SnapshotUploadOptions,
  generation: Generation,
  base: BaseEvent,
  signal: AbortSignal,
): Promise<Encoded> {
  const pause = createWake();
  for (let attempt = 1; ; attempt += 1) {
    signal.throwIfAborted();
    const path = join(options.scratchDir, `snapshot-${generation}-${formatTxId(base.txId)}-${attempt}.spool`);
    const spool = fileSpool(path);
    try {
      await makeDirectoryDurable(options.scratchDir);
      await rm(path, { force: true });
      const encoded = await options.gate.pass(() => encodeImage(options, base, spool, signal), signal);
      options.alarms.clear("snapshot");
      return { encoded, spool };
    } catch (error) {
      await spool.remove().catch(() => {});
      const isPassing = isPageferryError(error) && error.remedy === "retry";
      if (!isPassing || signal.aborted) throw error;
      const isFull = error.code === "disk-full" && attempt > 1;
      if (isFull && options.onNoRoom(generation, base.highWaterMark * base.pageSize)) throw error;
      options.alarms.raiseError("snapshot", error);
      await pause.wait(retryMs, signal);
    }
  }
}

function encodeImage(
  options: SnapshotUploadOptions,
  base: BaseEvent,
  spool: Spool,
  signal: AbortSignal,
): Promise<EncodedSnapshot> {
  const input = {
    txId: base.txId,
    pageSize: base.pageSize,
    createdAt: Math.floor(base.stampMs / 1000),
    pageCount: BigInt(base.highWaterMark),
    stateHash: base.stateHash,
    stampMs: base.stampMs,
  };
  return encodeSnapshot(chunksOf(base.imagePath), input, {
    spool,
    compression: options.compression,
    parallelism: framesAtOnce,
    signal,
  });
}

async function* chunksOf(path: string): AsyncGenerator<Uint8Array> {
  let handle: FileHandle | undefined;
  try {
    handle = await open(path, "r");
    // The encoder copies what it is given: one piece of memory does for the whole image.
    const chunk = Buffer.allocUnsafeSlow(chunkBytes);
    for (let at = 0; ; ) {
      const { bytesRead } = await handle.read(chunk, 0, chunkBytes, at);
      if (bytesRead === 0) return;
      at += bytesRead;
      yield chunk.subarray(0, bytesRead);
    }
  } catch (error) {
    throw fromFileSystem(error, `reading the image ${path}`);
  } finally {
    await handle?.close();
  }
}
