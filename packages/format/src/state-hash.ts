// The state hash: a 128-bit sum of page digests over the live pages of one transaction, so that it moves with single pages.
// docs/format.md#state-hash is the truth; xxh3.ts makes the digests.
import { PageferryError } from "./errors.ts";

/** A sum of page digests modulo 2^128. Equal hashes mean equal live pages, short of malice. */
export type StateHash = bigint;

/** A running state hash. Adding and subtracting commute, so pages may come and go in any order. */
export interface StateSum {
  /** Adds the 16-byte big-endian digest at `offset` of `digests`. */
  add(digests: Uint8Array, offset: number): void;
  /** Takes the 16-byte big-endian digest at `offset` of `digests` away. */
  subtract(digests: Uint8Array, offset: number): void;
  /** The sum so far. */
  value(): StateHash;
}

const modulus = 1n << 128n;

/** A lane holds at most this many u32 summands before it is folded: 2^20 * 2^32 stays exact in a double (2^53). */
const summandsMax = 2 ** 20;

/** Begins a sum, at zero or at a state hash that is already known. */
export function createStateSum(initial: StateHash = 0n): StateSum {
  let folded = BigInt.asUintN(128, initial);
  let summands = 0;
  // Four u32 lanes, most significant first, kept as exact doubles: no BigInt is made per page.
  let lane0 = 0;
  let lane1 = 0;
  let lane2 = 0;
  let lane3 = 0;

  function fold(): void {
    const sum = (BigInt(lane0) << 96n) + (BigInt(lane1) << 64n) + (BigInt(lane2) << 32n) + BigInt(lane3);
    folded = BigInt.asUintN(128, folded + sum);
    lane0 = lane1 = lane2 = lane3 = summands = 0;
  }

  function move(digests: Uint8Array, offset: number, sign: 1 | -1): void {
    if (offset < 0 || offset + 16 > digests.length) {
      throw new RangeError(`digest at ${offset} is outside of ${digests.length} bytes`);
    }
    lane0 += sign * u32(digests, offset);
    lane1 += sign * u32(digests, offset + 4);
    lane2 += sign * u32(digests, offset + 8);
    lane3 += sign * u32(digests, offset + 12);
    summands += 1;
    if (summands === summandsMax) fold();
  }

  return {
    add: (digests, offset) => move(digests, offset, 1),
    subtract: (digests, offset) => move(digests, offset, -1),
    value() {
      fold();
      return folded;
    },
  };
}

/** Writes a state hash as 32 lower-case hex digits. */
export function formatStateHash(hash: StateHash): string {
  if (hash < 0n || hash >= modulus) throw new RangeError(`state hash ${hash} is outside of 128 bits`);
  return hash.toString(16).padStart(32, "0");
}

/** Reads 32 lower-case hex digits. Throws `corrupt` for another text. */
export function parseStateHash(text: string): StateHash {
  if (!/^[0-9a-f]{32}$/.test(text)) {
    throw new PageferryError(
      "corrupt",
      `state hash ${JSON.stringify(text)}: expected 32 lower-case hex digits`,
    );
  }
  return BigInt(`0x${text}`);
}

function u32(bytes: Uint8Array, at: number): number {
  return (
    (((bytes[at] as number) << 24) |
      ((bytes[at + 1] as number) << 16) |
      ((bytes[at + 2] as number) << 8) |
      (bytes[at + 3] as number)) >>>
    0
  );
}
