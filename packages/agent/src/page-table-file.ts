// The page table on disk: magic, version, page size, bound, txid, state hash, the live bitmap, digests by page id, and a
// SHA-256 over all of it. Anything that does not hold is no table.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import {
  createXxh3,
  PageferryError,
  pageDigestBytes,
  type StateHash,
  type TxId,
  txId,
} from "@pageferry/format";
import { writeFileDurable } from "@pageferry/format/node";
import { createPageTable, type PageTable, type TableDump } from "./page-table.ts";
import type { CapturedFrame, CapturedState } from "./sources/capture-event.ts";

const magic = 0x54_50_46_50;
const version = 1;
/** magic, version, page size, bound (u32 each), txid (u64), state hash (u128), all little-endian. */
const headerBytes = 40;
const checksumBytes = 32;

/** A table and the state it is exact for. */
export interface SavedTable extends CapturedState {
  readonly table: PageTable;
}

/** A table's pages and the state they are. */
export interface DumpedTable extends CapturedState {
  readonly pageSize: number;
  readonly dump: TableDump;
}

/** The bytes of a table's file. */
export function encodePageTable(dumped: DumpedTable): Uint8Array<ArrayBuffer> {
  const { bound, live, digests } = dumped.dump;
  const bytes = new Uint8Array(headerBytes + live.byteLength + digests.length + checksumBytes);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, magic, true);
  view.setUint32(4, version, true);
  view.setUint32(8, dumped.pageSize, true);
  view.setUint32(12, bound, true);
  view.setBigUint64(16, dumped.txId, true);
  view.setBigUint64(24, dumped.stateHash & 0xffff_ffff_ffff_ffffn, true);
  view.setBigUint64(32, dumped.stateHash >> 64n, true);
  for (const [index, word] of live.entries()) view.setUint32(headerBytes + index * 4, word, true);
  bytes.set(digests, headerBytes + live.byteLength);
  const end = bytes.length - checksumBytes;
  bytes.set(createHash("sha256").update(bytes.subarray(0, end)).digest(), end);
  return bytes;
}

/** Writes a table durably: whole under its name, or what was there before. */
export async function writePageTable(path: string, saved: SavedTable | DumpedTable): Promise<void> {
  const dumped =
    "dump" in saved ? saved : { ...saved, pageSize: saved.table.pageSize, dump: saved.table.dump() };
  await writeFileDurable(path, encodePageTable(dumped), { overwrite: true });
}

/** Reads a table's file. Throws `not-found` when it cannot be read, `corrupt` when anything does not hold. */
export function readPageTable(path: string): SavedTable {
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(path);
  } catch (cause) {
    throw new PageferryError("not-found", `page table ${path}: cannot be read`, { cause });
  }
  return decodePageTable(bytes, path);
}

/** The table in `bytes`; `name` is for messages. Throws `corrupt`. */
export function decodePageTable(bytes: Uint8Array, name: string): SavedTable {
  const fail = (what: string): PageferryError => new PageferryError("corrupt", `page table ${name}: ${what}`);
  const end = bytes.length - checksumBytes;
  if (end < headerBytes) throw fail(`only ${bytes.length} bytes`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (view.getUint32(0, true) !== magic || view.getUint32(4, true) !== version) throw fail("another format");
  const sum = createHash("sha256").update(bytes.subarray(0, end)).digest();
  if (!sum.equals(bytes.subarray(end))) throw fail("its checksum does not hold");
  const bound = view.getUint32(12, true);
  const digestsAt = headerBytes + Math.ceil(bound / 32) * 4;
  if (end !== digestsAt + bound * pageDigestBytes) throw fail("its length is not what its bound asks for");
  const table = createPageTable(view.getUint32(8, true));
  for (let id = 0; id < bound; id += 1) {
    if ((view.getUint32(headerBytes + (id >>> 5) * 4, true) & (1 << (id & 31))) === 0) continue;
    const at = digestsAt + id * pageDigestBytes;
    table.addRun({ id, overflow: 0, digests: bytes.subarray(at, at + pageDigestBytes) });
  }
  const stateHash = (view.getBigUint64(32, true) << 64n) | view.getBigUint64(24, true);
  if (table.stateHash() !== stateHash) throw fail("its pages do not add up to its state hash");
  return { table, txId: txId(view.getBigUint64(16, true)), stateHash };
}

/** What rolls a table forward: a captured delta, or what a shadow kept of one or several. */
export interface TableStep {
  readonly parentTxId: TxId;
  readonly txId: TxId;
  /** The newest of every page that was written; those that are also in `freed` do not count. */
  readonly frames: readonly CapturedFrame[];
  readonly freed: Uint32Array;
  readonly post: StateHash;
}

/**
 * Brings a table to the state of a delta (changing it), and proves it by the state hash. Throws `gap` when the delta does not
 * follow, `corrupt` when the pages do not add up; the table is then of no use.
 */
export function rollForward(saved: SavedTable, step: TableStep): SavedTable {
  const { table } = saved;
  if (step.parentTxId !== saved.txId) {
    const message = `page table of ${saved.txId}: the next delta has the parent ${step.parentTxId}`;
    throw new PageferryError("gap", message);
  }
  for (const frame of step.frames) if (frame.id > 1) addFrame(table, frame);
  for (const id of step.freed) table.remove(id);
  if (table.stateHash() !== step.post) {
    throw new PageferryError("corrupt", `page table rolled forward to ${step.txId}: its pages do not add up`);
  }
  return { table, txId: step.txId, stateHash: step.post };
}

const xxh3 = createXxh3();

/** Puts the pages of a frame into a table, each for itself and without references: enough to compare with. */
function addFrame(table: PageTable, frame: CapturedFrame): void {
  const { pageSize } = table;
  const digests = new Uint8Array(pageDigestBytes);
  for (let block = 0; block <= frame.overflow; block += 1) {
    const bytes = frame.data.subarray(block * pageSize, (block + 1) * pageSize);
    xxh3.pageDigest(frame.id + block, bytes, digests, 0);
    table.addRun({ id: frame.id + block, overflow: 0, digests });
  }
}
