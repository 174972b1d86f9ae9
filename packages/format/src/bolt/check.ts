// Is this file a sound database? Everything that bbolt's tx.Check() finds, and what it leaves out: the file's length, free overflow
// blocks, element bounds, inline pages. docs/operations.md says what to do with the answer.
import { isPageferryError, type PageferryError } from "../errors.ts";
import { createStateSum, formatStateHash, type StateHash, type StateSum } from "../state-hash.ts";
import { createXxh3, pageDigestBytes } from "../xxh3.ts";
import { parseFreelist } from "./freelist.ts";
import { keyOrderProblem } from "./key-order.ts";
import { type Meta, metaBytes, newestMeta } from "./meta.ts";
import { pageFlagMeta, pageHeader } from "./page.ts";
import { createPageSet, type PageSet } from "./page-set.ts";
import { freelistRun, type PageSource, treePages } from "./tree.ts";

/** How much to check: `quick` is length, metas, a walk of the whole tree and the state hash; `full` adds key order and free pages. */
export type CheckMode = "quick" | "full";

/** What to check against, and whom to tell. */
export interface CheckOptions {
  /** A quick check without `expectedStateHash` has nothing to compare with, and is done as a full one. */
  readonly mode: CheckMode;
  /** The state hash that the database has to have. */
  readonly expectedStateHash?: StateHash | undefined;
  /** Called now and then with the number of live blocks that were read, of at most `highWaterMark`. */
  readonly onProgress?:
    | ((progress: { readonly pages: number; readonly highWaterMark: number }) => void)
    | undefined;
}

/** What was found. */
export interface CheckResult {
  /** What was done: see `CheckOptions.mode`. */
  readonly mode: CheckMode;
  /** The meta that bolt would use; undefined when neither is valid. */
  readonly meta: Meta | undefined;
  /** The first `problemsMax` problems, each naming its page. Empty: the database is sound. */
  readonly problems: readonly string[];
  /** All problems, listed or not. */
  readonly problemCount: number;
  /** Live blocks that were read, without the meta pages. */
  readonly pages: number;
  /** Undefined when the live pages could not all be read. */
  readonly stateHash: StateHash | undefined;
}

/** Problems that are listed: a broken branch can cost as many as there are pages below it. */
export const problemsMax = 100;

/** Blocks between two reports of progress: 4 MiB of the usual pages, some milliseconds. */
const progressPages = 1024;

/** The problems of a check. */
export interface Findings {
  readonly problems: string[];
  count: number;
  add(problem: string): void;
}

/** Checks a whole database. Problems are returned; only what is no fault of the database (an unreadable file) is thrown. */
export function checkDatabase(
  source: PageSource & { readonly size: number },
  options: CheckOptions,
): CheckResult {
  const mode = options.expectedStateHash === undefined ? "full" : options.mode;
  const findings = createFindings();
  const meta = checkMetas(source, findings);
  if (meta === undefined) {
    return {
      mode,
      meta,
      problems: findings.problems,
      problemCount: findings.count,
      pages: 0,
      stateHash: undefined,
    };
  }
  // A high-water mark can be as wrong as anything else: memory follows the file, and what is beyond it is reported when it is read.
  const bound = Math.min(meta.highWaterMark, Math.ceil(source.size / source.pageSize));
  const reached = createPageSet(bound);
  const hash = createBlockHash(source, meta, options);
  const free = checkFreelist(source, meta, { bound, reached, hash, findings });
  const isWhole = checkTree(source, meta, { mode, reached, hash, findings }) && free !== "unknown";
  if (mode === "full" && free !== "unknown") checkFree(meta, { free, reached, bound, isWhole, findings });
  const stateHash = isWhole ? hash.value() : undefined;
  const expected = options.expectedStateHash;
  if (stateHash !== undefined && expected !== undefined && stateHash !== expected) {
    findings.add(
      `page ${meta.root}: the state hash of root and all below is ${formatStateHash(stateHash)}, expected ${formatStateHash(expected)}`,
    );
  }
  return {
    mode,
    meta,
    problems: findings.problems,
    problemCount: findings.count,
    pages: hash.pages(),
    stateHash,
  };
}

/** Begins with none. */
export function createFindings(): Findings {
  return {
    problems: [],
    count: 0,
    add(problem) {
      this.count += 1;
      if (this.problems.length < problemsMax) this.problems.push(problem);
    },
  };
}

/** The state hash of what was read so far. */
export interface BlockHash {
  /** Adds every block of a run. */
  add(id: number, run: Uint8Array): void;
  pages(): number;
  value(): StateHash;
}

/** Begins with no page. */
export function createBlockHash(
  source: PageSource,
  meta: Meta,
  options: Pick<CheckOptions, "onProgress">,
): BlockHash {
  const { pageSize } = source;
  const xxh3 = createXxh3();
  const sum: StateSum = createStateSum();
  const digest = new Uint8Array(pageDigestBytes);
  let pages = 0;
  return {
    add(id, run) {
      const blocks = run.length / pageSize;
      for (let index = 0; index < blocks; index += 1) {
        const block = blocks === 1 ? run : run.subarray(index * pageSize, (index + 1) * pageSize);
        xxh3.pageDigest(id + index, block, digest, 0);
        sum.add(digest, 0);
        pages += 1;
        if (pages % progressPages === 0) options.onProgress?.({ pages, highWaterMark: meta.highWaterMark });
      }
    },
    pages: () => pages,
    value: () => sum.value(),
  };
}

