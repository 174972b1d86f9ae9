// XXH3-128 of one page block under its id, the summand of a state hash (docs/format.md#state-hash). The only importer of
// hash-wasm's XXH3.
import { createXXHash128 } from "hash-wasm";

/** Bytes of one page digest. */
export const pageDigestBytes = 16;

/** Hashes page blocks one at a time. */
export interface Xxh3 {
  /**
   * Writes the 16-byte big-endian XXH3-128 (seed 0) of `pageId` as u64 little-endian followed by `block` to `into` at
   * `offset`. Keeps nothing of `block`.
   */
  pageDigest(pageId: number, block: Uint8Array, into: Uint8Array, offset: number): void;
}

// One WASM instance serves everyone: a digest begins and ends inside one synchronous call.
const hasher = await createXXHash128();

/** Makes a page hasher. It is cheap, synchronous, and holds one block's worth of scratch memory. */
export function createXxh3(): Xxh3 {
  let scratch = new Uint8Array(8 + 4096);
  let view = new DataView(scratch.buffer);
  return {
    pageDigest(pageId, block, into, offset) {
      const length = 8 + block.length;
      if (scratch.length !== length) {
        scratch = new Uint8Array(length);
        view = new DataView(scratch.buffer);
      }
      view.setUint32(0, pageId >>> 0, true);
      view.setUint32(4, Math.floor(pageId / 2 ** 32), true);
      scratch.set(block, 8);
      into.set(hasher.init().update(scratch).digest("binary"), offset);
    },
  };
}
