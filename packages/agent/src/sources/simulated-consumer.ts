// For tests: takes the events of a tailer as a restore would use them, and holds every state against the truth.
import assert from "node:assert/strict";
import { createXxh3, encodeMetaPage, formatStateHash, metaPagesFor, metaSlot } from "@pageferry/format";
import type { ImageFile } from "./base-image.ts";
import type { DeltaEvent } from "./capture-event.ts";
import type { RecordedHistory } from "./simulated-file.ts";
import type { TailerEvent } from "./tailer-state.ts";

/** An image file in memory. */
export interface MemoryImage extends ImageFile {
  bytes: Uint8Array;
  isFinished: boolean;
}

export interface Consumer {
  take(event: TailerEvent): void;
  createImage(): MemoryImage;
  /** Begins with a state of a history, as after a restart; or goes on with another history. */
  adopt(history: RecordedHistory, txId?: number): void;
  /** The txid of the newest captured state; 0 before the first. */
  txId(): number;
  readonly counts: { singles: number; ranges: number; bases: number; begins: string[]; alarms: string[] };
}

/** Makes a consumer. It throws, through the tailer's emit, at the first event that is not true. */
export function createConsumer(first: RecordedHistory): Consumer {
  let history = first;
  const { pageSize } = history;
  const images: MemoryImage[] = [];
  const digests = new Map<number, string>();
  const counts: Consumer["counts"] = { singles: 0, ranges: 0, bases: 0, begins: [], alarms: [] };
  let txId = 0;
  let stateHash = 0n;
  // A bridge holds what differs, be it of the next transaction.
  let isBridge = false;

  const checkState = (id: number, highWaterMark: number, told: bigint): void => {
    const truth = history.states.get(id);
    assert.ok(truth, `state ${id} never was`);
    assert.equal(highWaterMark, truth.meta.highWaterMark);
    assert.equal(formatStateHash(told), formatStateHash(truth.stateHash), `state hash of ${id}`);
    for (const [page, digest] of truth.digests)
      assert.equal(digests.get(page), digest, `page ${page} of ${id}`);
    assert.equal(digests.size, truth.digests.size, `live pages of ${id}`);
    stateHash = told;
  };

  const takeDelta = (event: DeltaEvent): void => {
    const single = event.txId === event.parentTxId + 1n && !isBridge;
    isBridge = false;
    assert.equal(Number(event.parentTxId), txId, "the delta's parent is the state before");
    assert.equal(event.pre, stateHash);
    checkFrames(history, event, single);
    for (const id of event.freed) assert.ok(digests.delete(id), `page ${id} was freed and not live`);
    for (const frame of event.frames.slice(1)) addRun(digests, pageSize, frame.id, frame.data);
    txId = Number(event.txId);
    checkState(txId, event.highWaterMark, event.post);
    counts[single ? "singles" : "ranges"] += 1;
  };

  return {
    counts,
    txId: () => txId,
    adopt(next, id) {
      history = next;
      const truth = id === undefined ? undefined : history.states.get(id);
      if (truth === undefined) return;
      digests.clear();
      for (const [page, digest] of truth.digests) digests.set(page, digest);
      txId = Number(truth.meta.txId);
      stateHash = truth.stateHash;
    },
    createImage() {
      const image = createMemoryImage(`image ${images.length}`);
      images.push(image);
      return image;
    },
    take(event) {
      if (event.type === "begin") {
        counts.begins.push(`${event.reason}/${event.via}`);
        isBridge = event.via === "bridge";
      }
      if (event.type === "alarm") counts.alarms.push(event.code);
      if (event.type === "delta") takeDelta(event);
      if (event.type !== "base") return;
      const image = images.find(({ path }) => path === event.imagePath);
      const truth = history.states.get(Number(event.txId));
      assert.ok(image?.isFinished && truth !== undefined);
      assert.equal(image.bytes.length, truth.meta.highWaterMark * pageSize);
      const metas = metaPagesFor(encodeMetaPage(truth.meta, metaSlot(truth.meta.txId)));
      assert.deepEqual(image.bytes.subarray(0, 2 * pageSize), new Uint8Array(Buffer.concat(metas)));
      digests.clear();
      for (const id of truth.digests.keys()) {
        addRun(digests, pageSize, id, image.bytes.subarray(id * pageSize, (id + 1) * pageSize));
      }
      txId = Number(event.txId);
      checkState(txId, event.highWaterMark, event.stateHash);
      counts.bases += 1;
    },
  };
}

/** Ascending, disjoint, the meta first; and of a single transaction exactly what bolt wrote. */
function checkFrames(history: RecordedHistory, event: DeltaEvent, isSingle: boolean): void {
  const { pageSize, states, commits } = history;
  const [meta, ...runs] = event.frames;
  const truth = states.get(Number(event.txId));
  assert.ok(meta && truth);
  assert.equal(meta.id, Number(event.txId % 2n));
  assert.deepEqual(meta.data, encodeMetaPage(truth.meta, metaSlot(truth.meta.txId)));
  let end = 2;
  for (const run of runs) {
    assert.ok(run.id >= end, `frame ${run.id} begins before ${end}`);
    assert.equal(run.data.length, (run.overflow + 1) * pageSize);
    end = run.id + run.overflow + 1;
  }
  if (!isSingle) return;
  const written = commits.find(({ txId }) => txId === Number(event.txId))?.writes ?? [];
  assert.deepEqual(
    runs.map(({ id, data }) => [id, data.length]),
    written.map(({ id, data }) => [id, data.length]),
  );
}

const xxh3 = createXxh3();

function addRun(digests: Map<number, string>, pageSize: number, id: number, data: Uint8Array): void {
  const digest = Buffer.alloc(16);
  for (let block = 0; block < data.length / pageSize; block += 1) {
    xxh3.pageDigest(id + block, data.subarray(block * pageSize, (block + 1) * pageSize), digest, 0);
    digests.set(id + block, digest.toString("hex"));
  }
}

function createMemoryImage(path: string): MemoryImage {
  const image: MemoryImage = {
    path,
    bytes: new Uint8Array(0),
    isFinished: false,
    writeAt(position, bytes) {
      assert.ok(!image.isFinished, "a finished image is written no more");
      resize(image, Math.max(image.bytes.length, position + bytes.length));
      image.bytes.set(bytes, position);
    },
    finish(length) {
      resize(image, length);
      image.isFinished = true;
    },
    discard() {},
  };
  return image;
}

function resize(image: MemoryImage, length: number): void {
  if (length === image.bytes.length) return;
  const bytes = new Uint8Array(length);
  bytes.set(image.bytes.subarray(0, length));
  image.bytes = bytes;
}
