// A set of page ids as a bitmap that grows, with a summary above it so that sparse sets are walked quickly.

/** A set of page ids. One bit per page below the highest id that was ever added. */
export interface PageBits {
  has(id: number): boolean;
  /** Adds; false when it was there. */
  add(id: number): boolean;
  /** Removes; false when it was not there. */
  remove(id: number): boolean;
  /** The smallest id at or above `from`, or -1. */
  next(from: number): number;
  /** The smallest id at or above `from` that is not in `other`, or -1. A word at a time. */
  nextNotIn(other: PageBits, from: number): number;
  /** The ids from 32 `index` on, as bits. */
  word(index: number): number;
  count(): number;
  clear(): void;
  /** A copy of the bitmap of ids below `bound`: id i is bit i % 32 of word i / 32. */
  words(bound: number): Uint32Array<ArrayBuffer>;
}

/** Makes an empty set. */
export function createPageBits(): PageBits {
  let words = new Uint32Array(32);
  // Bit w of the summary: word w is not zero.
  let summary = new Uint32Array(1);
  let size = 0;

  function grow(word: number): void {
    let length = words.length * 2;
    while (length <= word) length *= 2;
    const grown = new Uint32Array(length);
    grown.set(words);
    words = grown;
    const above = new Uint32Array(length / 32);
    above.set(summary);
    summary = above;
  }

  return {
    has: (id) => ((words[id >>> 5] ?? 0) & (1 << (id & 31))) !== 0,
    add(id) {
      const word = id >>> 5;
      if (word >= words.length) grow(word);
      const value = words[word] as number;
      const bit = 1 << (id & 31);
      if ((value & bit) !== 0) return false;
      words[word] = value | bit;
      summary[word >>> 5] = (summary[word >>> 5] as number) | (1 << (word & 31));
      size += 1;
      return true;
    },
    remove(id) {
      const word = id >>> 5;
      const value = words[word] ?? 0;
      const bit = 1 << (id & 31);
      if ((value & bit) === 0) return false;
      words[word] = value & ~bit;
      if (value === bit >>> 0) summary[word >>> 5] = (summary[word >>> 5] as number) & ~(1 << (word & 31));
      size -= 1;
      return true;
    },
    next(from) {
      const word = from >>> 5;
      const rest = ((words[word] ?? 0) & (-1 << (from & 31))) >>> 0;
      if (rest !== 0) return word * 32 + lowestBit(rest);
      const found = nextWord(summary, word + 1);
      return found < 0 ? -1 : found * 32 + lowestBit(words[found] as number);
    },
    nextNotIn(other, from) {
      let word = from >>> 5;
      let bits = (words[word] ?? 0) & ~other.word(word) & (-1 << (from & 31));
      while (bits === 0) {
        word = nextWord(summary, word + 1);
        if (word < 0) return -1;
        bits = (words[word] as number) & ~other.word(word);
      }
      return word * 32 + lowestBit(bits >>> 0);
    },
    word: (index) => words[index] ?? 0,
    count: () => size,
    clear() {
      if (size > 0) {
        words.fill(0);
        summary.fill(0);
      }
      size = 0;
    },
    words(bound) {
      const copy = new Uint32Array(Math.ceil(bound / 32));
      copy.set(words.subarray(0, copy.length));
      return copy;
    },
  };
}

/** The first word at or above `from` that is not zero, by the summary; -1 if there is none. */
function nextWord(summary: Uint32Array, from: number): number {
  let group = from >>> 5;
  let bits = ((summary[group] ?? 0) & (-1 << (from & 31))) >>> 0;
  while (bits === 0) {
    group += 1;
    if (group >= summary.length) return -1;
    bits = summary[group] as number;
  }
  return group * 32 + lowestBit(bits);
}

function lowestBit(value: number): number {
  return 31 - Math.clz32(value & -value);
}
