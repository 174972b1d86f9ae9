// The header of a segment: its keys, their order, and what it says of states. Both directions. See docs/format.md#segment.

import { decodeCbor, encodeCbor } from "./cbor.ts";
import { type CborFields, cborFields } from "./cbor-fields.ts";
import { PageferryError } from "./errors.ts";
import { headerBytesMax } from "./limits.ts";
import type { StateHash } from "./state-hash.ts";
import { formatTxId, type TxId, txId } from "./txid.ts";

/** What every segment says of itself; `magic` ("BTLS") is the same in all and left out here. */
export interface SegmentHeader {
  readonly txId: TxId;
  readonly parentTxId: TxId;
  readonly pageSize: number;
  /** How many frames (not pages) the segment holds. */
  readonly pageCount: bigint;
  /** The first page id that was never allocated: the database's length in pages. */
  readonly highWaterMark: bigint;
  /** Unix seconds; `null` is Go's zero time. */
  readonly createdAt: number | null;
  /** "zstd", "none", or "" as the Go implementation writes for its default, zstd. */
  readonly compression: string;
  /** The level as headers hold it, which may be negative (`docs/format.md#levels`). */
  readonly compressionLevel: number;
  readonly compressionWindow: number;
  /** CRC-64 of the stored `data`; 0 in the inner header. */
  readonly checksum: bigint;
  readonly version: number;
  /** `additionalAttrs`. */
  readonly attrs: Readonly<Record<string, string>>;
}

/** What our attributes say; absent means unknown (a Go-made segment), which is never equal to anything. */
export interface SegmentState {
  /** stateHash(parentTxId). */
  readonly pre?: StateHash;
  /** stateHash(txId). */
  readonly post?: StateHash;
  /** The last commit's time, milliseconds. */
  readonly stampMs?: number;
  /** What captured it: `bolt-file`, `shadow` or `observer`. */
  readonly source?: string;
  /** When the queue took it, milliseconds. */
  readonly receivedMs?: number;
}

/** The magic of segments and snapshots. */
export const headerMagic = "BTLS";

/** The only version of segments and snapshots there is. */
export const headerVersion = 1;

/** Encodes a header by itself, as Go's `SegmentHeader.Encode` does. */
export function encodeSegmentHeader(header: SegmentHeader): Uint8Array {
  return encodeCbor({
    txId: header.txId,
    magic: headerMagic,
    version: header.version,
    checksum: header.checksum,
    pageSize: header.pageSize,
    createdAt: header.createdAt === null ? null : Math.floor(header.createdAt),
    pageCount: header.pageCount,
    parentTxId: header.parentTxId,
    compression: header.compression,
    highWaterMark: header.highWaterMark,
    additionalAttrs: Object.keys(header.attrs).length === 0 ? undefined : header.attrs,
    compressionLevel: header.compressionLevel || undefined,
    compressionWindow: header.compressionWindow || undefined,
  });
}

/** Decodes a header by itself, as Go's `DecodeSegmentHeader` does; `corrupt`, `too-large` or `unsupported-version`. */
export function decodeSegmentHeader(bytes: Uint8Array): SegmentHeader {
  return segmentHeaderOf(decodeHeaderCbor(bytes, "segment header"), "segment header");
}

/** Decodes the CBOR of a header, whose size is bounded. */
export function decodeHeaderCbor(bytes: Uint8Array, what: string): unknown {
  if (bytes.length > headerBytesMax) {
    throw new PageferryError(
      "too-large",
      `${what}: ${bytes.length} bytes, at most ${headerBytesMax} are a header`,
    );
  }
  return decodeCbor(bytes, what);
}

/** Takes a decoded map as a segment header; `what` begins each message. */
export function segmentHeaderOf(value: unknown, what: string): SegmentHeader {
  const fields = cborFields(value, what);
  checkMagic(fields, what);
  return {
    txId: txId(fields.uint("txId")),
    parentTxId: txId(fields.uint("parentTxId")),
    pageSize: fields.count("pageSize", 0xffff_ffff),
    pageCount: fields.uint("pageCount"),
    highWaterMark: fields.uint("highWaterMark"),
    createdAt: createdAtOf(fields, what),
    compression: fields.text("compression"),
    compressionLevel: fields.integer("compressionLevel"),
    compressionWindow: fields.count("compressionWindow"),
    checksum: fields.uint("checksum"),
    version: headerVersion,
    attrs: attrsOf(fields, what),
  };
}

