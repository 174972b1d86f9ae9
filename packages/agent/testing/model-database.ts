// For tests: a database that is a function of its transaction id, with pages that move as bolt's do, and a source that
// captures it. What it says of references is what the real source says; how it reads a file is not modelled.
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createXxh3, pageDigestBytes, type StateHash, type TxId, txId } from "@pageferry/format";
import { createPageTable, type PageTable } from "../src/page-table.ts";
import { readPageTable, writePageTable } from "../src/page-table-file.ts";
import type { BoltFileSourceOptions, CaptureEvent, CaptureSource } from "../src/sources/capture-event.ts";
import { decideGeneration } from "../src/sources/decide-generation.ts";

/** Bytes of a page. */
const modelPageSize = 512;

/** How many values the model holds, each in a page of its own. */
const slots = 40;

/** One state. */
export interface ModelState {
  readonly txId: number;
  readonly highWaterMark: number;
  /** Page id → its bytes, without metas. */
  readonly pages: ReadonlyMap<number, Uint8Array>;
  readonly stateHash: StateHash;
}

/** A database whose every state follows from its id and its history's seed. */
export interface Model {
  /** The state of a transaction, at or after 1. Kept, so that it is cheap to ask again. */
  at(id: number): ModelState;
}

function numbersOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Makes a model; another seed is another history. */
export function createModel(seed: number): Model {
  const states: ModelState[] = [];
  let held = new Map<number, number>();
  let free: number[] = [];
  let pending: number[] = [];
  let next = 2;

  function commit(id: number): void {
    const random = numbersOf(seed * 1000 + id);
    const changed = id === 1 ? slots : 1 + Math.floor(random() * 6);
    const pages = new Map(states.at(-1)?.pages);
    free.push(...pending);
    pending = [];
    held = new Map(held);
    for (let count = 0; count < changed; count += 1) {
      const slot = id === 1 ? count : Math.floor(random() * slots);
      const old = held.get(slot);
      if (old !== undefined) {
        pages.delete(old);
        pending.push(old);
      }
      free = free.sort((a, b) => a - b);
      const page = free.shift() ?? next++;
      held.set(slot, page);
      pages.set(page, pageOf(seed, id, slot));
    }
    states.push({ txId: id, highWaterMark: next, pages, stateHash: tableOf(pages).stateHash() });
  }

  return {
    at(id) {
      while (states.length < id) commit(states.length + 1);
      return states[id - 1] as ModelState;
    },
  };
}

function pageOf(seed: number, id: number, slot: number): Uint8Array {
  const page = new Uint8Array(modelPageSize);
  const view = new DataView(page.buffer);
  for (let at = 0; at < modelPageSize; at += 16) {
    view.setUint32(at, seed);
    view.setUint32(at + 4, id);
    view.setUint32(at + 8, slot);
    view.setUint32(at + 12, at);
  }
  return page;
}

function metaOf(state: ModelState): Uint8Array {
  return new Uint8Array(modelPageSize).fill(state.txId & 0xff);
}

const xxh3 = createXxh3();

/** The page table of these pages. */
export function tableOf(pages: ReadonlyMap<number, Uint8Array>): PageTable {
  const table = createPageTable(modelPageSize);
  for (const [id, bytes] of pages) {
    const digests = new Uint8Array(pageDigestBytes);
    xxh3.pageDigest(id, bytes, digests, 0);
    table.addRun({ id, overflow: 0, digests });
  }
  return table;
}

/** The model as a file: its newest transaction, which survives the process, and which file it is. */
export interface ModelFile {
  readonly model: Model;
  readonly inode: string;
  newest(): number;
}

/** A file in `directory` that another process may write the newest id to. */
export function modelFileAt(directory: string, model: Model): ModelFile & { write(id: number): void } {
  const path = join(directory, "newest");
  return {
    model,
    inode: "1",
    newest: () => (existsSync(path) ? Number(readFileSync(path, "utf8")) || 1 : 1),
    write(id) {
      writeFileSync(`${path}.new`, String(id));
      renameSync(`${path}.new`, path);
    },
  };
}

interface SourceState {
  readonly file: () => ModelFile;
  readonly options: BoltFileSourceOptions;
  readonly events: CaptureEvent[];
  captured: ModelState | undefined;
  inode: string;
  wake: () => void;
  isStopped: boolean;
  images: number;
}

/** A model's source, with what tests need to steer it. */
export interface ModelSource extends CaptureSource {
  /** Captures what is newest, as one range if it is several transactions. */
  capture(): void;
  emit(event: CaptureEvent): void;
}

/** Opens a source over the file that `file` says is there now. It captures when told, and when it is stopped. */
export function openModelSource(options: BoltFileSourceOptions, file: () => ModelFile): ModelSource {
  const state: SourceState = {
    file,
    options,
    events: [],
    captured: undefined,
    inode: "",
    wake: () => {},
    isStopped: false,
    images: 0,
  };
  begin(state);
  return {
    events: eventsOf(state),
    requestBase: () => base(state),
    // A table that cannot be written is one that never comes.
    checkpoint: (path) => void checkpoint(state, path).catch(() => {}),
    stop() {
      capture(state);
      emit(state, { type: "stopped" });
      state.isStopped = true;
    },
    capture: () => capture(state),
    emit: (event) => emit(state, event),
  };
}

