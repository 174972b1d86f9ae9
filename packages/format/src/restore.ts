// Carries out a restore plan: fetches ahead, verifies everything, writes the newest segments first so that each page is written once, the
// snapshot last, and publishes only what was checked. Readers, sink and workbench are ports. See docs/format.md#restore.

import { createPageClaims, type PageClaims } from "./apply.ts";
import { readObject } from "./archive-reader.ts";
import type { CheckResult } from "./bolt/check.ts";
import { encodeMetaPage, type MetaFields, metaPagesFor, metaSlot } from "./bolt/meta.ts";
import { isPageferryError, PageferryError } from "./errors.ts";
import { inOrder } from "./in-order.ts";
import { packBytesMax, segmentBytesMax } from "./limits.ts";
import { createReaderRanking, type ReaderRanking } from "./reader-ranking.ts";
import { type Attempt, fromReaders, type RestoreOptions, type RestoreResult } from "./restore-attempt.ts";
import { createChainWalk } from "./restore-chain.ts";
import type { PartFacts } from "./restore-part.ts";
import type { PlanStep, RestorePlan } from "./restore-plan.ts";
import { restoreSnapshot } from "./restore-snapshot.ts";
import { formatStateHash, type StateHash } from "./state-hash.ts";
import { formatTxId } from "./txid.ts";
import type { DecodedObject } from "./workbench.ts";

export type { RestoreBase, RestoreOptions, RestoreProgress, RestoreResult } from "./restore-attempt.ts";

/** Objects under way: enough to hide a store's latency. */
const parallelismDefault = 8;

/** Fetched and decoded bytes under way, so that a restore stays small whatever the archive holds. */
const bytesUnderWayMax = 32 * 1024 * 1024;

/** What an object weighs while it is under way: its own bytes, and what it decodes to, which is not known yet. */
const decodedFactor = 3;

/** An archive that is compacted while it is read can lose objects more than once. */
const attemptsMax = 4;

/**
 * Restores a point into the sink and publishes it. Any failure leaves the sink discarded and the target untouched. Errors: `gap` and
 * `not-found` of a new plan, `not-found` and `corrupt` naming the object, `disk-full`, what the readers throw, the signal's reason.
 */
export async function executeRestore(options: RestoreOptions): Promise<RestoreResult> {
  const without = new Set<string>();
  const suspects = new Set<string>();
  const ranking = createReaderRanking(options.readers, { stallMs: options.stallMs });
  let { plan } = options;
  try {
    for (let attempt = 1; ; attempt += 1) {
      let failed: readonly string[] | undefined;
      const remember = (...names: string[]): void => {
        // Later ones were ended because of the first.
        failed ??= names;
      };
      try {
        return await attemptRestore({ ...options, plan }, ranking, remember);
      } catch (error) {
        options.signal?.throwIfAborted();
        if (failed === undefined || options.replan === undefined || attempt === attemptsMax) throw error;
        // What does not follow another either is the one that is wrong.
        const [likely, ...others] = failed.toSorted((a, b) => +suspects.has(b) - +suspects.has(a));
        for (const name of failed) suspects.add(name);
        for (const name of heldByNobody(plan, ranking)) without.add(name);
        plan = await replanned(options.replan, without, [likely as string, ...others], plan, error);
      }
    }
  } catch (error) {
    await options.sink.discard();
    throw error;
  }
}

/** What only readers have that do not answer: without it there may be another way. */
function heldByNobody(plan: RestorePlan, ranking: ReaderRanking): string[] {
  const names = [plan.snapshot, ...plan.steps].map(({ name }) => name);
  return names.filter((name) => {
    const holders = plan.holders?.get(name) ?? [];
    return holders.length > 0 && ranking.areDown(holders);
  });
}

/** Plans without the first of the failed objects; where that leaves no way, without the next one instead. */
async function replanned(
  replan: NonNullable<RestoreOptions["replan"]>,
  without: Set<string>,
  [name, ...others]: readonly [string, ...string[]],
  plan: RestorePlan,
  error: unknown,
): Promise<RestorePlan> {
  try {
    const again = await replan(new Set([...without, name]), plan);
    without.add(name);
    return again;
  } catch (cause) {
    const [next, ...rest] = others;
    if (next !== undefined) return replanned(replan, without, [next, ...rest], plan, error);
    if (!isPageferryError(error) || !isPageferryError(cause)) throw error;
    throw new PageferryError(
      error.code,
      `${error.message}; and there is no way around it: ${cause.message}`,
      { cause: error },
    );
  }
}

