// Database images and histories out of test/golden for the tests of bolt/. It reads just as much CBOR as the Go implementation
// wrote there, by its own means, so that the codec under test does not judge itself.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { zstdDecompressSync } from "node:zlib";
import type { PageSource } from "../src/bolt/tree.ts";
import { PageferryError } from "../src/errors.ts";
import { type TxId, txId } from "../src/txid.ts";

const golden = fileURLToPath(new URL("../../../test/golden", import.meta.url));

/** What truth.json says about one transaction; only what tests use. */
export interface Truth {
  readonly generation: string;
  readonly txId: string;
  readonly metaPageId: 0 | 1;
  readonly metaPageHex80: string;
  readonly root: string;
  readonly highWaterMark: string;
  readonly bodySha256: string;
  readonly logicalSha256: string;
}

/** A snapshot or segment of the Go implementation. */
export interface GoSnapshot {
  readonly generation: string;
  readonly txId: TxId;
  readonly pageSize: number;
  readonly image: Uint8Array;
}
export interface GoSegment {
  readonly txId: TxId;
  readonly pageSize: number;
  readonly highWaterMark: number;
  readonly frames: readonly { readonly id: number; readonly data: Uint8Array }[];
}

/** The replicas whose truth is known at every transaction. */
export const replicas = ["replica", "replica-nofreelist", "replica-16k-none"] as const;

/** What is true of a replica, in order of generation and transaction. */
export function truths(replica: string): Truth[] {
  const truth = JSON.parse(readFileSync(join(golden, replica, "truth.json"), "utf8")) as {
    transactions: Truth[];
  };
  return truth.transactions;
}

/** Every snapshot of a replica. */
export function snapshots(replica: string): GoSnapshot[] {
  return files(replica, "snapshots").map(({ generation, path }) => {
    const { header, data } = readObject(path);
    return { generation, txId: txId(integer(header.txId)), pageSize: integer(header.pageSize), image: data };
  });
}

/** Every segment of one generation, ascending by transaction. */
export function segments(replica: string, generation: string): GoSegment[] {
  return files(replica, "segments")
    .filter((file) => file.generation === generation)
    .map(({ path }) => {
      const { header, data } = readObject(path);
      const payload = readItem(data, 0).value as { pages: { ID: number; Data: Uint8Array }[] };
      return {
        txId: txId(integer(header.txId)),
        pageSize: integer(header.pageSize),
        highWaterMark: integer(header.highWaterMark),
        frames: payload.pages.map((page) => ({ id: page.ID, data: page.Data })),
      };
    });
}

/** The newest snapshot of a replica: a database of 48 to 800 KB. */
export function image(replica: string): { bytes: Uint8Array<ArrayBuffer>; pageSize: number } {
  const all = snapshots(replica);
  const newest = all[all.length - 1];
  if (newest === undefined) throw new Error(`no snapshot in ${replica}`);
  return { bytes: Uint8Array.from(newest.image), pageSize: newest.pageSize };
}

/** The database file that etcd 3.4.23 left behind, without a freelist on disk. */
export function etcdImage(): Uint8Array<ArrayBuffer> {
  const path = new URL("../vectors/etcd-3.4.23.db.zst", import.meta.url);
  return Uint8Array.from(zstdDecompressSync(readFileSync(path)));
}

/** A database image in memory as a page source. */
export function imageSource(bytes: Uint8Array, pageSize: number): PageSource & { readonly size: number } {
  return {
    pageSize,
    size: bytes.length,
    read(pageId, count) {
      const end = (pageId + count) * pageSize;
      if (end > bytes.length)
        throw new PageferryError("corrupt", `page ${pageId}: beyond ${bytes.length} bytes`);
      return bytes.subarray(pageId * pageSize, end);
    },
  };
}

function files(replica: string, kind: string): { generation: string; path: string }[] {
  const data = join(golden, replica, "data");
  return readdirSync(data)
    .filter((name) => /^[0-9a-f]{16}$/.test(name))
    .sort()
    .flatMap((generation) => {
      const directory = join(data, generation, kind);
      return readdirSync(directory)
        .sort()
        .map((name) => ({ generation, path: join(directory, name) }));
    });
}

function readObject(path: string): { header: Record<string, unknown>; data: Uint8Array } {
  const { value } = readItem(readFileSync(path), 0);
  const { header, data } = value as { header: Record<string, unknown>; data: Uint8Array };
  return { header, data: header.compression === "zstd" ? zstdDecompressSync(data) : data };
}

function integer(value: unknown): number {
  if (!Number.isSafeInteger(value)) throw new Error(`not an exact integer: ${String(value)}`);
  return value as number;
}

/** One definite CBOR item: what Go's canonical encoder writes. 64-bit numbers lose precision, only checksums are that large here. */
function readItem(bytes: Uint8Array, at: number): { value: unknown; end: number } {
  const initial = bytes[at] as number;
  const major = initial >> 5;
  let argument = initial & 31;
  let next = at + 1;
  if (argument >= 24) {
    const length = 2 ** (argument - 24);
    argument = 0;
    for (let index = 0; index < length; index += 1)
      argument = argument * 256 + (bytes[next + index] as number);
    next += length;
  }
  if (major === 0) return { value: argument, end: next };
  if (major === 1) return { value: -1 - argument, end: next };
  if (major === 2) return { value: bytes.subarray(next, next + argument), end: next + argument };
  if (major === 3) {
    return { value: new TextDecoder().decode(bytes.subarray(next, next + argument)), end: next + argument };
  }
  if (major === 7) return { value: null, end: next };
  const items: unknown[] = [];
  for (let index = 0; index < argument * (major === 5 ? 2 : 1); index += 1) {
    const item = readItem(bytes, next);
    items.push(item.value);
    next = item.end;
  }
  if (major === 4) return { value: items, end: next };
  const map: Record<string, unknown> = {};
  for (let index = 0; index < items.length; index += 2) map[String(items[index])] = items[index + 1];
  return { value: map, end: next };
}