async function* eventsOf(state: SourceState): AsyncGenerator<CaptureEvent> {
  for (;;) {
    const event = state.events.shift();
    if (event !== undefined) {
      yield event;
      // A consumer must not use what it was given after it asked for more.
      if (event.type === "delta") for (const { data } of event.frames) data.fill(0xee);
      continue;
    }
    if (state.isStopped) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    state.wake = resolve;
    await promise;
  }
}

function emit(state: SourceState, event: CaptureEvent): void {
  if (state.isStopped) return;
  state.events.push(event);
  state.wake();
}

const machine = { device: "1", birthtimeNs: "1", bootId: "boot", machineId: "machine" };

function begin(state: SourceState): void {
  const { reference, begin: forced, isReferenceRestored } = state.options;
  const file = state.file();
  const found = file.model.at(file.newest());
  const identity = { ...machine, inode: file.inode };
  // What a file was restored to may have no table.
  const hasTable =
    reference !== undefined && (isReferenceRestored !== true || existsSync(reference.tablePath));
  const saved = hasTable ? readPageTable(reference.tablePath) : undefined;
  if (hasTable && saved?.stateHash !== reference.stateHash) {
    throw new RangeError("the reference's table is of another state than it says");
  }
  const { stateHash } = found;
  const seen = { txId: txId(found.txId), stateHash, identity, isSuspect: false, hasDiff: hasTable };
  const decision = decideGeneration(reference ?? null, seen, forced, isReferenceRestored);
  emit(state, {
    type: "begin",
    ...decision,
    txId: txId(found.txId),
    stateHash: found.stateHash,
    pageSize: modelPageSize,
    identity,
  });
  emit(state, { type: "seen", txId: txId(found.txId), atMs: state.options.now() });
  state.captured = found;
  state.inode = file.inode;
  if (decision.via === "snapshot") base(state);
  else if (reference !== undefined && saved !== undefined && reference.txId < BigInt(found.txId)) {
    delta(state, { txId: reference.txId, stateHash: reference.stateHash, table: saved.table }, found);
  }
}

interface Known {
  readonly txId: TxId;
  readonly stateHash: StateHash;
  readonly table: PageTable;
}

function delta(state: SourceState, from: Known, to: ModelState): void {
  const digest = new Uint8Array(pageDigestBytes);
  const changed = [...to.pages].filter(([id, bytes]) => {
    xxh3.pageDigest(id, bytes, digest, 0);
    return !from.table.isSame(id, digest, 0);
  });
  const freed: number[] = [];
  for (let id = from.table.next(0); id >= 0; id = from.table.next(id + 1)) {
    if (!to.pages.has(id)) freed.push(id);
  }
  const frames = [[to.txId % 2, metaOf(to)] as const, ...changed.sort((a, b) => a[0] - b[0])];
  emit(state, {
    type: "delta",
    parentTxId: from.txId,
    txId: txId(to.txId),
    pageSize: modelPageSize,
    highWaterMark: to.highWaterMark,
    frames: frames.map(([id, bytes]) => ({ id, overflow: 0, data: bytes.slice() })),
    pre: from.stateHash,
    post: to.stateHash,
    stampMs: state.options.now(),
    freed: Uint32Array.from(freed),
  });
}

function capture(state: SourceState): void {
  const file = state.file();
  const { captured } = state;
  const newest = file.model.at(file.newest());
  if (captured === undefined || (newest.txId === captured.txId && state.inode === file.inode)) return;
  const known = { txId: txId(captured.txId), stateHash: captured.stateHash, table: tableOf(captured.pages) };
  if (state.inode !== file.inode) {
    const identity = { ...machine, inode: file.inode };
    const seen = {
      txId: txId(newest.txId),
      stateHash: newest.stateHash,
      identity,
      isSuspect: true,
      hasDiff: true,
    };
    const decision = decideGeneration({ ...known, identity: { ...machine, inode: state.inode } }, seen);
    const { stateHash } = newest;
    emit(state, {
      type: "begin",
      ...decision,
      txId: seen.txId,
      stateHash,
      pageSize: modelPageSize,
      identity,
    });
    state.inode = file.inode;
    state.captured = newest;
    if (decision.via === "snapshot") {
      base(state);
      return;
    }
  }
  delta(state, known, newest);
  state.captured = newest;
}

function base(state: SourceState): void {
  const { captured } = state;
  if (captured === undefined) return;
  state.images += 1;
  const imagePath = join(state.options.scratchDir, `image-${state.images}`);
  const image = new Uint8Array(captured.highWaterMark * modelPageSize);
  for (const [id, bytes] of captured.pages) image.set(bytes, id * modelPageSize);
  writeFileSync(imagePath, image);
  emit(state, {
    type: "base",
    txId: txId(captured.txId),
    imagePath,
    pageSize: modelPageSize,
    highWaterMark: captured.highWaterMark,
    stateHash: captured.stateHash,
    stampMs: state.options.now(),
  });
}

async function checkpoint(state: SourceState, path: string): Promise<void> {
  const { captured } = state;
  if (captured === undefined) return;
  const saved = { txId: txId(captured.txId), stateHash: captured.stateHash, table: tableOf(captured.pages) };
  await writePageTable(path, saved);
  emit(state, { type: "checkpoint", txId: saved.txId, stateHash: saved.stateHash, path });
}
