// Where zstd frames begin and end, read from their own headers without decompressing (RFC 8878, section 3.1).
// Decoders read one frame per call or all of them, depending on their version: the walk decides it for all. See docs/format.md#zstd.
import { PageferryError } from "./errors.ts";
import { zstdWindowLogMax } from "./limits.ts";

/** A data frame or a skippable one, with what its head tells. */
export interface ZstdFrameHead {
  readonly kind: "data" | "skippable";
  /** The magic number, which for skippable frames says what they hold. */
  readonly magic: number;
  /** Bytes before the first block, or before a skippable frame's content. */
  readonly headBytes: number;
  /** Decoded bytes of a data frame where its head tells; stored bytes of a skippable one's content. */
  readonly contentBytes: number | undefined;
  /** The most one block can decode to. */
  readonly blockBytesMax: number;
  readonly hasChecksum: boolean;
}

/** A frame in a buffer. */
export interface ZstdFrame extends ZstdFrameHead {
  readonly start: number;
  readonly end: number;
  /** Decoded bytes: exact where the head tells, else the most its blocks can give. */
  readonly decodedBytesMax: number;
}

/** What a block head tells. */
export interface ZstdBlockHead {
  readonly isLast: boolean;
  /** Stored bytes that follow the head. */
  readonly storedBytes: number;
  /** The most it decodes to. */
  readonly decodedBytesMax: number;
}

/** The magic number of data frames. */
export const zstdMagic = 0xfd2fb528;

/** The longest head of a data frame: magic, descriptor, window, dictionary id and content size. */
export const zstdFrameHeadBytesMax = 18;

/** Bytes of a block's head. */
export const zstdBlockHeadBytes = 3;

/** Bytes of the content checksum behind the last block. */
export const zstdChecksumBytes = 4;

const blockBytesMax = 128 * 1024;

function corrupt(what: string, at: number, why: string): PageferryError {
  return new PageferryError("corrupt", `${what}: zstd at byte ${at}: ${why}`);
}

/** Whether a magic number is one of the sixteen of skippable frames. */
export function isSkippableMagic(magic: number): boolean {
  return (magic & 0xffff_fff0) >>> 0 === 0x184d_2a50;
}

/** Reads the head of the frame at `at`; `undefined` when more bytes are needed, 18 being always enough. */
export function readFrameHead(bytes: Uint8Array, at: number, what: string): ZstdFrameHead | undefined {
  const left = bytes.length - at;
  if (left < 5) {
    return undefined;
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, left);
  const magic = view.getUint32(0, true);
  if (isSkippableMagic(magic)) {
    return left < 8
      ? undefined
      : {
          kind: "skippable",
          magic,
          headBytes: 8,
          contentBytes: view.getUint32(4, true),
          blockBytesMax: 0,
          hasChecksum: false,
        };
  }
  if (magic !== zstdMagic) {
    throw corrupt(what, at, `0x${magic.toString(16)} begins no frame`);
  }
  return readDataFrameHead(view, at, what);
}

function readDataFrameHead(view: DataView, at: number, what: string): ZstdFrameHead | undefined {
  const descriptor = view.getUint8(4);
  const isSingleSegment = (descriptor & 0x20) !== 0;
  const sizeFlag = descriptor >> 6;
  const sizeBytes = sizeFlag === 0 ? (isSingleSegment ? 1 : 0) : 1 << sizeFlag;
  if ((descriptor & 0x08) !== 0 || (descriptor & 0x03) !== 0) {
    throw corrupt(what, at, "a reserved bit is set, or a dictionary is asked for");
  }
  const headBytes = 5 + (isSingleSegment ? 0 : 1) + sizeBytes;
  if (view.byteLength < headBytes) {
    return undefined;
  }
  const contentBytes = readContentSize(view, headBytes - sizeBytes, sizeBytes);
  const windowBytes = isSingleSegment ? (contentBytes ?? 0) : windowSize(view.getUint8(5));
  if (!isSingleSegment && windowBytes > 2 ** zstdWindowLogMax) {
    throw new PageferryError(
      "too-large",
      `${what}: zstd at byte ${at}: a window of ${windowBytes} bytes, at most 2^${zstdWindowLogMax} are used`,
    );
  }
  return {
    kind: "data",
    magic: zstdMagic,
    headBytes,
    contentBytes,
    blockBytesMax: Math.min(blockBytesMax, windowBytes),
    hasChecksum: (descriptor & 0x04) !== 0,
  };
}

