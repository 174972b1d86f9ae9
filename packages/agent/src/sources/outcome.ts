// What a completed walk is worth: frames, freed pages and state hashes, as a delta from its base or as the difference between
// a scan and the reference. docs/capture.md#outcomes.
import { encodeMetaPage, metaSlot, pageDigestBytes, type StateHash } from "@pageferry/format";
import { freedBlocks, type PageTable } from "../page-table.ts";
import { arenaPieceBytes } from "./arena.ts";
import type { CapturedFrame, DeltaEvent } from "./capture-event.ts";
import type { Walk } from "./walk.ts";

/** The pages of a delta, and what they lead to. `frames` is null where too much was collected: only a base will do. */
export interface Outcome {
  readonly frames: readonly CapturedFrame[] | null;
  readonly freed: Uint32Array<ArrayBuffer>;
  readonly pre: StateHash;
  readonly post: StateHash;
}

/** Blocks that are neither free nor live, by the freelist; null where there is none. Bolt never changes it; see `applyDelta`. */
export function countLeaked(walk: Walk, live: number): number | null {
  return walk.freeIds === null ? null : walk.view.meta.highWaterMark - 2 - walk.freeIds.length - live;
}

/**
 * Brings `table` (the walk's base) to the walk's state. Undefined: the pages do not add up, and the table is as it was. Every
 * page below the high-water mark is free or live; if their sum moved by what was captured, a page was missed.
 */
export function applyDelta(walk: Walk, table: PageTable, leaked: number | null): Outcome | undefined {
  const { fresh } = walk;
  for (let id = fresh.next(0); id >= 0; id = fresh.next(id + 1)) {
    if (table.has(id) && !walk.dropped.has(id)) return undefined;
  }
  const live = table.count() - walk.droppedBlocks.length + fresh.count();
  const leakedNow = countLeaked(walk, live);
  if (leaked !== null && leakedNow !== null && leakedNow !== leaked) return undefined;
  const pre = table.stateHash();
  const heads = changedHeads(walk, table);
  const freed = Uint32Array.from(walk.droppedBlocks.filter((id) => !fresh.has(id))).sort();
  for (const id of walk.droppedBlocks) table.remove(id);
  copyRuns(fresh, table);
  return { frames: walk.isOverCollected ? null : framesOf(walk, heads), freed, pre, post: table.stateHash() };
}

/** Heads whose run differs from what the table holds under the same ids: a page read again unchanged is no change. */
function changedHeads(walk: Walk, table: PageTable): number[] {
  const digest = new Uint8Array(pageDigestBytes);
  return [...walk.collected.keys()].filter((head) => {
    for (let block = head; block <= head + walk.fresh.overflowOf(head); block += 1) {
      walk.fresh.copyDigest(block, digest, 0);
      if (!table.isSame(block, digest, 0)) return true;
    }
    return false;
  });
}

function copyRuns(from: PageTable, to: PageTable): void {
  for (let head = from.next(0); head >= 0; ) {
    const overflow = from.overflowOf(head);
    const digests = new Uint8Array((overflow + 1) * pageDigestBytes);
    for (let block = 0; block <= overflow; block += 1)
      from.copyDigest(head + block, digests, block * pageDigestBytes);
    to.addRun({ id: head, overflow, children: from.childrenOf(head), digests });
    head = from.next(head + overflow + 1);
  }
}

/** The difference between a completed scan and its reference, whose state hash is `pre`. */
export function diffScan(walk: Walk, reference: PageTable): Outcome {
  return {
    frames: walk.isOverCollected ? null : framesOf(walk, [...walk.collected.keys()]),
    freed: freedBlocks(reference, walk.fresh),
    pre: reference.stateHash(),
    post: walk.fresh.stateHash(),
  };
}

/**
 * The meta page and the runs at `heads`, ascending. Few pages come in one piece of memory of their own size; many as they are
 * in the arena, whose pieces go with them.
 */
function framesOf(walk: Walk, heads: number[]): CapturedFrame[] {
  const { pageSize, collected } = walk;
  heads.sort((a, b) => a - b);
  let length = pageSize;
  for (const head of heads) length += (collected.get(head) as Uint8Array).length;
  const slot = metaSlot(walk.view.meta.txId);
  const meta = encodeMetaPage(walk.view.meta, slot);
  const memory = length <= arenaPieceBytes ? new Uint8Array(length) : undefined;
  let at = 0;
  const place = (bytes: Uint8Array): Uint8Array => {
    if (memory === undefined) return bytes;
    memory.set(bytes, at);
    at += bytes.length;
    return memory.subarray(at - bytes.length, at);
  };
  const frames: CapturedFrame[] = [{ id: slot, overflow: 0, data: place(meta) }];
  for (const id of heads) {
    const run = collected.get(id) as Uint8Array;
    frames.push({ id, overflow: run.length / pageSize - 1, data: place(run) });
  }
  return frames;
}

/** The event of an outcome that has frames. */
export function deltaEvent(
  walk: Walk,
  outcome: Outcome,
  frames: readonly CapturedFrame[],
  parentTxId: DeltaEvent["parentTxId"],
  stampMs: number,
): DeltaEvent {
  return {
    type: "delta",
    parentTxId,
    txId: walk.view.meta.txId,
    pageSize: walk.pageSize,
    highWaterMark: walk.view.meta.highWaterMark,
    frames,
    pre: outcome.pre,
    post: outcome.post,
    stampMs,
    freed: outcome.freed,
  };
}
