// Decoding zstd where the runtime has none of its own: the only importer of fzstd. It has no output limit and checks no
// checksum, so both are done here. Slower by far than zstd.ts, and never used where Node has zstd.
import { Decompress } from "fzstd";
import { createXXHash64 } from "hash-wasm";
import { PageferryError } from "./errors.ts";
import { walkFrames, type ZstdFrame, zstdChecksumBytes } from "./zstd-frames.ts";

const hasher = await createXXHash64(0, 0);

/** Decodes one data frame (`stored` is exactly that) to at most `outputBytesMax`; `too-large` or `corrupt`. */
export function fallbackDecompressFrame(stored: Uint8Array, frame: ZstdFrame, outputBytesMax: number): Uint8Array {
  const parts: Uint8Array[] = [];
  let size = 0;
  const decoder = new Decompress((part) => {
    size += part.length;
    if (size > outputBytesMax) {
      throw new PageferryError("too-large", `a frame decodes to more than the ${outputBytesMax} bytes it may have`);
    }
    // The decoder goes on writing into what it hands out.
    parts.push(part.slice());
  });
  try {
    decoder.push(stored, true);
  } catch (cause) {
    throw cause instanceof PageferryError ? cause : new PageferryError("corrupt", "zstd does not decode", { cause });
  }
  const decoded = Buffer.concat(parts);
  if (frame.hasChecksum) {
    checkContent(decoded, stored);
  }
  return decoded;
}

/** The last four bytes of a frame are the low half of its content's XXH64, little-endian. */
function checkContent(decoded: Uint8Array, stored: Uint8Array): void {
  const hash = hasher.init().update(decoded).digest("binary");
  const low = Buffer.from(hash.subarray(4)).reverse();
  if (Buffer.compare(low, stored.subarray(stored.length - zstdChecksumBytes)) !== 0) {
    throw new PageferryError("corrupt", "zstd: a frame's checksum does not hold");
  }
}

/** Decodes all frames, as `zstdDecompressSync` does; for runtimes without zstd, and for the test that compares the two. */
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
