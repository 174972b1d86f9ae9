// A quick check in shares: several threads each walk some of the subtrees, and what they found is joined. Only a sound database is joined;
// anything else is left to checkDatabase, which sees all of it and says what is wrong.

import type { StateHash } from "../state-hash.ts";
import { type CheckResult, checkFreelist, checkMetas, createBlockHash, createFindings } from "./check.ts";
import type { Meta } from "./meta.ts";
import { pageHeader, referencedPages } from "./page.ts";
import { createPageSet } from "./page-set.ts";
import { type PageSource, treePages } from "./tree.ts";

/** Which of how many shares. */
export interface Share {
  readonly index: number;
  readonly of: number;
}

/** What a share came to. */
export interface CheckedShare {
  /** False: something is wrong, or could not be read. */
  readonly isSound: boolean;
  readonly meta: Meta | undefined;
  /** The share's live blocks, as a bitmap: those of two shares never overlap. */
  readonly reached: Uint32Array;
  readonly pages: number;
  /** The sum over the share's blocks; those of all shares add up to the database's. */
  readonly stateHash: StateHash;
}

/** Enough subtrees that shares come out alike. */
const subtreesMin = 64;

/** Levels that are read to find them: more than bolt makes. */
const topLevelsMax = 16;

const modulusBits = 128;

/** Checks one share: the first holds the freelist and the top of the tree, and each its part of the subtrees below, in key order. */
export function checkShare(
  source: PageSource & { readonly size: number },
  { index, of }: Share,
): CheckedShare {
  const findings = createFindings();
  const meta = checkMetas(source, findings);
  if (meta === undefined || findings.count > 0) return unsound;
  const reached = createPageSet(meta.highWaterMark);
  const hash = createBlockHash(source, meta, {});
  try {
    const { top, subtrees } = divide(source, meta);
    if (index === 0) {
      checkFreelist(source, meta, { bound: meta.highWaterMark, reached, hash, findings });
      for (const { id, run } of top) {
        for (let block = 0; block < run.length / source.pageSize; block += 1) {
          if (!reached.add(id + block)) return unsound;
        }
        hash.add(id, run);
      }
    }
    const from = Math.floor((subtrees.length * index) / of);
    const to = Math.floor((subtrees.length * (index + 1)) / of);
    for (const root of subtrees.slice(from, to)) {
      for (const { id, run } of treePages(source, { ...meta, root }, { reached })) hash.add(id, run);
    }
  } catch {
    // It comes again, and is named, when the whole is checked.
    return unsound;
  }
  const { words } = reached;
  return {
    isSound: findings.count === 0,
    meta,
    reached: words,
    pages: hash.pages(),
    stateHash: hash.value(),
  };
}

/** The result of all shares of one database. Undefined: it is not sound, or not known to be. */
export function joinShares(
  shares: readonly CheckedShare[],
  expectedStateHash: StateHash,
): CheckResult | undefined {
  const [first] = shares;
  const meta = first?.meta;
  if (meta === undefined || shares.some((share) => !share.isSound || share.meta?.txId !== meta.txId))
    return undefined;
  const seen = new Uint32Array(Math.ceil(meta.highWaterMark / 32));
  for (const { reached } of shares) {
    for (const [at, word] of reached.entries()) {
      if (((seen[at] as number) & word) !== 0) return undefined;
      seen[at] = (seen[at] as number) | word;
    }
  }
  const sum = shares.reduce((total, share) => total + share.stateHash, 0n);
  const stateHash = BigInt.asUintN(modulusBits, sum);
  if (stateHash !== expectedStateHash) return undefined;
  const pages = shares.reduce((total, share) => total + share.pages, 0);
  return { mode: "quick", meta, problems: [], problemCount: 0, pages, stateHash };
}

const unsound: CheckedShare = {
  isSound: false,
  meta: undefined,
  reached: new Uint32Array(0),
  pages: 0,
  stateHash: 0n,
};

/** The pages from the root down to the first level that is wide enough, and that level. The same for everybody. */
function divide(
  source: PageSource,
  meta: Meta,
): {
  readonly top: readonly { readonly id: number; readonly run: Uint8Array }[];
  readonly subtrees: number[];
} {
  const limits = { pageSize: source.pageSize, highWaterMark: meta.highWaterMark };
  const top: { id: number; run: Uint8Array }[] = [];
  let level = [meta.root];
  for (let depth = 0; depth < topLevelsMax && level.length > 0 && level.length < subtreesMin; depth += 1) {
    const next: number[] = [];
    for (const id of level) {
      const { overflow } = pageHeader(source.read(id, 1));
      const run = source.read(id, overflow + 1);
      for (const child of referencedPages(run, id, limits)) next.push(child);
      top.push({ id, run });
    }
    level = next;
  }
  return { top, subtrees: level };
}
