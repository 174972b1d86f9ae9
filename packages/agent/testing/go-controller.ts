// For tests: writes a recorded history into a shadow directory as the Go implementation's controller does, file by file, in as many
// generations as a test wants.
import { mkdirSync, utimesSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import {
  encodeMetaPage,
  encodeSegment,
  encodeSnapshotFile,
  formatTxId,
  type Meta,
  txId,
  zstdCompressSync,
} from "@pageferry/format";
import type { RecordedHistory } from "../src/sources/simulated-file.ts";

/** A controller of the Go implementation, with zero replicas. */
export interface GoController {
  /** The bytes of a transaction's segment file. */
  segment(id: number): Uint8Array;
  /** The bytes of a snapshot of a transaction. */
  snapshot(id: number): Uint8Array;
  segmentPath(generation: string, id: number): string;
  snapshotPath(generation: string, id: number): string;
  /** Writes segments `from` to `to`. */
  write(generation: string, from: number, to?: number): void;
  writeSnapshot(generation: string, id: number): void;
}

/** How it writes. */
export interface GoControllerOptions {
  /** When transaction 0 would have been; each is a second later. Default: an hour ago, so that nothing has to settle. */
  readonly beganMs?: number;
}

/** A name for a generation. */
export function generationNamed(number: number): string {
  return number.toString(16).padStart(16, "0");
}

/** Makes a controller that writes `history` into `directory`. */
export function goController(
  history: RecordedHistory,
  directory: string,
  options: GoControllerOptions = {},
): GoController {
  const beganMs = options.beganMs ?? Math.floor((Date.now() - 3_600_000) / 1000) * 1000;
  const { pageSize } = history;
  const atMs = (id: number): number => beganMs + id * 1000;

  function segment(id: number): Uint8Array {
    const commit = history.commits.find((one) => one.txId === id);
    if (commit === undefined) throw new RangeError(`transaction ${id} is not in the history`);
    return encodeSegment({
      txId: txId(id),
      parentTxId: txId(id - 1),
      pageSize,
      highWaterMark: BigInt(commit.meta.highWaterMark),
      createdAt: atMs(id) / 1000,
      attrs: {},
      pages: commit.writes.map(({ id: page, data }) => ({
        ...{ id: BigInt(page), data },
        overflow: data.length / pageSize - 1,
      })),
    });
  }

  function snapshot(id: number): Uint8Array {
    const image = imageAt(history, id);
    return encodeSnapshotFile({
      data: zstdCompressSync(image, 3),
      header: {
        txId: txId(id),
        version: 1,
        pageSize,
        createdAt: atMs(id) / 1000,
        pageCount: BigInt(image.length / pageSize),
        compression: "zstd",
        compressionLevel: 3,
        compressionWindow: 0,
      },
    });
  }

  const segmentPath = (generation: string, id: number) =>
    join(directory, generation, "segments", `${formatTxId(txId(id))}.segment.cbor`);
  const snapshotPath = (generation: string, id: number) => {
    const time = new Date(atMs(id) + 500).toISOString();
    return join(directory, generation, "snapshots", `${time}-${formatTxId(txId(id))}.snapshot.cbor`);
  };
  const put = (path: string, bytes: Uint8Array, id: number): void => {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, bytes);
    utimesSync(path, (atMs(id) + 500) / 1000, (atMs(id) + 500) / 1000);
  };
  return {
    ...{ segment, snapshot, segmentPath, snapshotPath },
    write(generation, from, to = from) {
      for (let id = from; id <= to; id += 1) put(segmentPath(generation, id), segment(id), id);
    },
    writeSnapshot: (generation, id) => put(snapshotPath(generation, id), snapshot(id), id),
  };
}

/** What bolt's WriteTo gives: page 0 holds S and page 1 S-1, whatever their parity. */
function imageAt(history: RecordedHistory, id: number): Uint8Array {
  const { pageSize, start, commits, states } = history;
  const meta = states.get(id)?.meta as Meta;
  const image = new Uint8Array(meta.highWaterMark * pageSize);
  image.set(start.subarray(0, image.length));
  for (const commit of commits) {
    if (commit.txId > id) break;
    for (const write of commit.writes) image.set(write.data, write.id * pageSize);
  }
  image.set(encodeMetaPage(meta, 0), 0);
  image.set(encodeMetaPage({ ...meta, txId: txId(id - 1) }, 1), pageSize);
  return image;
}
