// A segment file that another process may be writing: os.WriteFile truncates, writes, and neither renames nor fsyncs. It counts
// when it is one whole CBOR item whose checksum holds; until then it is looked at again whenever it changed.
import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";
import { decodeSegment, isPageferryError, type Segment, segmentBytesMax, type TxId } from "@pageferry/format";

/** A segment file as it was found. */
export type FoundSegment =
  | { readonly kind: "absent" }
  /** Cut short, or not a segment of this transaction; a writer may still be at it. `ageMs` since it was last written. */
  | { readonly kind: "unfinished"; readonly ageMs: number; readonly reason: string }
  | { readonly kind: "whole"; readonly segment: Segment; readonly stampMs: number; readonly ageMs: number };

/** Reads segment files; of those that did not count it remembers how they looked, so that they are not read again for nothing. */
export interface SegmentFiles {
  read(path: string, id: TxId): FoundSegment;
}

interface Rejected {
  readonly looks: string;
  readonly reason: string;
}

/** Files that are remembered at most; one that is forgotten is only read once more. */
const rejectedMax = 1000;

/** Makes a reader of segment files. */
export function createSegmentFiles(now: () => number = Date.now): SegmentFiles {
  const rejected = new Map<string, Rejected>();
  return {
    read(path, id) {
      const fd = openFile(path);
      if (typeof fd === "string") return { kind: "unfinished", ageMs: 0, reason: fd };
      if (fd === undefined) return { kind: "absent" };
      try {
        const stats = fstatSync(fd, { bigint: true });
        const ageMs = now() - Number(stats.mtimeMs);
        const looks = `${stats.ino} ${stats.size} ${stats.mtimeNs}`;
        const before = rejected.get(path);
        if (before?.looks === looks) return { kind: "unfinished", ageMs, reason: before.reason };
        const refuse = (reason: string): FoundSegment => {
          if (rejected.size >= rejectedMax) rejected.clear();
          rejected.set(path, { looks, reason });
          return { kind: "unfinished", ageMs, reason };
        };
        if (!stats.isFile()) return refuse("it is not a file");
        if (stats.size > BigInt(segmentBytesMax)) return refuse(`it has ${stats.size} bytes`);
        const segment = decode(readAll(fd, Number(stats.size)), id);
        if (typeof segment === "string") return refuse(segment);
        rejected.delete(path);
        return { kind: "whole", segment, stampMs: stampOf(segment, Number(stats.mtimeMs), now()), ageMs };
      } finally {
        closeSync(fd);
      }
    },
  };
}

/** The descriptor; `undefined` where there is nothing; a text where it cannot be opened. */
function openFile(path: string): number | string | undefined {
  try {
    // Neither a pipe nor a link to somewhere else is waited for or followed.
    return openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW);
  } catch (error) {
    const { code = "" } = error as NodeJS.ErrnoException;
    return code === "ENOENT" || code === "ENOTDIR" ? undefined : `it cannot be opened (${code})`;
  }
}

function readAll(fd: number, size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  let got = 0;
  while (got < size) {
    const count = readSync(fd, bytes, got, size - got, got);
    if (count === 0) break;
    got += count;
  }
  return bytes.subarray(0, got);
}

/** The segment, or what is wrong with it. */
function decode(bytes: Uint8Array, id: TxId): Segment | string {
  if (bytes.length === 0) return "it is empty";
  try {
    const segment = decodeSegment(bytes);
    const { txId, parentTxId } = segment.header;
    return txId === id && parentTxId === id - 1n ? segment : `it is of (${parentTxId}, ${txId}]`;
  } catch (error) {
    if (!isPageferryError(error)) throw error;
    return error.message;
  }
}

/**
 * When the transaction was committed: Go says the second, the file's time the rest, as far as it agrees. Nothing is from the
 * future: one clock that was wrong for a moment would be in every stamp after it.
 */
function stampOf({ header }: Segment, modifiedMs: number, nowMs: number): number {
  if (header.createdAt === null) return Math.min(modifiedMs, nowMs);
  const secondMs = header.createdAt * 1000;
  return Math.floor(Math.min(nowMs, Math.max(secondMs, Math.min(modifiedMs, secondMs + 999))));
}
