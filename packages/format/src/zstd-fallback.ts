// Decoding zstd where the runtime has none of its own: the only importer of fzstd. It has no output limit and checks no
// checksum, so both are done here. Slower by far than zstd.ts, and never used where Node has zstd.
import { Decompress } from "fzstd";
import { createXXHash64 } from "hash-wasm";
import { PageferryError } from "./errors.ts";
import { walkFrames, type ZstdFrameHead, zstdChecksumBytes } from "./zstd-frames.ts";

const hasher = await createXXHash64(0, 0);
const fresh = hasher.init().save();

/** Decodes one data frame from its parts. */
export interface FallbackDecoder {
  /** Takes the next part and gives what it decodes to; `corrupt` or `too-large`. */
  push(part: Uint8Array): Uint8Array[];
  /** Must be called after the last part; `corrupt` where the content's checksum does not hold. */
  end(): Uint8Array[];
}

/** Begins a frame that may decode to at most `outputBytesMax`. */
export function createFallbackDecoder(frame: ZstdFrameHead, outputBytesMax: number): FallbackDecoder {
  let parts: Uint8Array[] = [];
  let size = 0;
  let state = fresh;
  let tail: Uint8Array = new Uint8Array(0);
  const decoder = new Decompress((part) => {
    size += part.length;
    if (size > outputBytesMax) {
      throw new PageferryError(
        "too-large",
        `a frame decodes to more than the ${outputBytesMax} bytes it may have`,
      );
    }
    hasher.load(state);
    hasher.update(part);
    state = hasher.save();
    // The decoder goes on writing into what it hands out.
    parts.push(part.slice());
  });
  const step = (part: Uint8Array, isLast: boolean): Uint8Array[] => {
    parts = [];
    try {
      decoder.push(part, isLast);
    } catch (cause) {
      throw cause instanceof PageferryError
        ? cause
        : new PageferryError("corrupt", "zstd does not decode", { cause });
    }
    return parts;
  };
  return {
    push(part) {
      tail = Buffer.concat([tail, part.subarray(-zstdChecksumBytes)]).subarray(-zstdChecksumBytes);
      return step(part, false);
    },
    end() {
      const rest = step(new Uint8Array(0), true);
      hasher.load(state);
      // A frame ends with the low half of its content's XXH64, little-endian; the digest is big-endian.
      const low = Buffer.from(hasher.digest("binary").subarray(zstdChecksumBytes)).reverse();
      if (frame.hasChecksum && Buffer.compare(low, tail) !== 0) {
        throw new PageferryError("corrupt", "zstd: a frame's checksum does not hold");
      }
      return rest;
    },
  };
}

/** Decodes one data frame (`stored` is exactly that) to at most `outputBytesMax`; `too-large` or `corrupt`. */
export function fallbackDecompressFrame(
  stored: Uint8Array,
  frame: ZstdFrameHead,
  outputBytesMax: number,
): Uint8Array {
  const decoder = createFallbackDecoder(frame, outputBytesMax);
  return Buffer.concat([...decoder.push(stored), ...decoder.end()]);
}

/** Decodes all frames, as `zstdDecompressSync` does; for the test that compares the two. */
export function fallbackDecompress(bytes: Uint8Array, outputBytesMax: number): Uint8Array {
  const parts: Uint8Array[] = [];
  let left = outputBytesMax;
  for (const frame of walkFrames(bytes, "payload")) {
    if (frame.kind === "data") {
      const decoded = fallbackDecompressFrame(bytes.subarray(frame.start, frame.end), frame, left);
      left -= decoded.length;
      parts.push(decoded);
    }
  }
  return Buffer.concat(parts);
}
