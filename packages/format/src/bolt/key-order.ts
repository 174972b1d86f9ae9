// Key order: ascending inside a page, and inside the range that the branches above leave for it.
import { elementBytes, type PageHeader, pageFlagBranch, pageHeaderBytes, u32 } from "./page.ts";
import type { PathStep } from "./tree.ts";

/** A key, as a place in a run. */
interface Key {
  readonly run: Uint8Array;
  readonly start: number;
  readonly end: number;
}

/**
 * Says what is wrong with the keys of a tree page, the first fault only; undefined when they are in order. Every key is above the one before,
 * not below its own key in the parent, and below the next key of the nearest branch that has one. The run's bounds are checked already.
 */
export function keyOrderProblem(
  id: number,
  run: Uint8Array,
  header: PageHeader,
  path: readonly PathStep[],
): string | undefined {
  const { count } = header;
  if (count === 0) return undefined;
  const isBranch = header.flags === pageFlagBranch;
  let previous = keyAt(run, isBranch, 0);
  if (previous.start === previous.end) return `page ${id}: key 0 is empty`;
  const low = lowerBound(path);
  if (low !== undefined && compareKeys(previous, low) < 0) {
    return `page ${id}: its first key is below its key in page ${(path[path.length - 1] as PathStep).id}`;
  }
  for (let index = 1; index < count; index += 1) {
    const key = keyAt(run, isBranch, index);
    const order = compareKeys(previous, key);
    if (order > 0) return `page ${id}: key ${index} is below the key before it`;
    if (order === 0) return `page ${id}: key ${index} is there twice`;
    previous = key;
  }
  const high = upperBound(path);
  if (high !== undefined && compareKeys(previous, high.key) >= 0) {
    return `page ${id}: its last key is not below the next key in page ${high.page}`;
  }
  return undefined;
}

/** The page's own key in its parent; a bucket's root has none. */
function lowerBound(path: readonly PathStep[]): Key | undefined {
  const parent = path[path.length - 1];
  if (parent === undefined || parent.header.flags !== pageFlagBranch) return undefined;
  return keyAt(parent.run, true, parent.index);
}

/** The key after the path's in the nearest branch of the same bucket. */
function upperBound(path: readonly PathStep[]): { key: Key; page: number } | undefined {
  for (let depth = path.length - 1; depth >= 0; depth -= 1) {
    const step = path[depth] as PathStep;
    if (step.header.flags !== pageFlagBranch) return undefined;
    if (step.index + 1 < step.header.count)
      return { key: keyAt(step.run, true, step.index + 1), page: step.id };
  }
  return undefined;
}

function keyAt(run: Uint8Array, isBranch: boolean, index: number): Key {
  const at = pageHeaderBytes + index * elementBytes;
  const start = at + u32(run, isBranch ? at : at + 4);
  return { run, start, end: start + u32(run, isBranch ? at + 4 : at + 8) };
}

function compareKeys(left: Key, right: Key): number {
  const length = Math.min(left.end - left.start, right.end - right.start);
  for (let at = 0; at < length; at += 1) {
    const difference = (left.run[left.start + at] as number) - (right.run[right.start + at] as number);
    if (difference !== 0) return difference;
  }
  return left.end - left.start - (right.end - right.start);
}
