// Where the heavy work of a restore is done: decoding, writing what was decoded, and checking the result. A port, because threads do it
// best (format/node), and its plain form on the caller's own thread.

import { type CheckMode, type CheckResult, checkDatabase } from "./bolt/check.ts";
import type { DerivedMeta } from "./bolt/meta.ts";
import type { PageSource } from "./bolt/tree.ts";
import { decodeParts, type PartFacts, type PartOrder } from "./restore-part.ts";
import type { StateHash } from "./state-hash.ts";

/** Where a restored database is written. */
export interface RestoreSink {
  /** What the target is, for messages. */
  readonly name: string;
  /** Begins, or begins anew: `size` bytes that read as zeros. */
  begin(size: number): Promise<void>;
  /** Writes pieces that follow one another from `offset` on. Many calls may be under way; they never overlap. */
  write(offset: number, pieces: readonly Uint8Array[]): Promise<void>;
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
  /** Memory that is held until it is released. */
  readonly bytes: number;
  deriveMeta(part: number): Promise<DerivedMeta>;
  /** Writes the claimed pages of a part: triples of run, first page inside of it, count. */
  write(part: number, claimed: Uint32Array): Promise<void>;
  /** Gives the memory back. */
  release(): void;
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
  check(order: CheckOrder): Promise<CheckResult>;
}

/** Does everything on the caller's thread: for small archives, tests, and where there are no threads. */
export function inlineWorkbench(sink: RestoreSink): Workbench {
  return {
    async decode(order, bytes) {
      const parts = decodeParts(order, bytes);
      return {
        parts: parts.map((part) => part.facts),
        bytes: parts.reduce(
          (sum, part) => part.frames.reduce((bytes, frame) => bytes + frame.length, sum),
          0,
        ),
        deriveMeta: async (at) => partAt(parts, at).deriveMeta(),
        async write(at, claimed) {
          const { facts, frames } = partAt(parts, at);
          for (const piece of piecesOf(facts, frames, claimed)) await sink.write(piece.offset, piece.bytes);
        },
        release() {},
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
