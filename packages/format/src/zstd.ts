// zstd by node:zlib, with every frame walked, bounded before it is decoded, and checksummed when written.
// Where the runtime has no zstd of its own, zstd-fallback.ts decodes instead. See docs/format.md#zstd.
import zlib from "node:zlib";
import type { CompressionSettings } from "./config-compression.ts";
import { PageferryError } from "./errors.ts";
import { fallbackDecompressFrame } from "./zstd-fallback.ts";
import { walkFrames, type ZstdFrame } from "./zstd-frames.ts";

/** How far a decoder may go. */
export interface ZstdDecompressOptions {
  /** More decoded bytes than this are `too-large`; they are refused by the frames' own heads before work begins. */
  readonly outputBytesMax: number;
  /** Begins each message. */
  readonly what?: string;
}

const constants = zlib.constants;
/** Whether the runtime has zstd of its own. */
export const hasNativeZstd: boolean = typeof zlib.zstdCompressSync === "function";

/** Frames of one buffer that are decoded at a time: libuv has four threads unless told otherwise. */
const framesAtOnce = 4;

/** A decoder is given this much more room than it needs, and so sees the end without a second output buffer. */
const slackBytes = 64;

/** Levels above are zstd's "ultra": hundreds of MB of memory for a percent. Go's `best` stands near 11. */
const nodeLevelMax = 19;

/** The level given to Node for the level that a header holds; 0, the codec's default, is 3. */
export function nodeZstdLevel(settings: Pick<CompressionSettings, "level">): number {
  return settings.level === 0 ? 3 : Math.min(settings.level, nodeLevelMax);
}

function compressOptions(bytes: Uint8Array, level: number): zlib.ZstdOptions {
  if (!hasNativeZstd) {
    throw new PageferryError(
      "bad-config",
      "this runtime cannot compress with zstd; configure compression: none",
    );
  }
  return {
    params: { [constants.ZSTD_c_compressionLevel]: level, [constants.ZSTD_c_checksumFlag]: 1 },
    chunkSize: compressedBytesMax(bytes.length),
    // Puts the content's size into the frame's head also when compressing on another thread, which decoders rely on.
    pledgedSrcSize: bytes.length,
  };
}

/** zstd's own bound for one frame, so that one output buffer always suffices. */
function compressedBytesMax(length: number): number {
  return length + (length >> 8) + 1024;
}

/** Compresses to one frame with its checksum, on this thread. Empty input gives empty output, as in Go. */
export function zstdCompressSync(bytes: Uint8Array, level: number): Uint8Array {
  return bytes.length === 0 ? bytes : zlib.zstdCompressSync(bytes, compressOptions(bytes, level));
}

/** Compresses to one frame with its checksum, on a libuv thread; `bytes` must not change meanwhile. */
export async function zstdCompress(bytes: Uint8Array, level: number): Promise<Uint8Array> {
  if (bytes.length === 0) {
    return bytes;
  }
  const options = compressOptions(bytes, level);
  return new Promise((resolve, reject) => {
    zlib.zstdCompress(bytes, options, (error, result) => (error === null ? resolve(result) : reject(error)));
  });
}

/** Frames that hold data, after all bounds were checked. */
function dataFrames(bytes: Uint8Array, options: ZstdDecompressOptions): ZstdFrame[] {
  const frames: ZstdFrame[] = [];
  let knownBytes = 0;
  for (const frame of walkFrames(bytes, options.what ?? "payload")) {
    if (frame.kind === "data") {
      frames.push(frame);
      knownBytes += frame.contentBytes ?? 0;
      if (knownBytes > options.outputBytesMax) {
        throw tooLarge(options);
      }
    }
  }
  return frames;
}

function tooLarge(options: ZstdDecompressOptions): PageferryError {
  return new PageferryError(
    "too-large",
    `${options.what ?? "payload"}: decodes to more than the ${options.outputBytesMax} bytes it may have`,
  );
}

function decompressOptions(frame: ZstdFrame, outputBytesMax: number): zlib.ZstdOptions {
  const expected = Math.min(frame.decodedBytesMax, outputBytesMax);
  return { chunkSize: Math.max(expected, 0) + slackBytes, maxOutputLength: Math.max(outputBytesMax, 1) };
}

