// A set of page ids as a bitmap: 1/8 byte per page, so that a terabyte's pages fit into memory.

/** A set of page ids below a bound. */
export interface PageSet {
  /** Adds an id; false when it was there already, or is not below the bound. */
  add(id: number): boolean;
  /** False for ids that are not below the bound. */
  has(id: number): boolean;
  /** How many ids it holds. */
  count(): number;
  /** The bitmap itself, id 0 in the lowest bit of the first word. */
  readonly words: Uint32Array;
}

/** Makes an empty set for page ids below `bound`. */
export function createPageSet(bound: number): PageSet {
  const words = new Uint32Array(Math.ceil(bound / 32));
  let size = 0;
  return {
    add(id) {
      if (id < 0 || id >= bound) return false;
      const index = Math.floor(id / 32);
      const word = words[index] as number;
      const bit = 1 << (id & 31);
      if ((word & bit) !== 0) return false;
      words[index] = word | bit;
      size += 1;
      return true;
    },
    has(id) {
      return id >= 0 && id < bound && ((words[Math.floor(id / 32)] as number) & (1 << (id & 31))) !== 0;
    },
    count: () => size,
    words,
  };
}
