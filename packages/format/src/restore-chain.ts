// The chain of a restore as it is met, newest segment first: does every part lead on to the one after it, and what is the final meta?

import type { DerivedMeta, MetaFields } from "./bolt/meta.ts";
import { PageferryError } from "./errors.ts";
import type { PartFacts } from "./restore-part.ts";
import { formatStateHash, type StateHash } from "./state-hash.ts";
import { formatTxId, type TxId } from "./txid.ts";

/** A state that a part or a snapshot leads to. */
interface Reached {
  readonly name: string;
  readonly txId: TxId;
  readonly pageSize: number;
  readonly stateHash: StateHash | undefined;
}

/** What of a snapshot a chain is held against. */
type ChainBase = Pick<MetaFields, "txId" | "pageSize" | "highWaterMark">;

/** Follows a chain from its end to its snapshot. */
export interface ChainWalk {
  /** Takes the next older part. `derive` is asked only where the part holds no meta page and one is still needed. */
  part(name: string, facts: PartFacts, derive: () => Promise<DerivedMeta>): Promise<void>;
  /** Takes the snapshot, which ends the chain. */
  snapshot(name: string, meta: MetaFields, stateHash: StateHash | undefined): void;
  /** As `snapshot`, where its meta is not read, nor needed. */
  base(name: string, header: ChainBase, stateHash: StateHash | undefined): void;
  /** The page size, the high-water mark and the state hash of the end: known after the first part, or the snapshot. */
  end():
    | { readonly pageSize: number; readonly highWaterMark: number; readonly stateHash: StateHash | undefined }
    | undefined;
  /** The root page of the end, as soon as it is known. */
  root(): number | undefined;
  /** The meta of the end, known after the snapshot. */
  meta(): MetaFields;
}

/**
 * Begins at the end, which must be transaction `txId`. Everything that does not hold is `corrupt`, naming both objects; `onBroken` is told
 * their names first, the older one before the younger.
 */
export function createChainWalk(
  txId: TxId,
  onBroken: (...names: string[]) => void = () => undefined,
): ChainWalk {
  let younger: { readonly name: string; readonly facts: PartFacts } | undefined;
  let end: ReturnType<ChainWalk["end"]>;
  let fields: Omit<MetaFields, "root" | "sequence"> | undefined;
  let root: number | undefined;
  let sequence: bigint | undefined;

  const reach = (reached: Reached, highWaterMark: number): void => {
    if (younger === undefined) {
      if (reached.txId !== txId) {
        onBroken(reached.name);
        throw corrupt(reached.name, `ends at ${formatTxId(reached.txId)}, not at ${formatTxId(txId)}`);
      }
      end = { pageSize: reached.pageSize, highWaterMark, stateHash: reached.stateHash };
      return;
    }
    try {
      checkSeam(reached, younger.name, younger.facts);
    } catch (error) {
      onBroken(reached.name, younger.name);
      throw error;
    }
  };

  const base: ChainWalk["base"] = (name, header, stateHash) =>
    reach({ name, txId: header.txId, pageSize: header.pageSize, stateHash }, header.highWaterMark);

  return {
    base,
    root: () => root,
    async part(name, facts, derive) {
      reach({ name, txId: facts.txId, pageSize: facts.pageSize, stateHash: facts.post }, facts.highWaterMark);
      younger = { name, facts };
      if (fields !== undefined && root !== undefined && sequence !== undefined) return;
      if (facts.meta !== undefined) {
        fields ??= facts.meta;
        root ??= facts.meta.root;
        sequence ??= facts.meta.sequence;
      } else if (fields === undefined || root === undefined) {
        const derived = await derive();
        fields ??= derived;
        root ??= derived.root;
      }
    },
    snapshot(name, meta, stateHash) {
      base(name, meta, stateHash);
      fields ??= meta;
      root ??= meta.root;
      sequence ??= meta.sequence;
    },
    end: () => end,
    meta() {
      if (fields === undefined || root === undefined || sequence === undefined) {
        throw new PageferryError(
          "corrupt",
          `transaction ${formatTxId(txId)}: nothing read holds its meta page`,
        );
      }
      return { ...fields, root, sequence };
    },
  };
}

/** `pre` is compared only where the older state is exactly the parent: a range may also begin inside another. */
function checkSeam(older: Reached, youngerName: string, younger: PartFacts): void {
  if (older.pageSize !== younger.pageSize) {
    throw corrupt(youngerName, `pages of ${younger.pageSize} bytes after ${older.pageSize} in ${older.name}`);
  }
  if (older.txId < younger.parentTxId || older.txId >= younger.txId) {
    throw corrupt(youngerName, `does not lead on from ${formatTxId(older.txId)}, where ${older.name} ends`);
  }
  const { pre } = younger;
  if (older.txId !== younger.parentTxId || pre === undefined || older.stateHash === undefined) return;
  if (pre !== older.stateHash) {
    throw corrupt(
      youngerName,
      `begins at state ${formatStateHash(pre)} of ${formatTxId(older.txId)}, but ${older.name} ends at ${formatStateHash(older.stateHash)}`,
    );
  }
}

function corrupt(name: string, what: string): PageferryError {
  return new PageferryError("corrupt", `${name}: ${what}`);
}
