// The names of objects in an archive, made and read in this one place. See docs/format.md#names.
// Names are relative to a replica root (`<prefix>/<db>/`). Order is by transaction id, never by clock.
import { isCompanionsName } from "./companions-name.ts";
import { PageferryError } from "./errors.ts";
import { nameBytesMax, stampMsMax } from "./limits.ts";
import { formatTxId, type TxId, txId } from "./txid.ts";

declare const generationBrand: unique symbol;
declare const databaseNameBrand: unique symbol;

/** 16 lower-case hex digits: one writer's unbroken history. */
export type Generation = string & { readonly [generationBrand]: true };

/** The name a database is backed up under: `[A-Za-z0-9][A-Za-z0-9._-]{0,63}`. */
export type DatabaseName = string & { readonly [databaseNameBrand]: true };

/** What a segment's or a pack's name is made of: the range (parentTxId, txId] and its last commit's time. */
export interface RangeName {
  readonly generation: Generation;
  readonly parentTxId: TxId;
  readonly txId: TxId;
  /** The commit stamp of `txId`, milliseconds since the epoch. */
  readonly stampMs: number;
}

/** A segment or a pack, as its name tells it. */
export interface RangeObjectName {
  readonly kind: "segment" | "pack";
  readonly name: string;
  readonly generation: Generation;
  readonly firstTxId: TxId;
  readonly lastTxId: TxId;
  /** `null` in the Go implementation's form, which holds one transaction and no time. */
  readonly stampMs: number | null;
}

/** A snapshot, as its name tells it. */
export interface SnapshotObjectName {
  readonly kind: "snapshot";
  readonly name: string;
  readonly generation: Generation;
  readonly txId: TxId;
  readonly createdAtMs: number;
  /** The time as it is written in the name, which may hold nanoseconds or an offset. */
  readonly createdAt: string;
}

/** Any object of ours, as its name tells it. */
export type ObjectName =
  | RangeObjectName
  | SnapshotObjectName
  | { readonly kind: "generation"; readonly name: string; readonly generation: Generation }
  | { readonly kind: "state" | "needs" | "files"; readonly name: string }
  | { readonly kind: "lease" | "mark" | "pin" | "evidence" | "quarantine"; readonly name: string };

/** Reads a generation; throws `bad-name` unless it is 16 lower-case hex digits. */
export function parseGeneration(text: string): Generation {
  if (!/^[0-9a-f]{16}$/.test(text)) {
    throw new PageferryError("bad-name", `generation "${text.slice(0, 40)}" is not 16 lower-case hex digits`);
  }
  return text as Generation;
}

/** The generation made of eight (random) bytes. */
export function generationOf(bytes: Uint8Array): Generation {
  if (bytes.length !== 8) {
    throw new PageferryError("bad-name", `a generation is made of 8 bytes, not of ${bytes.length}`);
  }
  return Buffer.from(bytes.buffer, bytes.byteOffset, 8).toString("hex") as Generation;
}

/** Reads a database name; throws `bad-name` unless it is `[A-Za-z0-9][A-Za-z0-9._-]{0,63}`. */
export function parseDatabaseName(text: string): DatabaseName {
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(text)) {
    throw new PageferryError(
      "bad-name",
      `database name ${JSON.stringify(text.slice(0, 80))} is not a letter or digit and then at most 63 of A-Z a-z 0-9 . _ -`,
    );
  }
  return text as DatabaseName;
}

function rangeName(range: RangeName, extension: string): string {
  if (range.txId <= range.parentTxId) {
    throw new PageferryError(
      "bad-name",
      `range of ${range.generation}: transaction ${formatTxId(range.txId)} is not above its parent ${formatTxId(range.parentTxId)}`,
    );
  }
  checkStamp(range.stampMs);
  const first = formatTxId(txId(range.parentTxId + 1n));
  const stamp = range.stampMs.toString(16).padStart(12, "0");
  return `${range.generation}/segments/${first}-${formatTxId(range.txId)}-${stamp}.${extension}`;
}

function checkStamp(stampMs: number): void {
  if (!Number.isSafeInteger(stampMs) || stampMs < 0 || stampMs > stampMsMax) {
    throw new PageferryError("bad-name", `stamp ${stampMs} is not milliseconds from 0 to ${stampMsMax}`);
  }
}

