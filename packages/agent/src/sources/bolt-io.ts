// Plain reads of a bolt file that somebody else writes: blocks, and which meta is the newest. What a read proves is argued
// in docs/capture.md#seqlock.
import { type Meta, metaBytes, parseMeta } from "@pageferry/format";

/** Fills `into` from `position` of the file; answers how many bytes there were. Short only at the end of the file. */
export type ReadAt = (position: number, into: Uint8Array) => number;

/** One look at both metas. */
export interface MetaView {
  /** The newest valid one. */
  readonly meta: Meta;
  /** Its first 80 bytes, a copy. */
  readonly raw: Uint8Array;
  /** The other slot's first 80 bytes, a copy, and what they say; undefined where torn or not a meta. */
  readonly otherRaw: Uint8Array;
  readonly other: Meta | undefined;
}

/** Looks at the metas. */
export interface MetaReader {
  /**
   * The newest valid meta: whatever is read from the file before this call and whatever was newest then still holds if the
   * answer is the same. Undefined: neither slot is valid, or they move too fast to tell. The same object while nothing changes.
   */
  read(): MetaView | undefined;
}

/** A slot that is torn makes one look insufficient; after this many looks we call the metas unreadable for now. */
const looksMax = 8;

/** Makes a reader of the metas of a file whose page size is known. */
export function createMetaReader(readAt: ReadAt, pageSize: number): MetaReader {
  const blocks: [Uint8Array, Uint8Array] = [new Uint8Array(metaBytes), new Uint8Array(metaBytes)];
  const seen: [Uint8Array, Uint8Array] = [new Uint8Array(metaBytes), new Uint8Array(metaBytes)];
  let last: MetaView | undefined;
  let isCached = false;

  function look(slot: 0 | 1): void {
    const block = blocks[slot];
    const length = readAt(slot * pageSize, block);
    if (length < metaBytes) block.fill(0, Math.max(0, length));
  }

  function parse(slot: 0 | 1): Meta | undefined {
    const meta = parseMeta(blocks[slot]);
    return meta?.pageSize === pageSize ? meta : undefined;
  }

  return {
    read() {
      for (let looks = 0; looks < looksMax; looks += 1) {
        look(0);
        look(1);
        if (isCached && equalBytes(blocks[0], seen[0]) && equalBytes(blocks[1], seen[1])) return last;
        const meta0 = parse(0);
        const meta1 = parse(1);
        if (meta0 === undefined && meta1 === undefined) continue;
        if (meta0 === undefined || meta1 === undefined) {
          // One slot is torn. While it was being written the valid one was final; if the valid one was read before, it may
          // have been followed by two commits, the second of which we saw torn. So it is read again, after the torn one.
          const slot = meta0 === undefined ? 1 : 0;
          const before = blocks[slot].slice();
          look(slot);
          if (!equalBytes(before, blocks[slot])) continue;
        }
        last = viewOf(blocks, meta0, meta1);
        // A torn slot is never cached: it must be looked at again, with the rule above.
        isCached = meta0 !== undefined && meta1 !== undefined;
        seen[0].set(blocks[0]);
        seen[1].set(blocks[1]);
        return last;
      }
      return undefined;
    },
  };
}

/** Whether two looks saw the same newest meta. */
export function isSameMeta(a: MetaView, b: MetaView): boolean {
  return a === b || equalBytes(a.raw, b.raw);
}

/** Whether two byte strings of the same length are equal. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  for (let at = 0; at < a.length; at += 1) {
    if (a[at] !== b[at]) return false;
  }
  return true;
}

function viewOf(
  blocks: readonly [Uint8Array, Uint8Array],
  meta0: Meta | undefined,
  meta1: Meta | undefined,
): MetaView {
  const isSecond = meta1 !== undefined && (meta0 === undefined || meta1.txId > meta0.txId);
  const meta = isSecond ? meta1 : (meta0 as Meta);
  return {
    meta,
    raw: blocks[isSecond ? 1 : 0].slice(),
    otherRaw: blocks[isSecond ? 0 : 1].slice(),
    other: isSecond ? meta0 : meta1,
  };
}