/** What the decoders throw, as `corrupt` or `too-large`; errors that are not theirs pass through. */
export function translateZstdError(cause: unknown, options: ZstdDecompressOptions): unknown {
  const { code } = (cause ?? {}) as { readonly code?: unknown };
  if (
    cause instanceof PageferryError ||
    typeof code !== "string" ||
    !/^(Z_|ZSTD_|ERR_BUFFER_TOO_LARGE)/.test(code)
  ) {
    return cause;
  }
  return code === "ERR_BUFFER_TOO_LARGE"
    ? tooLarge(options)
    : new PageferryError("corrupt", `${options.what ?? "payload"}: zstd does not decode (${code})`, {
        cause,
      });
}

function checkFrame(decoded: Uint8Array, frame: ZstdFrame, options: ZstdDecompressOptions): Uint8Array {
  if (frame.contentBytes !== undefined && decoded.length !== frame.contentBytes) {
    throw new PageferryError(
      "corrupt",
      `${options.what ?? "payload"}: a frame decodes to ${decoded.length} bytes, its head says ${frame.contentBytes}`,
    );
  }
  return decoded;
}

function decompressFrameSync(
  bytes: Uint8Array,
  frame: ZstdFrame,
  left: number,
  options: ZstdDecompressOptions,
): Uint8Array {
  const stored = bytes.subarray(frame.start, frame.end);
  try {
    const decoded = hasNativeZstd
      ? zlib.zstdDecompressSync(stored, decompressOptions(frame, left))
      : fallbackDecompressFrame(stored, frame, left);
    return checkFrame(decoded, frame, options);
  } catch (cause) {
    throw translateZstdError(cause, options);
  }
}

/** Decodes one data frame on a libuv thread, to at most `left` bytes. */
export async function decodeZstdFrame(
  bytes: Uint8Array,
  frame: ZstdFrame,
  left: number,
  options: ZstdDecompressOptions,
): Promise<Uint8Array> {
  if (!hasNativeZstd) {
    return decompressFrameSync(bytes, frame, left, options);
  }
  const stored = bytes.subarray(frame.start, frame.end);
  const decoded = await new Promise<Uint8Array>((resolve, reject) => {
    zlib.zstdDecompress(stored, decompressOptions(frame, left), (error, result) =>
      error === null ? resolve(result) : reject(translateZstdError(error, options)),
    );
  });
  return checkFrame(decoded, frame, options);
}

function join(parts: readonly Uint8Array[]): Uint8Array {
  return parts.length === 1 && parts[0] !== undefined ? parts[0] : Buffer.concat(parts);
}

/**
 * Decompresses all frames of `bytes` on this thread; skippable ones give nothing. Errors: `corrupt` (also a checksum),
 * `too-large`. The result may be larger memory's view.
 */
export function zstdDecompressSync(bytes: Uint8Array, options: ZstdDecompressOptions): Uint8Array {
  let left = options.outputBytesMax;
  const parts = dataFrames(bytes, options).map((frame) => {
    const decoded = decompressFrameSync(bytes, frame, left, options);
    left -= decoded.length;
    if (left < 0) {
      throw tooLarge(options);
    }
    return decoded;
  });
  return join(parts);
}

/** As `zstdDecompressSync`, on libuv threads, several frames at a time; `bytes` must not change meanwhile. */
export async function zstdDecompress(bytes: Uint8Array, options: ZstdDecompressOptions): Promise<Uint8Array> {
  const frames = dataFrames(bytes, options);
  const parts: Uint8Array[] = [];
  let left = options.outputBytesMax;
  for (let first = 0; first < frames.length; first += framesAtOnce) {
    const now = frames.slice(first, first + framesAtOnce);
    for (const decoded of await Promise.all(
      now.map((frame) => decodeZstdFrame(bytes, frame, left, options)),
    )) {
      left -= decoded.length;
      parts.push(decoded);
    }
    if (left < 0) {
      throw tooLarge(options);
    }
  }
  return join(parts);
}