/** `<generation>/segments/<first>-<last>-<stamp>.segment.cbor`, first being `parentTxId` + 1. */
export function segmentName(range: RangeName): string {
  return rangeName(range, "segment.cbor");
}

/** `<generation>/segments/<first>-<last>-<stamp>.pack.cbor`, first being `parentTxId` + 1. */
export function packName(range: RangeName): string {
  return rangeName(range, "pack.cbor");
}

/** `<generation>/snapshots/<RFC 3339, nine fraction digits, UTC>-<txid>.snapshot.cbor`. */
export function snapshotName(snapshot: {
  readonly generation: Generation;
  readonly txId: TxId;
  readonly stampMs: number;
}): string {
  checkStamp(snapshot.stampMs);
  const time = new Date(snapshot.stampMs).toISOString().replace("Z", "000000Z");
  return `${snapshot.generation}/snapshots/${time}-${formatTxId(snapshot.txId)}.snapshot.cbor`;
}

/** `<generation>/generation.json`, which is written once. */
export function generationJsonName(generation: Generation): string {
  return `${generation}/generation.json`;
}

/** The derived restore state that the Go implementation's readers look for. */
export const stateName = "_state.json";

/** What a host is asked to send again, or anew. */
export const needsName = "needs.json";

const goSegmentPattern = /^([0-9a-f]{16})\.segment\.cbor$/;
const snapshotPattern =
  /^(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})(\.\d{1,9})?(Z|[+-]\d{2}:\d{2})-([0-9a-f]{16})\.snapshot\.cbor$/;
const generationPattern = /^[0-9a-f]{16}$/;

const sideKinds = new Map([
  ["leases", "lease"],
  ["marks", "mark"],
  ["pins", "pin"],
  ["evidence", "evidence"],
  ["quarantine", "quarantine"],
] as const);

/** Reads a name relative to a replica root. `undefined`: not one of ours, and ignored in listings. */
export function parseObjectName(name: string): ObjectName | undefined {
  // Ranges first: a listing may hold a million of them, and little else.
  const range = parseRange(name);
  if (range !== undefined) return range;
  if (name === stateName) {
    return { kind: "state", name };
  }
  if (name === needsName) {
    return { kind: "needs", name };
  }
  if (name.startsWith("files/")) return isCompanionsName(name) ? { kind: "files", name } : undefined;
  const [head = "", middle, last, ...rest] = name.split("/");
  const side = (sideKinds as ReadonlyMap<string, "lease" | "mark" | "pin" | "evidence" | "quarantine">).get(
    head,
  );
  if (side !== undefined) {
    return middle === undefined || isUnsafe(name) ? undefined : { kind: side, name };
  }
  if (!generationPattern.test(head) || rest.length > 0) {
    return undefined;
  }
  const generation = head as Generation;
  if (last === undefined) {
    return middle === "generation.json" ? { kind: "generation", name, generation } : undefined;
  }
  if (middle === "segments") {
    return parseGoSegment(name, generation, last);
  }
  return middle === "snapshots" ? parseSnapshot(name, generation, last) : undefined;
}

/** Where the parts of a range's name lie, which are as long in each. */
const segmentsAt = 16;
const firstAt = segmentsAt + "/segments/".length;
const lastAt = firstAt + 17;
const stampAt = lastAt + 17;
const extensionAt = stampAt + 12;

function parseRange(name: string): RangeObjectName | undefined {
  const isSegment = name.length === extensionAt + 13 && name.endsWith(".segment.cbor");
  const isPack = name.length === extensionAt + 10 && name.endsWith(".pack.cbor");
  if (!(isSegment || isPack) || !name.startsWith("/segments/", segmentsAt)) return undefined;
  if (name[lastAt - 1] !== "-" || name[stampAt - 1] !== "-") return undefined;
  const stampMs = hexNumber(name, stampAt, extensionAt);
  const firstTxId = hexTxId(name, firstAt);
  const lastTxId = hexTxId(name, lastAt);
  if (stampMs === undefined || firstTxId === undefined || lastTxId === undefined) return undefined;
  if (firstTxId === 0n || firstTxId > lastTxId || hexTxId(name, 0) === undefined) return undefined;
  const generation = name.slice(0, segmentsAt) as Generation;
  return { kind: isPack ? "pack" : "segment", name, generation, firstTxId, lastTxId, stampMs };
}

