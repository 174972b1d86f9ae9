// A made-up history for tests: segments and snapshots with real headers, checksums and state hashes, whose pages mean
// nothing. `salt` makes another history under the same transaction ids: a fork.

import { createHash } from "node:crypto";
import {
  crc64,
  type Envelope,
  type EnvelopeItem,
  encodeEnvelope,
  encodeSegment,
  encodeSnapshotFile,
  type Generation,
  type GenerationBegin,
  parseDatabaseName,
  parseGeneration,
  type StateHash,
  segmentAttrs,
  segmentName,
  snapshotName,
  type TxId,
  txId,
} from "@pageferry/format";

/** When transaction T was committed: T seconds after this. */
export const epochMs = Date.UTC(2026, 0, 2, 3, 4, 5);

const pageSize = 512;

export interface History {
  readonly generation: Generation;
  readonly begin: GenerationBegin;
  stateHash(id: number): StateHash;
  /** The range (parent, last] as an inline item. */
  segment(
    parent: number,
    last: number,
    bytes?: number,
  ): { readonly name: string; readonly bytes: Uint8Array };
  snapshot(id: number, bytes?: number): { readonly name: string; readonly bytes: Uint8Array };
  envelope(items: readonly EnvelopeItem[], more?: Partial<Envelope>): Uint8Array;
}

export function historyOf(hex = "a1", salt = "", more: Partial<GenerationBegin> = {}): History {
  const generation = parseGeneration(hex.padEnd(16, "0"));
  const begin: GenerationBegin = {
    generation,
    parent: null,
    reason: "first",
    epoch: 1,
    host: "host",
    pageSize,
    ...more,
  };
  const stampMs = (id: number) => epochMs + id * 1000;
  const stateHash = (id: number): StateHash => {
    const digest = createHash("sha256").update(`${salt}/${hex}/${id}`).digest("hex");
    return BigInt(`0x${digest.slice(0, 32)}`);
  };
  return {
    generation,
    begin,
    stateHash,
    segment(parent, last, bytes = pageSize) {
      const range = { generation, parentTxId: txId(parent), txId: txId(last), stampMs: stampMs(last) };
      const overflow = Math.ceil(bytes / pageSize) - 1;
      const data = createHash("shake256", { outputLength: (overflow + 1) * pageSize })
        .update(`${salt}${last}`)
        .digest();
      const attrs = segmentAttrs({
        pre: stateHash(parent),
        post: stateHash(last),
        stampMs: range.stampMs,
        source: "observer",
      });
      const header = {
        txId: range.txId,
        parentTxId: range.parentTxId,
        pageSize,
        createdAt: range.stampMs / 1000,
        attrs,
      };
      const pages = [{ id: 5n, overflow, data }];
      const encoded = encodeSegment(
        { ...header, highWaterMark: BigInt(6 + overflow), pages },
        { compression: { codec: "none", level: 0, window: 0 } },
      );
      return { name: segmentName(range), bytes: encoded };
    },
    snapshot(id, bytes = 4 * pageSize) {
      const data = createHash("shake256", { outputLength: bytes }).update(`${salt}${id}`).digest();
      const header = {
        txId: txId(id),
        version: 1,
        pageSize,
        createdAt: stampMs(id) / 1000,
        pageCount: BigInt(bytes / pageSize),
        compression: "none",
        compressionLevel: 0,
        compressionWindow: 0,
        checksum: crc64(data),
        stateHash: stateHash(id),
        stampMs: stampMs(id),
      };
      return {
        name: snapshotName({ generation, txId: txId(id), stampMs: stampMs(id) }),
        bytes: encodeSnapshotFile({ header, data }),
      };
    },
    envelope(items, envelope = {}) {
      return encodeEnvelope({
        database: parseDatabaseName("app"),
        begin,
        sentAtMs: epochMs,
        newestTxId: null,
        newestStampMs: null,
        items,
        ...envelope,
      });
    },
  };
}

/** A transaction id, shortly. */
export const id = (value: number): TxId => txId(value);
