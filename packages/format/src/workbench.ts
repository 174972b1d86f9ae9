// Where the heavy work of a restore is done: decoding, writing what was decoded, and checking the result. A port, because threads do it
// best (format/node), and its plain form on the caller's own thread.

import { type CheckMode, type CheckResult, checkDatabase } from "./bolt/check.ts";
import type { DerivedMeta } from "./bolt/meta.ts";
import type { PageSource } from "./bolt/tree.ts";
import { decodeParts, type PartFacts, type PartOrder } from "./restore-part.ts";
import type { FrameOrder, UnpackedFrame, UnpackOrder } from "./restore-unpack.ts";
import type { StateHash } from "./state-hash.ts";

/** Where a restored database is written. */
export interface RestoreSink {
  /** What the target is, for messages. */
  readonly name: string;
  /** Begins, or begins anew: `size` bytes that read as zeros. */
  begin(size: number): Promise<void>;
  /** Writes pieces that follow one another from `offset` on. Many calls may be under way; they never overlap. */
  write(offset: number, pieces: readonly Uint8Array[]): Promise<void>;
  /** Begins to make durable what was written so far, so that `publish` has little left to wait for. Need not do anything. */
  flush?(): void;
  /** Reads what was written, for the check. */
  openSource(pageSize: number): PageSource & Disposable & { readonly size: number };
  /** Makes what was written durable and gives it its name. */
  publish(): Promise<void>;
  /** Removes what was written; after `publish`, and again, it is nothing. */
  discard(): Promise<void>;
}

/** A decoded object that waits for its pages to be claimed. */
export interface DecodedObject {
  /** Oldest first. */
  readonly parts: readonly PartFacts[];
  /** Bytes of the object as it is stored. */
  readonly storedBytes: number;
  deriveMeta(part: number): Promise<DerivedMeta>;
  /** Writes the claimed pages of each part (triples of run, first page inside of it, count) and gives the memory back. Once. */
  finish(claimed: readonly Uint32Array[]): Promise<void>;
}

/** What to check. */
export interface CheckOrder {
  readonly pageSize: number;
  readonly mode: CheckMode;
  readonly expectedStateHash: StateHash | undefined;
}

/** Does the heavy work. */
export interface Workbench {
  /** Decodes and verifies an object, as `decodeParts`. `bytes` must not be used again. */
  decode(order: PartOrder, bytes: Uint8Array): Promise<DecodedObject>;
  /** The same for an object that lies in a file, at most `bytesMax` long. Absent: read it and call `decode`. */
  decodeFile?(order: PartOrder, path: string, bytesMax: number): Promise<DecodedObject>;
  /** Decodes and writes a stretch of a snapshot, as `unpackStretch`, out of a file or its bytes. Absent: snapshots are streamed. */
  unpack?(
    order: UnpackOrder,
    from: { readonly path: string } | { readonly bytes: Uint8Array },
  ): Promise<bigint>;
  /** Decodes and writes a snapshot that is one frame in a file. Absent: it is streamed. */
  unpackFrame?(order: FrameOrder, path: string): Promise<UnpackedFrame>;
  check(order: CheckOrder): Promise<CheckResult>;
  /** What is left needs no more than one thread: the memory of others may go. */
  narrow?(): Promise<void>;
}

/** Does everything on the caller's thread: for small archives, tests, and where there are no threads. */
export function inlineWorkbench(sink: RestoreSink): Workbench {
  return {
    async decode(order, bytes) {
      const parts = decodeParts(order, bytes);
      return {
        parts: parts.map((part) => part.facts),
        storedBytes: bytes.length,
        deriveMeta: async (at) => partAt(parts, at).deriveMeta(),
        async finish(claimed) {
          for (const [at, runs] of claimed.entries()) {
            const { facts, frames } = partAt(parts, at);
            for (const piece of piecesOf(facts, frames, runs)) await sink.write(piece.offset, piece.bytes);
          }
        },
      };
    },
    async check({ pageSize, mode, expectedStateHash }) {
      using source = sink.openSource(pageSize);
      return checkDatabase(source, { mode, expectedStateHash });
    },
  };
}

/** Bytes that go to one place of the file. */
export interface Piece {
  readonly offset: number;
  readonly bytes: readonly Uint8Array[];
}

/** Most buffers of one write: what a vectored write takes on every system. */
const buffersAtOnce = 512;

/** The claimed pages of a part as the fewest writes: runs that follow one another in the file go together. */
export function piecesOf(facts: PartFacts, frames: readonly Uint8Array[], claimed: Uint32Array): Piece[] {
  const { pageSize, runs } = facts;
  const pieces: Piece[] = [];
  let bytes: Uint8Array[] = [];
  let end = -1;
  for (let at = 0; at < claimed.length; at += 3) {
    const run = claimed[at] as number;
    const first = claimed[at + 1] as number;
    const count = claimed[at + 2] as number;
    const page = (runs[run * 2] as number) + first;
    const frame = frames[run] as Uint8Array;
    const part =
      first === 0 && count * pageSize === frame.length
        ? frame
        : frame.subarray(first * pageSize, (first + count) * pageSize);
    if (page !== end || bytes.length === buffersAtOnce) {
      bytes = [];
      pieces.push({ offset: page * pageSize, bytes });
    }
    bytes.push(part);
    end = page + count;
  }
  return pieces;
}

function partAt<Part>(parts: readonly Part[], at: number): Part {
  const part = parts[at];
  if (part === undefined) throw new RangeError(`part ${at} of ${parts.length}`);
  return part;
}