/** Sixteen lower-case hex digits. */
function hexTxId(text: string, from: number): TxId | undefined {
  const high = hexNumber(text, from, from + 8);
  const low = hexNumber(text, from + 8, from + 16);
  if (high === undefined || low === undefined) return undefined;
  return txId(high < 2 ** 20 ? high * 2 ** 32 + low : (BigInt(high) << 32n) | BigInt(low));
}

/** At most 13 lower-case hex digits. */
function hexNumber(text: string, from: number, to: number): number | undefined {
  let number = 0;
  for (let at = from; at < to; at += 1) {
    const code = text.charCodeAt(at);
    const digit = code >= 97 && code <= 102 ? code - 87 : code >= 48 && code <= 57 ? code - 48 : undefined;
    if (digit === undefined) return undefined;
    number = number * 16 + digit;
  }
  return number;
}

/** A segment that the Go implementation wrote: its name tells one transaction, and no time. */
function parseGoSegment(name: string, generation: Generation, file: string): RangeObjectName | undefined {
  const parts = goSegmentPattern.exec(file);
  if (parts === null) return undefined;
  const only = txId(BigInt(`0x${parts[1]}`));
  return { kind: "segment", name, generation, firstTxId: only, lastTxId: only, stampMs: null };
}

function parseSnapshot(name: string, generation: Generation, file: string): SnapshotObjectName | undefined {
  const parts = snapshotPattern.exec(file);
  if (parts === null) {
    return undefined;
  }
  const [, seconds = "", fraction = "", zone = "", id = ""] = parts;
  const wholeMs = Date.parse(`${seconds}${zone}`);
  if (Number.isNaN(wholeMs)) {
    return undefined;
  }
  const createdAtMs = wholeMs + Number(fraction.slice(1, 4).padEnd(3, "0"));
  return {
    kind: "snapshot",
    name,
    generation,
    txId: txId(BigInt(`0x${id}`)),
    createdAtMs,
    createdAt: `${seconds}${fraction}${zone}`,
  };
}

function isUnsafe(name: string): boolean {
  return (
    name.length === 0 ||
    name.includes("\0") ||
    name.includes("\\") ||
    !name.isWellFormed() ||
    name.split("/").some((part) => part === "" || part === "." || part === "..") ||
    Buffer.byteLength(name) > nameBytesMax
  );
}

/**
 * Returns `name` if it may be used as a path below a root; throws `bad-name` for an absolute path, an empty, `.` or
 * `..` part, NUL, a backslash, or more than 1,024 bytes.
 */
export function checkObjectName(name: string): string {
  if (isUnsafe(name)) {
    throw new PageferryError(
      "bad-name",
      `object name ${JSON.stringify(name.slice(0, 80))} is not a plain relative path`,
    );
  }
  return name;
}

function compare<Value extends string | bigint | number>(a: Value, b: Value): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Sort key: what brings an archive to a transaction, its last id, and where it begins. */
function orderOf(name: ObjectName): readonly [generation: string, last: bigint, rank: number, first: bigint] {
  switch (name.kind) {
    case "snapshot":
      return [name.generation, name.txId, 1, name.txId];
    case "segment":
    case "pack":
      return [name.generation, name.lastTxId, 2, name.firstTxId];
    case "generation":
      return [name.generation, -1n, 0, 0n];
    default:
      return ["~", 0n, 3, 0n];
  }
}

/**
 * Orders by generation, then by the transaction a state is reached with, a snapshot before a segment, then by the
 * first transaction, never by clock. Names that hold no state come last, by name.
 */
export function compareObjectNames(a: ObjectName, b: ObjectName): number {
  const left = orderOf(a);
  const right = orderOf(b);
  return (
    compare(left[0], right[0]) ||
    compare(left[1], right[1]) ||
    compare(left[2], right[2]) ||
    compare(left[3], right[3]) ||
    compare(a.name, b.name)
  );
}
