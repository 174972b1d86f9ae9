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
  /** Gives the memory of an empty set back. */
  release(): void;
  /** A copy of the bitmap of ids below `bound`: id i is bit i % 32 of word i / 32. */
  words(bound: number): Uint32Array<ArrayBuffer>;
}

/** Makes an empty set. */
export function createPageBits(): PageBits {
  return new Bits();
}

const none = new Uint32Array(0);
const wordsMin = 32;

// A class, because a thousand idle databases have five each: functions of their own would be most of their memory.
class Bits implements PageBits {
  #words = none;
  /** Bit w: word w is not zero. */
  #summary = none;
  #size = 0;

  has(id: number): boolean {
    return ((this.#words[id >>> 5] ?? 0) & (1 << (id & 31))) !== 0;
  }

  add(id: number): boolean {
    const word = id >>> 5;
    if (word >= this.#words.length) this.#grow(word);
    const value = this.#words[word] as number;
    const bit = 1 << (id & 31);
    if ((value & bit) !== 0) return false;
    this.#words[word] = value | bit;
    this.#summary[word >>> 5] = (this.#summary[word >>> 5] as number) | (1 << (word & 31));
    this.#size += 1;
    return true;
  }

  remove(id: number): boolean {
    const word = id >>> 5;
    const value = this.#words[word] ?? 0;
    const bit = 1 << (id & 31);
    if ((value & bit) === 0) return false;
    this.#words[word] = value & ~bit;
    if (value === bit >>> 0) {
      this.#summary[word >>> 5] = (this.#summary[word >>> 5] as number) & ~(1 << (word & 31));
    }
    this.#size -= 1;
    return true;
  }

  next(from: number): number {
    const word = from >>> 5;
    const rest = ((this.#words[word] ?? 0) & (-1 << (from & 31))) >>> 0;
    if (rest !== 0) return word * 32 + lowestBit(rest);
    const found = nextWord(this.#summary, word + 1);
    return found < 0 ? -1 : found * 32 + lowestBit(this.#words[found] as number);
  }

  nextNotIn(other: PageBits, from: number): number {
    let word = from >>> 5;
    let bits = (this.#words[word] ?? 0) & ~other.word(word) & (-1 << (from & 31));
    while (bits === 0) {
      word = nextWord(this.#summary, word + 1);
      if (word < 0) return -1;
      bits = (this.#words[word] as number) & ~other.word(word);
    }
    return word * 32 + lowestBit(bits >>> 0);
  }

  word(index: number): number {
    return this.#words[index] ?? 0;
  }

  count(): number {
    return this.#size;
  }

  clear(): void {
    if (this.#size > 0) {
      this.#words.fill(0);
      this.#summary.fill(0);
    }
    this.#size = 0;
  }

  release(): void {
    if (this.#size > 0) return;
    this.#words = none;
    this.#summary = none;
  }

  words(bound: number): Uint32Array<ArrayBuffer> {
    const copy = new Uint32Array(Math.ceil(bound / 32));
    copy.set(this.#words.subarray(0, copy.length));
    return copy;
  }

  #grow(word: number): void {
    let length = Math.max(wordsMin, this.#words.length * 2);
    while (length <= word) length *= 2;
    const words = new Uint32Array(length);
    words.set(this.#words);
    this.#words = words;
    const summary = new Uint32Array(length / 32);
    summary.set(this.#summary);
    this.#summary = summary;
  }
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
