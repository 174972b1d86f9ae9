// For tests: a file and the bolt writer of a recorded history, which goes on between (and inside) any two reads, in
// bolt's own write order, leaving scribbles on free pages as transactions do that are rolled back. And the truth.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import {
  createStateSum,
  createXxh3,
  decodeSegment,
  decodeSnapshot,
  encodeMetaPage,
  livePages,
  type Meta,
  newestMeta,
  parseMeta,
  type StateHash,
} from "@pageferry/format";
import { createPageTable, type PageTable } from "../page-table.ts";
import type { Link } from "./link-log.ts";

/** A commit as bolt writes it: runs, then the meta page. */
export interface RecordedCommit {
  readonly txId: number;
  readonly writes: readonly { readonly id: number; readonly data: Uint8Array }[];
  readonly meta: Meta;
}

/** What a state truly is. Digests are hex, by page block. */
export interface TrueState {
  readonly meta: Meta;
  readonly stateHash: StateHash;
  readonly digests: ReadonlyMap<number, string>;
}

export interface RecordedHistory {
  readonly pageSize: number;
  /** The file before the first commit. */
  readonly start: Uint8Array;
  readonly commits: readonly RecordedCommit[];
  readonly states: ReadonlyMap<number, TrueState>;
}

const golden = new URL("../../../../test/golden/", import.meta.url);

interface GoldenTruth {
  readonly transactions: readonly { generation: string; txId: string; metaPageHex80: string }[];
}

/** Reads one generation of a golden archive. */
export async function recordedHistory(archive: string, generation: string): Promise<RecordedHistory> {
  const root = new URL(`${archive}/`, golden);
  const directory = new URL(`data/${generation}/`, root);
  const truth = JSON.parse(readFileSync(new URL("truth.json", root), "utf8")) as GoldenTruth;
  const metas = new Map<number, Meta>();
  for (const transaction of truth.transactions) {
    const meta = parseMeta(Buffer.from(transaction.metaPageHex80, "hex"));
    if (transaction.generation === generation && meta !== undefined)
      metas.set(Number(transaction.txId), meta);
  }
  const snapshot = readdirSync(new URL("snapshots/", directory)).sort()[0] as string;
  const raw: Uint8Array[] = [];
  const decoded = decodeSnapshot([readFileSync(new URL(`snapshots/${snapshot}`, directory))]);
  for await (const chunk of decoded.raw) raw.push(chunk.slice());
  const start = Buffer.concat(raw);
  const startTxId = Number((await decoded.header).txId);
  const commits: RecordedCommit[] = [];
  for (const name of readdirSync(new URL("segments/", directory)).sort()) {
    const segment = decodeSegment(readFileSync(new URL(`segments/${name}`, directory)));
    const txId = Number(segment.header.txId);
    if (txId <= startTxId) continue;
    const writes = segment.pages.map((page) => ({ id: Number(page.id), data: page.data }));
    commits.push({ txId, writes, meta: metas.get(txId) as Meta });
  }
  return withStates(new Uint8Array(start), commits);
}

/** The same history where the commits that `isKept` refuses did not write their freelist. */
export function withoutFreelists(
  history: RecordedHistory,
  isKept: (txId: number) => boolean,
): RecordedHistory {
  const commits = history.commits.map((commit) => {
    if (isKept(commit.txId)) return commit;
    const writes = commit.writes.filter((write) => write.id !== commit.meta.freelist);
    const page = encodeMetaPage({ ...commit.meta, freelist: null }, commit.txId % 2 === 0 ? 0 : 1);
    return { ...commit, writes, meta: parseMeta(page) as Meta };
  });
  return withStates(history.start, commits);
}

function withStates(start: Uint8Array, commits: readonly RecordedCommit[]): RecordedHistory {
  const { pageSize } = parseMeta(start) as Meta;
  const image = new Uint8Array(imageBytes(start, commits, pageSize));
  image.set(start);
  const states = new Map<number, TrueState>();
  const first = newestMeta(start, start.subarray(pageSize)) as Meta;
  states.set(Number(first.txId), trueState(image, first));
  for (const commit of commits) {
    for (const write of commit.writes) image.set(write.data, write.id * pageSize);
    states.set(commit.txId, trueState(image, commit.meta));
  }
  return { pageSize, start, commits, states };
}

function imageBytes(start: Uint8Array, commits: readonly RecordedCommit[], pageSize: number): number {
  return Math.max(start.length, ...commits.map((commit) => commit.meta.highWaterMark * pageSize));
}

/** The table of a state, as one would come back from disk: without runs and references. */
export function tableOf(history: RecordedHistory, txId: number): PageTable {
  const table = createPageTable(history.pageSize);
  for (const [id, digest] of history.states.get(txId)?.digests ?? []) {
    table.addRun({ id, overflow: 0, digests: Buffer.from(digest, "hex") });
  }
  return table;
}

/** The same history, but for one byte of what `txId` wrote: its metas are the very same. */
export function withOtherData(history: RecordedHistory, txId: number): RecordedHistory {
  const commits = history.commits.map((commit) => {
    if (commit.txId !== txId) return commit;
    const leaf =
      commit.writes.find(({ id, data }) => data[8] === 2 && id !== commit.meta.root) ??
      assert.fail("no leaf");
    const data = leaf.data.slice();
    const last = data.findLastIndex((byte) => byte !== 0);
    data[last] = (data[last] as number) ^ 1;
    return { ...commit, writes: commit.writes.map((write) => (write === leaf ? { ...write, data } : write)) };
  });
  return withStates(history.start, commits);
}

