// The header of a snapshot, both directions. Ours has up to four keys more than Go's, which Go ignores. See docs/format.md#snapshot.

import { encodeCbor } from "./cbor.ts";
import { cborFields } from "./cbor-fields.ts";
import { PageferryError } from "./errors.ts";
import {
  checkMagic,
  createdAtOf,
  decodeHeaderCbor,
  headerMagic,
  headerVersion,
  optional,
  stateHashText,
} from "./segment-header.ts";
import type { StateHash } from "./state-hash.ts";
import { formatTxId, type TxId, txId } from "./txid.ts";

/** What a snapshot says of itself; `magic` ("BTLS") is the same in all and left out here. */
export interface SnapshotHeader {
  readonly txId: TxId;
  readonly version: number;
  readonly pageSize: number;
  /** Unix seconds; `null` is Go's zero time. */
  readonly createdAt: number | null;
  /** The high-water mark: the database's length in pages. */
  readonly pageCount: bigint;
  /** "zstd" or "none". */
  readonly compression: string;
  readonly compressionLevel: number;
  readonly compressionWindow: number;
  /** CRC-64 of the stored `data`; absent in Go-made snapshots. */
  readonly checksum?: bigint;
  /** Absent in Go-made snapshots. */
  readonly stateHash?: StateHash;
  /** The commit's time, milliseconds; absent in Go-made snapshots. */
  readonly stampMs?: number;
  /** When the queue took the transaction, milliseconds: only of what functions built from segments. */
  readonly receivedMs?: number;
}

/** Encodes a header by itself, as Go's `SnapshotHeader.Encode` does. */
export function encodeSnapshotHeader(header: SnapshotHeader): Uint8Array {
  return encodeCbor({
    txId: header.txId,
    magic: headerMagic,
    stamp: header.stampMs,
    version: header.version,
    checksum: header.checksum,
    pageSize: header.pageSize,
    received: header.receivedMs,
    createdAt: header.createdAt === null ? null : Math.floor(header.createdAt),
    pageCount: header.pageCount,
    stateHash: header.stateHash === undefined ? undefined : header.stateHash.toString(16).padStart(32, "0"),
    compression: header.compression,
    compressionLevel: header.compressionLevel || undefined,
    compressionWindow: header.compressionWindow || undefined,
  });
}

/** Decodes a header by itself, as Go's `DecodeSnapshotHeader` does; `corrupt`, `too-large` or `unsupported-version`. */
export function decodeSnapshotHeader(bytes: Uint8Array): SnapshotHeader {
  return snapshotHeaderOf(decodeHeaderCbor(bytes, "snapshot header"), "snapshot header");
}

/** Takes a decoded map as a snapshot header; `what` begins each message. */
export function snapshotHeaderOf(value: unknown, what: string): SnapshotHeader {
  const fields = cborFields(value, what);
  checkMagic(fields, what);
  return {
    txId: txId(fields.uint("txId")),
    version: headerVersion,
    pageSize: fields.count("pageSize", 0xffff_ffff),
    createdAt: createdAtOf(fields, what),
    pageCount: fields.uint("pageCount"),
    compression: fields.text("compression"),
    compressionLevel: fields.integer("compressionLevel"),
    compressionWindow: fields.count("compressionWindow"),
    ...optional("checksum", fields.has("checksum") ? fields.uint("checksum") : undefined),
    ...optional("stateHash", fields.has("stateHash") ? stateHashText(fields.text("stateHash")) : undefined),
    ...optional("stampMs", fields.has("stamp") ? fields.count("stamp") : undefined),
    ...optional("receivedMs", fields.has("received") ? fields.count("received") : undefined),
  };
}

/** The words for a snapshot in messages. */
export function snapshotWords(header: Pick<SnapshotHeader, "txId">): string {
  return `snapshot ${formatTxId(header.txId)}`;
}

/** Throws `corrupt` where the header has a checksum and the data's is another. */
export function checkSnapshotSum(header: SnapshotHeader, sum: bigint): void {
  if (header.checksum !== undefined && header.checksum !== sum) {
    throw new PageferryError(
      "corrupt",
      `${snapshotWords(header)}: checksum ${sum.toString(16)}, its header says ${header.checksum.toString(16)}`,
    );
  }
}