async function attemptRestore(
  options: RestoreOptions,
  ranking: ReaderRanking,
  failed: Attempt["failed"],
): Promise<RestoreResult> {
  const { plan, sink, signal } = options;
  let bytes = 0;
  let objects = 0;
  const attempt: Attempt = {
    ...options,
    ranking,
    chain: createChainWalk(plan.txId, failed),
    failed,
    received(size) {
      // An object that was read from a second reader counts once.
      bytes = Math.min(bytes + size, plan.bytes);
      options.onProgress?.({ phase: "fetch", bytes, total: plan.bytes, objects });
    },
    finished() {
      objects += 1;
      options.onProgress?.({ phase: "fetch", bytes, total: plan.bytes, objects });
    },
  };
  const claims = await restoreSteps(attempt);
  if (options.base === undefined) await restoreSnapshot(attempt, claims);
  else goOnFrom(options.base, attempt, claims);
  const meta = attempt.chain.meta();
  const pages = metaPagesFor(encodeMetaPage(meta, metaSlot(meta.txId)));
  await sink.write(0, pages);
  signal?.throwIfAborted();
  options.onProgress?.({ phase: "check", bytes, total: plan.bytes, objects });
  const check = await checkRestored(attempt, meta);
  signal?.throwIfAborted();
  const result: RestoreResult = {
    generation: plan.generation,
    txId: plan.txId,
    stampMs: plan.stampMs,
    pageSize: meta.pageSize,
    pages: meta.highWaterMark,
    bytes: meta.highWaterMark * meta.pageSize,
    objects,
    fetchedBytes: bytes,
    stateHash: check?.stateHash ?? expectedState(attempt),
    check,
    warnings: plan.warnings,
  };
  await options.onChecked?.(result);
  await sink.publish();
  return result;
}

/** The sink holds the base already; without a state hash of the end nothing would prove that the two belong together. */
function goOnFrom(
  { name, meta, stateHash }: NonNullable<RestoreOptions["base"]>,
  attempt: Attempt,
  claims: PageClaims | undefined,
): void {
  if (claims === undefined) throw new RangeError(`${name}: nothing leads on from it`);
  attempt.chain.snapshot(name, meta, stateHash);
  if (expectedState(attempt) !== undefined) return;
  throw new PageferryError("corrupt", `${name}: what leads on from it has no state hash to prove the end by`);
}

/** Writes all segments, newest first. Undefined: the plan has none, so the snapshot decides how long the database is. */
async function restoreSteps(attempt: Attempt): Promise<PageClaims | undefined> {
  const { plan, chain, sink, signal } = attempt;
  let claims: PageClaims | undefined;
  await inOrder(
    plan.steps.toReversed(),
    {
      countMax: attempt.parallelism ?? parallelismDefault,
      weightMax: bytesUnderWayMax,
      weight: (step) => step.size * decodedFactor,
    },
    (step, stepSignal) => fetchStep(attempt, step, stepSignal),
    async (decoded, step) => {
      const claimed: Uint32Array[] = [];
      for (let at = decoded.parts.length - 1; at >= 0; at -= 1) {
        const facts = decoded.parts[at] as PartFacts;
        await chain.part(step.name, facts, () => decoded.deriveMeta(at));
        if (claims === undefined) {
          claims = createPageClaims(facts.highWaterMark, true);
          await sink.begin(facts.highWaterMark * facts.pageSize);
        }
        claimed[at] = claims.claim(facts.runs);
      }
      sink.flush?.();
      return { done: decoded.finish(claimed) };
    },
    signal,
  );
  return claims;
}

/** Fetches and decodes an object from the first reader that has it whole and sound. */
async function fetchStep(attempt: Attempt, step: PlanStep, signal: AbortSignal): Promise<DecodedObject> {
  const bytesMax = step.kind === "pack" ? packBytesMax + packBytesMax / 8 : segmentBytesMax + 1024 * 1024;
  const { workbench } = attempt;
  // With its own signal: what was ended because another object failed says nothing of its reader.
  return fromReaders({ ...attempt, signal }, step, async (reader) => {
    const path = workbench.decodeFile === undefined ? undefined : reader.pathOf?.(step.name);
    const decoded =
      path === undefined || workbench.decodeFile === undefined
        ? await workbench.decode(step, await readObject(reader, step.name, { bytesMax, signal }))
        : await workbench.decodeFile(step, path, bytesMax);
    attempt.received(decoded.storedBytes);
    attempt.finished();
    return decoded;
  });
}

/** What the database must be in the end: as the plan says, and as its newest object says, where they do. */
function expectedState(attempt: Attempt): StateHash | undefined {
  const { plan, chain } = attempt;
  const found = chain.end()?.stateHash;
  if (plan.stateHash !== undefined && found !== undefined && plan.stateHash !== found) {
    throw new PageferryError(
      "corrupt",
      `${plan.generation} at ${formatTxId(plan.txId)}: ends in state ${formatStateHash(found)}, the plan says ${formatStateHash(plan.stateHash)}`,
    );
  }
  return plan.stateHash ?? found;
}

async function checkRestored(attempt: Attempt, meta: MetaFields): Promise<CheckResult | undefined> {
  const { integrity = "quick", plan, workbench } = attempt;
  const expectedStateHash = expectedState(attempt);
  if (integrity === "none") return undefined;
  const check = await workbench.check({ pageSize: meta.pageSize, mode: integrity, expectedStateHash });
  const problems = [...check.problems];
  if (check.meta?.txId !== plan.txId)
    problems.unshift(`its newest meta is of transaction ${check.meta?.txId}`);
  if (problems.length === 0) return check;
  const more = problems.length > 3 ? `, and ${check.problemCount - 3} more` : "";
  throw new PageferryError(
    "corrupt",
    `restored ${plan.generation} at ${formatTxId(plan.txId)}: ${problems.slice(0, 3).join("; ")}${more}; nothing was published`,
  );
}
