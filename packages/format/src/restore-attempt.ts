// What the parts of one restore share: its options, its progress, and how an object is taken from several readers.

import type { ArchiveReader } from "./archive-reader.ts";
import type { CheckMode, CheckResult } from "./bolt/check.ts";
import type { MetaFields } from "./bolt/meta.ts";
import { isPageferryError, PageferryError } from "./errors.ts";
import type { Generation } from "./names.ts";
import type { ReaderRanking } from "./reader-ranking.ts";
import type { ChainWalk } from "./restore-chain.ts";
import type { RestorePlan } from "./restore-plan.ts";
import type { StateHash } from "./state-hash.ts";
import type { TxId } from "./txid.ts";
import type { RestoreSink, Workbench } from "./workbench.ts";

/** How far a restore has come. */
export interface RestoreProgress {
  readonly phase: "fetch" | "check";
  /** Bytes fetched, of `total`. */
  readonly bytes: number;
  readonly total: number;
  /** Objects fetched. */
  readonly objects: number;
}

/** What was restored. */
export interface RestoreResult {
  readonly generation: Generation;
  readonly txId: TxId;
  readonly stampMs: number | null;
  readonly pageSize: number;
  /** The high-water mark: the database is exactly this many pages long. */
  readonly pages: number;
  /** Bytes of the database. */
  readonly bytes: number;
  /** Objects fetched. */
  readonly objects: number;
  readonly fetchedBytes: number;
  /** As checked; else as the archive tells it; undefined where neither is known. */
  readonly stateHash: StateHash | undefined;
  /** The check that was done. */
  readonly check: CheckResult | undefined;
  readonly warnings: readonly string[];
}

/** A whole database that is there, as it was proved to be. */
export interface RestoreBase {
  readonly name: string;
  readonly meta: MetaFields;
  readonly stateHash: StateHash;
}

/** What a restore is made of. */
export interface RestoreOptions {
  readonly plan: RestorePlan;
  /** Asked for each object until one has it whole and sound: the fastest first, equal ones in this order. */
  readonly readers: readonly ArchiveReader[];
  /** Silence of a reader after which another is asked, where there is one. Default 10 s. */
  readonly stallMs?: number | undefined;
  /** What the sink begins with, and the plan's steps lead on from; its snapshot is not read then. The end must have a state hash. */
  readonly base?: RestoreBase | undefined;
  readonly sink: RestoreSink;
  readonly workbench: Workbench;
  /** Objects under way at a time. Default 8. */
  readonly parallelism?: number | undefined;
  /** Default quick: length, metas, a walk of the tree and the state hash; where that is unknown, as full. */
  readonly integrity?: "none" | CheckMode | undefined;
  readonly onProgress?: ((progress: RestoreProgress) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Called with what was restored, checked, before it is published. What it throws ends the restore; the target stays. */
  readonly onChecked?: ((result: RestoreResult) => Promise<void>) | undefined;
  /** Plans the same point again without objects that no reader could give, as after a compaction. Absent: that is the end. */
  readonly replan?: ((without: ReadonlySet<string>, point: RestorePlan) => Promise<RestorePlan>) | undefined;
}

/** Everything that one attempt shares. */
export interface Attempt extends RestoreOptions {
  readonly ranking: ReaderRanking;
  readonly chain: ChainWalk;
  /** Counts bytes as fetched. */
  received(bytes: number): void;
  /** Counts an object as fetched. */
  finished(): void;
  /** Remembers which object no reader could give, or which of several does not follow the others: the likelier one first. */
  failed(...names: string[]): void;
}

/**
 * Tries an object of so many bytes on one reader after the other. When all fail, the error that says most is thrown: a broken object before
 * an unreachable reader, and that before an object that is not there. Unless all readers were unreachable, the object is remembered as
 * what to plan around.
 */
export async function fromReaders<Result>(
  attempt: Pick<Attempt, "ranking" | "plan" | "signal" | "failed">,
  { name, size }: { readonly name: string; readonly size: number },
  read: (reader: ArchiveReader) => Promise<Result>,
): Promise<Result> {
  const failures: unknown[] = [];
  for (const reader of attempt.ranking.order(size, attempt.plan.holders?.get(name))) {
    try {
      return await read(reader);
    } catch (error) {
      attempt.signal?.throwIfAborted();
      // That is the target's fault, and another reader does not help.
      if (isPageferryError(error, "disk-full")) throw error;
      attempt.ranking.failed(reader, error);
      failures.push(error instanceof PageferryError ? withPlace(error, name, reader) : error);
    }
  }
  const worst = failures.toSorted((a, b) => severity(b) - severity(a))[0];
  if (failures.some((failure) => severity(failure) !== 1)) attempt.failed(name);
  throw worst ?? new PageferryError("bad-request", "a restore needs a reader");
}

function severity(error: unknown): number {
  if (isPageferryError(error, "not-found")) return 0;
  return isPageferryError(error) && error.remedy === "retry" ? 1 : 2;
}

function withPlace(error: PageferryError, name: string, reader: ArchiveReader): PageferryError {
  const place = error.message.includes(name) ? reader.name : `${name} in ${reader.name}`;
  return new PageferryError(error.code, `${place}: ${error.message}`, { cause: error, hint: error.hint });
}