/** Length, both meta pages' headers, and what the newest valid meta says. Undefined: there is nothing to go on with. */
export function checkMetas(
  source: PageSource & { readonly size: number },
  findings: Findings,
): Meta | undefined {
  if (source.size < 2 * source.pageSize) {
    findings.add(
      `page ${Math.floor(source.size / source.pageSize)}: beyond the end of the file at ${source.size} bytes`,
    );
    return undefined;
  }
  const blocks = [source.read(0, 1).slice(0, metaBytes), source.read(1, 1).slice(0, metaBytes)] as const;
  for (const [slot, block] of blocks.entries()) {
    const header = pageHeader(block);
    if (header.id !== slot) findings.add(`page ${slot}: its header says page ${header.id}`);
    if (header.flags !== pageFlagMeta) {
      findings.add(`page ${slot}: flags 0x${header.flags.toString(16)}, expected a meta page`);
    }
  }
  const meta = newestMeta(blocks[0], blocks[1]);
  if (meta === undefined) {
    findings.add("page 0 and page 1: neither holds a valid meta");
  } else if (meta.pageSize !== source.pageSize) {
    findings.add(
      `page ${meta.txId % 2n}: its meta says pages of ${meta.pageSize} bytes, read as ${source.pageSize}`,
    );
    return undefined;
  } else if (source.size < meta.highWaterMark * source.pageSize) {
    const bytes = meta.highWaterMark * source.pageSize;
    findings.add(
      `page ${Math.floor(source.size / source.pageSize)}: the file ends at ${source.size} bytes, its ${meta.highWaterMark} pages need ${bytes}`,
    );
  }
  return meta;
}

/** The free pages, as a set; `none` where the file holds no freelist, `unknown` where it is broken. */
export function checkFreelist(
  source: PageSource,
  meta: Meta,
  state: {
    readonly bound: number;
    readonly reached: PageSet;
    readonly hash: BlockHash;
    readonly findings: Findings;
  },
): PageSet | "none" | "unknown" {
  const { bound, reached, hash, findings } = state;
  try {
    const run = freelistRun(source, meta);
    if (run === undefined || meta.freelist === null) return "none";
    for (let index = 0; index < run.length / source.pageSize; index += 1) reached.add(meta.freelist + index);
    hash.add(meta.freelist, run);
    const free = createPageSet(bound);
    for (const id of parseFreelist(run)) {
      if (id >= meta.highWaterMark) {
        findings.add(`page ${id}: in the freelist, but not below the high-water mark ${meta.highWaterMark}`);
      }
      free.add(id);
    }
    return free;
  } catch (error) {
    findings.add(corruptMessage(error));
    return "unknown";
  }
}

/** Walks the whole tree. False: some of it could not be read. */
function checkTree(
  source: PageSource,
  meta: Meta,
  state: {
    readonly mode: CheckMode;
    readonly reached: PageSet;
    readonly hash: BlockHash;
    readonly findings: Findings;
  },
): boolean {
  const { mode, reached, hash, findings } = state;
  let isWhole = true;
  const onProblem = (problem: PageferryError): void => {
    isWhole = false;
    findings.add(problem.message);
  };
  for (const { id, run, header, path } of treePages(source, meta, { reached, onProblem })) {
    hash.add(id, run);
    if (mode === "quick") continue;
    const problem = keyOrderProblem(id, run, header, path);
    if (problem !== undefined) findings.add(problem);
  }
  return isWhole;
}

/** No page is live and free, and none is neither. Without a freelist, free is what is not live. */
function checkFree(
  meta: Meta,
  state: {
    readonly free: PageSet | "none";
    readonly reached: PageSet;
    readonly bound: number;
    readonly isWhole: boolean;
    readonly findings: Findings;
  },
): void {
  const { free, reached, bound, isWhole, findings } = state;
  if (free === "none") return;
  let lostFrom = -1;
  for (let id = 2; id <= bound; id += 1) {
    const isReached = reached.has(id);
    const isFree = free.has(id);
    if (isReached && isFree) findings.add(`page ${id}: live, and in the freelist of page ${meta.freelist}`);
    const isLost = id < bound && !isReached && !isFree;
    if (isLost && lostFrom === -1) lostFrom = id;
    if (isLost || lostFrom === -1) continue;
    // What hangs below an unreadable page is not lost, it is unknown; its problem is in the list.
    const pages = id - lostFrom === 1 ? `page ${lostFrom}` : `pages ${lostFrom} to ${id - 1}`;
    if (isWhole) findings.add(`${pages}: neither live nor in the freelist of page ${meta.freelist}`);
    lostFrom = -1;
  }
}

function corruptMessage(error: unknown): string {
  if (isPageferryError(error, "corrupt")) return error.message;
  throw error;
}