/** What is live in an image, by a walk that shares nothing with capture. */
function trueState(image: Uint8Array, meta: Meta): TrueState {
  const { pageSize } = meta;
  const xxh3 = createXxh3();
  const sum = createStateSum();
  const digest = new Uint8Array(16);
  const digests = new Map<number, string>();
  const source = {
    pageSize,
    read: (id: number, count: number) => image.subarray(id * pageSize, (id + count) * pageSize),
  };
  for (const { id, run } of livePages(source, meta)) {
    for (let block = 0; block < run.length / pageSize; block += 1) {
      xxh3.pageDigest(id + block, run.subarray(block * pageSize, (block + 1) * pageSize), digest, 0);
      sum.add(digest, 0);
      digests.set(id + block, Buffer.from(digest).toString("hex"));
    }
  }
  return { meta, stateHash: sum.value(), digests };
}

/** A step of the writer: bytes at a place; `meta` after the last piece of a meta page. */
interface Piece {
  readonly position: number;
  readonly bytes: Uint8Array;
}

export interface SimulatedFile {
  readAt(position: number, into: Uint8Array): number;
  stats(): { size: number; mtimeNs: bigint; ctimeNs: bigint };
  /** Whether the whole history is written. */
  isDone(): boolean;
  /** Lets the writer do this many pieces. */
  write(pieces: number): void;
  /** Lets the writer finish commits until this one. */
  commitTo(txId: number): void;
  /** Cuts the file; what is written later makes it longer again. */
  truncate(size: number): void;
  /** The newest txid whose meta is written. */
  txId(): number;
  readonly image: Uint8Array;
  reads: number;
  /** Every commit, as a perfect keeper of links would have proved it. */
  readonly links: Link[];
}

export interface SimulationOptions {
  /** From 0 to below 1. */
  readonly random: () => number;
  /** How many pieces the writer does between two reads (and in the middle of each page read). */
  readonly pace: () => number;
  /** Rolled-back transactions write onto free pages. Default true. */
  readonly isScribbling?: boolean;
}

/** Opens the history as a file. Every read gives the writer its turn before each page and in the middle of it. */
export function simulateFile(history: RecordedHistory, options: SimulationOptions): SimulatedFile {
  const { pageSize, commits } = history;
  const image = new Uint8Array(imageBytes(history.start, commits, pageSize));
  image.set(history.start);
  let size = history.start.length;
  let pieces: Piece[] = [];
  let commit = 0;
  let written = 0;
  const file: SimulatedFile = {
    image,
    reads: 0,
    links: [],
    readAt(position, into) {
      file.reads += 1;
      const length = Math.max(0, Math.min(into.length, size - position));
      const half = pageSize / 2;
      for (let at = 0; at < length; at += half) {
        file.write(options.pace());
        into.set(image.subarray(position + at, position + Math.min(length, at + half)), at);
      }
      file.write(options.pace());
      return length;
    },
    commitTo(txId) {
      while (file.txId() < txId || pieces.length > 0) file.write(1);
    },
    truncate(length) {
      size = length;
      written += 1;
    },
    stats: () => ({ size, mtimeNs: BigInt(written), ctimeNs: BigInt(written) }),
    isDone: () => pieces.length === 0 && commit === commits.length,
    txId: () => Number(newestMeta(image, image.subarray(pageSize))?.txId ?? 0n),
    write(count) {
      for (let done = 0; done < count; done += 1) {
        if (pieces.length === 0) {
          const next = commits[commit];
          if (next === undefined) return;
          pieces = piecesOf(history, next, options).reverse();
          commit += 1;
        }
        const piece = pieces.pop() as Piece;
        image.set(piece.bytes, piece.position);
        size = Math.max(size, piece.position + piece.bytes.length);
        written += 1;
        const done = pieces.length === 0 ? commits[commit - 1] : undefined;
        if (done !== undefined) file.links.push(linkOf(done, image, pageSize));
      }
    },
  };
  return file;
}

function linkOf({ meta, writes, txId }: RecordedCommit, image: Uint8Array, pageSize: number): Link {
  const runs = meta.freelist === null ? writes : writes.filter(({ id }) => id === meta.freelist);
  const slots = [image.slice(0, 80), image.slice(pageSize, pageSize + 80)] as const;
  const [raw, otherRaw] = txId % 2 === 0 ? slots : [slots[1], slots[0]];
  const view = { meta, raw, otherRaw, other: parseMeta(otherRaw) };
  return { view, runs: Buffer.concat(runs.map(({ data }) => data)) };
}

function piecesOf(history: RecordedHistory, commit: RecordedCommit, options: SimulationOptions): Piece[] {
  const { pageSize } = history;
  const pieces: Piece[] = [];
  const before = history.states.get(commit.txId - 1);
  if (options.isScribbling !== false && before !== undefined) {
    for (let id = 2; id < before.meta.highWaterMark; id += 1) {
      if (!before.digests.has(id) && options.random() < 0.1)
        pieces.push({ position: id * pageSize, bytes: noise(options) });
    }
  }
  const slot = commit.txId % 2 === 0 ? 0 : 1;
  const writes = [...commit.writes, { id: slot, data: encodeMetaPage(commit.meta, slot) }];
  for (const { id, data } of writes) {
    // A write is no single event for a reader: cut once, anywhere; a meta page inside of the meta.
    const cut = id < 2 ? 16 + Math.floor(options.random() * 64) : Math.floor(options.random() * data.length);
    pieces.push({ position: id * pageSize, bytes: data.subarray(0, cut) });
    pieces.push({ position: id * pageSize + cut, bytes: data.subarray(cut) });
  }
  return pieces;
}

function noise(options: SimulationOptions): Uint8Array {
  const bytes = new Uint8Array(512);
  for (let at = 0; at < bytes.length; at += 1) bytes[at] = options.random() * 256;
  return bytes;
}
