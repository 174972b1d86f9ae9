// Does a segment follow the state that is known? Its pages alone must say so: they touch nothing that is live, they refer to nothing
// that is not, all of them are reached, and no page is lost between the freelists. docs/shadow-directory.md#evidence.
import {
  createStateSum,
  deriveMeta,
  encodeMetaPage,
  isPageferryError,
  type MetaFields,
  metaSlot,
  PageferryError,
  pageDigestBytes,
  parseMeta,
  type Segment,
  type StateHash,
} from "@pageferry/format";
import type { PageTable } from "../page-table.ts";
import { stepWalk } from "./advance.ts";
import { createMetaReader, type MetaView, type ReadAt } from "./bolt-io.ts";
import { countLeaked } from "./outcome.ts";
import { createWalk, type Walk } from "./walk.ts";

/** A state that is known in full, and where its pages can be read. */
export interface FollowedState {
  readonly view: MetaView;
  /** Its exact table. It is not changed. */
  readonly table: PageTable;
  readonly leaked: number | null;
  readonly readAt: ReadAt;
}

/** What a segment leads to, or why it leads nowhere from here. */
export type Evidence =
  | { readonly follows: true; readonly meta: MetaFields; readonly post: StateHash }
  | { readonly follows: false; readonly reason: string };

/** Runs that are read between two looks at the metas; nothing else writes here. */
const stepRuns = 64;

/** Judges a segment against a state. Nothing is written. */
export function judgeSegment(state: FollowedState, segment: Segment): Evidence {
  try {
    return judge(state, segment);
  } catch (error) {
    if (!isPageferryError(error)) throw error;
    return { follows: false, reason: error.message };
  }
}

function judge(state: FollowedState, segment: Segment): Evidence {
  const { view, table } = state;
  const { header, pages } = segment;
  const { pageSize } = view.meta;
  const refuse = (reason: string): Evidence => ({ follows: false, reason });
  if (header.parentTxId !== view.meta.txId) return refuse(`its parent is ${header.parentTxId}`);
  if (header.pageSize !== pageSize) return refuse(`its pages have ${header.pageSize} bytes`);
  const blocks = new Map<number, Uint8Array>();
  for (const page of pages) {
    for (let block = 0; block <= page.overflow; block += 1) {
      const id = Number(page.id) + block;
      if (id >= header.highWaterMark) return refuse(`page ${id} is beyond its high-water mark`);
      if (table.has(id)) return refuse(`page ${id} is in use in the state before it`);
      blocks.set(id, page.data.subarray(block * pageSize, (block + 1) * pageSize));
    }
  }
  const meta = metaOfSegment(segment, view.meta);
  // Whether the freelist is written is decided when a process opens the file; and without it little speaks for a segment.
  if ((meta.freelist === null) !== (view.meta.freelist === null)) {
    return refuse(
      meta.freelist === null ? "it holds no freelist" : "it holds a freelist, and before there was none",
    );
  }
  const walk = walkOver(state, meta, blocks);
  if (walk === undefined) return refuse("it does not lead on from the state before it");
  for (const id of blocks.keys()) {
    if (id > 1 && !walk.fresh.has(id)) return refuse(`page ${id} is not reached`);
  }
  // What it refers to is in it, or was in use before; what else lies under that number is a page of long ago.
  for (let id = walk.fresh.next(0); id >= 0; id = walk.fresh.next(id + 1)) {
    if (!blocks.has(id))
      return refuse(`page ${id} is referred to, and neither in it nor in the state before it`);
  }
  return sumUp(state, walk, meta);
}

/**
 * The meta of a segment's transaction: the page it carries, else derived from its frames. Throws `corrupt` where that is not
 * possible, or not of this transaction.
 */
export function metaOfSegment({ header, pages }: Segment, parent: MetaFields): MetaFields {
  const { txId, pageSize, highWaterMark } = header;
  const carried = pages.find(({ id }) => id === BigInt(metaSlot(txId)));
  if (carried !== undefined) {
    const meta = parseMeta(carried.data);
    const isIts = meta?.txId === txId && BigInt(meta.highWaterMark) === highWaterMark;
    if (isIts && meta.pageSize === pageSize) return meta;
    throw new PageferryError("corrupt", `transaction ${txId}: the meta page it carries is not its own`);
  }
  const derived = deriveMeta({ txId, pageSize, highWaterMark, frames: pages }, parent);
  return { ...derived, root: derived.root ?? parent.root };
}

/** The mirror as it would be with the segment in it, walked from the state before; `undefined`: it is not that state's child. */
function walkOver(
  state: FollowedState,
  meta: MetaFields,
  blocks: ReadonlyMap<number, Uint8Array>,
): Walk | undefined {
  const { pageSize } = meta;
  const slot = metaSlot(meta.txId);
  const readAt = overlaid(state.readAt, pageSize, new Map([...blocks, [slot, encodeMetaPage(meta, slot)]]));
  const file = { readAt, metas: createMetaReader(readAt, pageSize) };
  const walk = createWalk({ file, pageSize, view: state.view, base: state.table });
  for (;;) {
    const result = stepWalk(walk, stepRuns);
    if (result === "moved") continue;
    return result === "complete" && walk.view.meta.txId === meta.txId ? walk : undefined;
  }
}

function overlaid(readAt: ReadAt, pageSize: number, blocks: ReadonlyMap<number, Uint8Array>): ReadAt {
  return (position, into) => {
    let got = readAt(position, into);
    for (let at = 0; at < into.length; ) {
      const inBlock = (position + at) % pageSize;
      const length = Math.min(pageSize - inBlock, into.length - at);
      const block = blocks.get((position + at - inBlock) / pageSize);
      if (block !== undefined) {
        into.set(block.subarray(inBlock, inBlock + length), at);
        got = Math.max(got, at + length);
      }
      at += length;
    }
    return got;
  };
}

function sumUp({ table, leaked }: FollowedState, walk: Walk, meta: MetaFields): Evidence {
  const digest = new Uint8Array(pageDigestBytes);
  const sum = createStateSum(table.stateHash());
  for (const id of walk.droppedBlocks) {
    table.copyDigest(id, digest, 0);
    sum.subtract(digest, 0);
  }
  for (let id = walk.fresh.next(0); id >= 0; id = walk.fresh.next(id + 1)) {
    if (table.has(id)) return { follows: false, reason: `page ${id} was in use and is new` };
    walk.fresh.copyDigest(id, digest, 0);
    sum.add(digest, 0);
  }
  const live = table.count() - walk.droppedBlocks.length + walk.fresh.count();
  const leakedNow = countLeaked(walk, live);
  if (leaked !== null && leakedNow !== null && leakedNow !== leaked) {
    return { follows: false, reason: "free and live pages do not add up with those of the state before it" };
  }
  return { follows: true, meta, post: sum.value() };
}
