// CRC-64 as Go's crc64.ISO computes it: reflected polynomial 0xD800000000000000, all ones before and after.
// See docs/format.md#checksums.
import { createCRC64 } from "hash-wasm";

/** A running CRC-64. */
export interface Crc64 {
  update(bytes: Uint8Array): void;
  /** The CRC of all bytes so far; more may follow. */
  digest(): bigint;
}

// One wasm instance serves all runs: a run's whole state is twelve bytes, which are put in and taken out at each call.
const engine = await createCRC64("d800000000000000");
const fresh = engine.init().save();

function engineDigest(): bigint {
  return BigInt(`0x${engine.digest()}`);
}

/** The CRC-64 of `bytes`. */
export function crc64(bytes: Uint8Array): bigint {
  engine.load(fresh);
  engine.update(bytes);
  return engineDigest();
}

/** Begins a CRC-64 over bytes that come in parts. Any number may run side by side. */
export function createCrc64(): Crc64 {
  let state = fresh;
  return {
    update(bytes) {
      engine.load(state);
      engine.update(bytes);
      state = engine.save();
    },
    digest() {
      engine.load(state);
      return engineDigest();
    },
  };
}
