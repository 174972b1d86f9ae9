// The changed path of a commit without a freelist on disk: the runs that are live in it and were not in the state before, read
// while its meta was the newest. What is in it is proved; that nothing is missing is likely, and nobody relies on it.
// docs/capture.md#links says why that is enough. Nothing is allocated: garbage is collected in pauses that miss commits.
import { type PageLimits, visitReferences } from "@pageferry/format";
import { createPageBits } from "../page-bits.ts";
import { isSameMeta, type MetaView } from "./bolt-io.ts";
import type { BoltReads } from "./freelist-proof.ts";

/** Longer paths are cut: leaves come last, and a leaf that is missing is read later like any other. */
const pathBytesMax = 1024 * 1024;
/** Runs that are read between two looks at the metas. */
const sliceRuns = 32;
/** Runs of the state before that are read in order to know what was there already. */
const oldRunsMax = 512;
/** References on one level; what is over is left out. */
const levelMax = 16 * 1024;

/** Proves paths of one file, one after the other. */
export interface PathProver {
  /**
   * The runs of the path from `before` to `view`, side by side, branches before leaves; valid until the next call. Undefined: it
   * was overtaken before anything was proved.
   */
  prove(view: MetaView, before: MetaView): Uint8Array | undefined;
}

/**
 * Makes a prover. It reads both trees level by level, and not below what both refer to. Of the old tree nothing is proved: what T+2
 * has written over it only makes the path longer or shorter than it is.
 */
export function createPathProver(reads: BoltReads, pageSize: number): PathProver {
  const memory = createRunMemory(reads, pageSize);
  const [oldTree, tree] = [createLevels(), createLevels()];
  let limits: PageLimits = { pageSize, highWaterMark: 0 };
  let length = 0;

  /** Reads a level of the old tree, behind what is proved. */
  function readOld(runs: number): number {
    let read = 0;
    for (let index = 0; index < oldTree.count() && runs + read < oldRunsMax; index += 1) {
      const id = oldTree.id(index);
      if (tree.hasMet(id)) continue;
      read += 1;
      const bytes = memory.read(id, length, limits.highWaterMark);
      if (bytes > 0) visitReferences(memory.view, length, bytes, limits, oldTree.meet);
    }
    oldTree.descend();
    return read;
  }

  /** Reads a level of the new tree and proves it slice by slice. False: it was overtaken, or there is no more. */
  function readNew(view: MetaView): boolean {
    tree.sort();
    for (let from = 0; from < tree.count() && length < pathBytesMax; from += sliceRuns) {
      let end = length;
      for (let index = from; index < Math.min(tree.count(), from + sliceRuns); index += 1) {
        const id = tree.id(index);
        const bytes = oldTree.hasMet(id) ? 0 : memory.read(id, end, limits.highWaterMark);
        if (bytes > 0) visitReferences(memory.view, end, bytes, limits, tree.meet);
        end += bytes;
      }
      const seen = reads.metas.read();
      if (seen === undefined || !isSameMeta(seen, view)) return false;
      length = end;
    }
    tree.descend();
    return tree.count() > 0 && length < pathBytesMax;
  }

  return {
    prove(view, before) {
      length = 0;
      limits = view.meta;
      oldTree.begin(before.meta.root);
      tree.begin(view.meta.root);
      if (view.meta.root === before.meta.root) return memory.upTo(0);
      let oldRuns = 0;
      do {
        // The old tree first: T+2 may overwrite what T+1 freed, but not yet what T+1 wrote.
        oldRuns += readOld(oldRuns);
      } while (readNew(view));
      return length === 0 ? undefined : memory.upTo(length);
    },
  };
}

/** Room for runs side by side, and a view of each of its blocks. */
function createRunMemory({ readAt }: BoltReads, pageSize: number) {
  // The last run begins below the bound, and a slice may follow it before it is seen that there is no room.
  const memory = new Uint8Array(2 * pathBytesMax);
  const view = new DataView(memory.buffer);
  const blocks: Uint8Array[] = [];
  for (let at = 0; at + pageSize <= memory.length; at += pageSize)
    blocks.push(memory.subarray(at, at + pageSize));
  return {
    view,
    upTo: (end: number) => memory.subarray(0, end),
    /** Reads the run at a head to `at`. Answers its length; 0 where it is not whole, too long, or another's. */
    read(id: number, at: number, highWaterMark: number): number {
      const block = blocks[at / pageSize];
      if (block === undefined || readAt(id * pageSize, block) < pageSize) return 0;
      if (view.getUint32(at, true) !== id || view.getUint32(at + 4, true) !== 0) return 0;
      const overflow = view.getUint32(at + 12, true);
      if (overflow === 0) return pageSize;
      const bytes = (overflow + 1) * pageSize;
      if (id + overflow >= highWaterMark || at + bytes > memory.length) return 0;
      const got = readAt(id * pageSize, memory.subarray(at, at + bytes));
      // Its head was read twice: if it says something else now, it is torn.
      return got === bytes && view.getUint32(at + 12, true) === overflow ? bytes : 0;
    },
  };
}

/** A tree that is read level by level: the ids of this level, and of the next as they are met. */
function createLevels() {
  const met = createPageBits();
  let [now, next] = [new Uint32Array(levelMax), new Uint32Array(levelMax)];
  let [nowCount, nextCount] = [0, 0];
  return {
    begin(root: number): void {
      met.clear();
      met.add(root);
      now[0] = root;
      [nowCount, nextCount] = [1, 0];
    },
    count: () => nowCount,
    id: (index: number) => now[index] as number,
    hasMet: (id: number) => met.has(id),
    meet(id: number): void {
      if (!met.add(id) || nextCount === levelMax) return;
      next[nextCount] = id;
      nextCount += 1;
    },
    descend(): void {
      [now, next] = [next, now];
      [nowCount, nextCount] = [nextCount, 0];
    },
    sort(): void {
      now.subarray(0, nowCount).sort();
    },
  };
}