function readContentSize(view: DataView, at: number, width: number): number | undefined {
  switch (width) {
    case 0:
      return undefined;
    case 1:
      return view.getUint8(at);
    case 2:
      return view.getUint16(at, true) + 256;
    case 4:
      return view.getUint32(at, true);
    default:
      return view.getUint32(at + 4, true) * 2 ** 32 + view.getUint32(at, true);
  }
}

function windowSize(descriptor: number): number {
  const base = 2 ** (10 + (descriptor >> 3));
  return base + (base / 8) * (descriptor & 7);
}

/** Reads the three bytes of a block head at `at`. `frame` bounds what the block may decode to. */
export function readBlockHead(
  bytes: Uint8Array,
  at: number,
  frame: ZstdFrameHead,
  what: string,
): ZstdBlockHead {
  const head = (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8) | ((bytes[at + 2] ?? 0) << 16);
  const type = (head >> 1) & 3;
  const size = head >> 3;
  if (type === 3 || size > blockBytesMax) {
    throw corrupt(what, at, `a block of type ${type} and ${size} bytes`);
  }
  const isRunLength = type === 1;
  return {
    isLast: (head & 1) === 1,
    storedBytes: isRunLength ? 1 : size,
    decodedBytesMax: type === 2 ? frame.blockBytesMax : size,
  };
}

/** Walks all frames of `bytes`, to its last byte. Anything that is not a whole frame is `corrupt`. */
export function* walkFrames(bytes: Uint8Array, what: string): Generator<ZstdFrame> {
  let start = 0;
  while (start < bytes.length) {
    const head = readFrameHead(bytes, start, what);
    if (head === undefined) {
      throw corrupt(what, start, "cut in a frame's head");
    }
    const frame = head.kind === "skippable" ? skippableEnd(head, start) : dataEnd(bytes, head, start, what);
    if (frame.end > bytes.length) {
      throw corrupt(what, start, `a frame needs ${frame.end - bytes.length} bytes more than there are`);
    }
    yield frame;
    start = frame.end;
  }
}

function skippableEnd(head: ZstdFrameHead, start: number): ZstdFrame {
  return { ...head, start, end: start + head.headBytes + (head.contentBytes ?? 0), decodedBytesMax: 0 };
}

function dataEnd(bytes: Uint8Array, head: ZstdFrameHead, start: number, what: string): ZstdFrame {
  let at = start + head.headBytes;
  let blocksBytesMax = 0;
  let isLast = false;
  while (!isLast && at + zstdBlockHeadBytes <= bytes.length) {
    const block = readBlockHead(bytes, at, head, what);
    at += zstdBlockHeadBytes + block.storedBytes;
    blocksBytesMax += block.decodedBytesMax;
    isLast = block.isLast;
  }
  if (!isLast) {
    throw corrupt(what, start, "cut before a frame's last block");
  }
  if (head.contentBytes !== undefined && head.contentBytes > blocksBytesMax) {
    throw corrupt(
      what,
      start,
      `a frame says ${head.contentBytes} bytes, its blocks give at most ${blocksBytesMax}`,
    );
  }
  const end = at + (head.hasChecksum ? zstdChecksumBytes : 0);
  return { ...head, start, end, decodedBytesMax: head.contentBytes ?? blocksBytesMax };
}