/** Refuses what is not ours (`corrupt`) or is of a later version (`unsupported-version`). */
export function checkMagic(fields: CborFields, what: string): void {
  const magic = fields.text("magic");
  if (magic !== headerMagic) {
    throw new PageferryError(
      "corrupt",
      `${what}: magic is ${JSON.stringify(magic.slice(0, 16))}, not "${headerMagic}"`,
    );
  }
  const version = fields.uint("version");
  if (version > headerVersion) {
    throw new PageferryError(
      "unsupported-version",
      `${what}: version ${version}, this program reads ${headerVersion}`,
    );
  }
  if (version !== 1n) {
    throw new PageferryError("corrupt", `${what}: version ${version} does not exist`);
  }
}

/** Unix seconds from an integer, a float, RFC 3339 text or a tagged time, as Go's decoder takes them. */
export function createdAtOf(fields: CborFields, what: string): number | null {
  const value = fields.raw("createdAt");
  if (value === undefined) {
    return null;
  }
  const seconds =
    typeof value === "string"
      ? rfc3339Seconds(value)
      : value instanceof Date
        ? value.getTime() / 1000
        : typeof value === "bigint"
          ? Number(value)
          : value;
  if (typeof seconds !== "number" || !(Math.abs(seconds) <= Number.MAX_SAFE_INTEGER)) {
    throw new PageferryError("corrupt", `${what}: createdAt is not a time`);
  }
  return seconds;
}

function rfc3339Seconds(text: string): number {
  return /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:\d{2})$/.test(text)
    ? Date.parse(text) / 1000
    : Number.NaN;
}

function attrsOf(fields: CborFields, what: string): Readonly<Record<string, string>> {
  const attrs: [string, string][] = [];
  for (const [key, value] of fields.map("additionalAttrs")) {
    if (typeof value !== "string") {
      throw new PageferryError("corrupt", `${what}: attribute "${key.slice(0, 40)}" is not a text`);
    }
    attrs.push([key, value]);
  }
  return Object.fromEntries(attrs);
}

/** The attributes of `state` as `additionalAttrs` holds them; what is absent is left out. */
export function segmentAttrs(state: SegmentState): Record<string, string> {
  const entries: [string, string | undefined][] = [
    ["pre", state.pre === undefined ? undefined : hashText(state.pre)],
    ["post", state.post === undefined ? undefined : hashText(state.post)],
    ["stamp", state.stampMs?.toString()],
    ["source", state.source],
    ["received", state.receivedMs?.toString()],
  ];
  return Object.fromEntries(entries.filter((entry): entry is [string, string] => entry[1] !== undefined));
}

function hashText(hash: StateHash): string {
  return hash.toString(16).padStart(32, "0");
}

/** What a header's attributes say of states and times. An ill-formed one counts as absent, as another writer's may be. */
export function segmentState(header: Pick<SegmentHeader, "attrs">): SegmentState {
  const { pre, post, stamp, source, received } = header.attrs as Record<string, string | undefined>;
  return {
    ...optional("pre", stateHashText(pre)),
    ...optional("post", stateHashText(post)),
    ...optional("stampMs", decimal(stamp)),
    ...optional("source", source),
    ...optional("receivedMs", decimal(received)),
  };
}

/** Reads 32 hex digits; anything else is unknown. */
export function stateHashText(text: string | undefined): StateHash | undefined {
  return text !== undefined && /^[0-9a-f]{32}$/.test(text) ? (BigInt(`0x${text}`) as StateHash) : undefined;
}

function decimal(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}

/** `{ [key]: value }`, or nothing where the value is absent. */
export function optional<Key extends string, Value>(
  key: Key,
  value: Value | undefined,
): { [K in Key]?: Value } {
  return (value === undefined ? {} : { [key]: value }) as { [K in Key]?: Value };
}

/** The words for a segment in messages. */
export function segmentWords(header: Pick<SegmentHeader, "txId" | "parentTxId">): string {
  return `segment ${formatTxId(header.parentTxId)}..${formatTxId(header.txId)}`;
}

/** Whether `data` is compressed; a codec that does not exist (yet) is `unsupported-version`. */
export function isCompressed(header: { readonly compression: string }, what: string): boolean {
  switch (header.compression) {
    case "none":
      return false;
    case "zstd":
    case "":
      return true;
    default:
      throw new PageferryError(
        "unsupported-version",
        `${what}: compressed with ${JSON.stringify(header.compression.slice(0, 16))}, this program reads zstd and none`,
      );
  }
}
