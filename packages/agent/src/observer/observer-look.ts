// Looks at an observed database as a whole, and what is told of what was found: the history goes on, or another begins.
import { randomUUID } from "node:crypto";
import { statSync } from "node:fs";
import { errorTable, isPageferryError, PageferryError } from "@pageferry/format";
import { type FileIdentity, fileIdentity, readMachineIdentity } from "../identity.ts";
import { type BaseImage, forgetChanged, overlayFrames, writeRun } from "../sources/base-image.ts";
import type { CaptureEvent, DeltaEvent } from "../sources/capture-event.ts";
import { decideGeneration, type GenerationDecision } from "../sources/decide-generation.ts";
import type { Outcome } from "../sources/outcome.ts";
import { type ScanResult, scanDatabase } from "./observed-scan.ts";
import { imageFailed, openImage, tellBase } from "./observer-base.ts";
import { pauseReading } from "./observer-pace.ts";
import { type ObserverState, raise } from "./observer-state.ts";

/** Where nothing can be followed between two looks, they take a third of the time at most. */
const lookPause = 2;

/** Looks, and tells what was found. A failure is an alarm, and it is looked again later. */
export async function* look(state: ObserverState): AsyncGenerator<CaptureEvent> {
  const startedMs = state.clockMs();
  const reason = state.look ?? "start";
  state.figures.looks[reason] += 1;
  state.onLook(reason);
  // What is told from now on may be after what is found; what was told before is in it.
  state.unreadSinceMs ??= state.line.oldestMs();
  state.line.restart();
  state.look = undefined;
  state.gapSinceMs = undefined;
  let found: ScanResult;
  try {
    found = await scan(state);
  } catch (error) {
    readFailed(state, error);
    state.look = reason;
    return;
  }
  state.lookAtMs = state.clockMs() + lookPause * (state.clockMs() - startedMs);
  yield* cleared(state, "unreadable", "corrupt");
  yield* settle(state, found);
}

/** Tells that alarms are over. */
export function* cleared(state: ObserverState, ...codes: CaptureCode[]): Generator<CaptureEvent> {
  for (const code of codes) if (state.alarms.delete(code)) yield { type: "cleared", code };
}

type CaptureCode = Extract<CaptureEvent, { type: "cleared" }>["code"];

async function scan(state: ObserverState): Promise<ScanResult> {
  const reference = referenceOf(state);
  // The first look writes the image as it goes; later ones compare, and the image follows by what differs.
  const image = reference === null && state.isBaseWanted ? openImage(state) : undefined;
  image?.copied.clear();
  return scanDatabase({
    database: state.database,
    reference,
    pause: (bytes) => pauseReading(state, bytes),
    onRun: (id, run) => {
      if (image !== undefined && state.image === image) writeTo(state, image, id, run);
    },
  });
}

function writeTo(state: ObserverState, image: BaseImage, id: number, run: Uint8Array): void {
  try {
    writeRun(image, state.database.pageSize, id, run);
  } catch (error) {
    imageFailed(state, error);
  }
}

/** The table that a look is compared with; none where there is none, or of another page size. */
function referenceOf(state: ObserverState) {
  const table = state.known?.table ?? null;
  return table?.pageSize === state.database.pageSize ? table : null;
}

/** The database could not be read: an alarm, and another look later. */
export function readFailed(state: ObserverState, error: unknown): void {
  const code = isPageferryError(error, "corrupt") ? "corrupt" : "unreadable";
  const reason = error instanceof Error ? error.message : String(error);
  const hint =
    code === "corrupt"
      ? "Run `pageferry check` on a copy of the file."
      : "What the application's own `view` threw is in the message; it is tried again.";
  raise(state, code, `${state.database.path}: it could not be read: ${reason}`, hint);
  state.lookAtMs = state.clockMs() + state.times.retryMs;
  // An application that ends has closed its database: the next start finds what was not told.
  if (state.stopAtMs !== undefined) state.stopAtMs = 0;
}

function* settle(state: ObserverState, found: ScanResult): Generator<CaptureEvent> {
  const { known } = state;
  const { table, meta } = found.state;
  const identity = identityOf(state);
  const { txId } = meta;
  const stateHash = table.stateHash();
  // A state that was never told cannot be a parent: it is in no archive.
  const hasDiff = found.outcome?.frames != null && !state.isMuted;
  const { isSuspect } = state;
  const forced = state.isBegun ? undefined : state.options.begin;
  const decision = decideGeneration(known, { txId, stateHash, identity, isSuspect, hasDiff }, forced);
  followImage(state, found, known?.table ?? null);
  state.now = found.state;
  state.known = { txId, stateHash, identity, table };
  state.unreadSinceMs = undefined;
  state.isSuspect = false;
  state.stampMs = Math.max(state.stampMs, state.options.now());
  yield* tellFound(state, decision, found.outcome);
  if (state.image !== undefined) yield* tellBase(state);
}

/** Brings an image that is on its way to what was found. */
function followImage(state: ObserverState, found: ScanResult, before: ObserverTable): void {
  const { image } = state;
  if (image === undefined || found.outcome === null) return;
  const { frames } = found.outcome;
  try {
    if (frames !== null) overlayFrames(image, state.database.pageSize, frames);
    else if (before !== null) forgetChanged(image, before, found.state.table);
  } catch (error) {
    imageFailed(state, error);
  }
}

type ObserverTable = NonNullable<ObserverState["known"]>["table"];

function* tellFound(
  state: ObserverState,
  decision: GenerationDecision,
  outcome: Outcome | null,
): Generator<CaptureEvent> {
  const { now, known } = state;
  if (now === undefined || known === null) return;
  const { reason, via } = decision;
  const { txId, stateHash, identity } = known;
  if (!state.isBegun || via !== "continue") {
    const parent = state.isMuted ? state.emitted : decision.parent;
    const { pageSize } = now.meta;
    yield { type: "begin", reason, via, parent, txId, stateHash, pageSize, identity };
    state.isBegun = true;
  }
  if (via === "snapshot") state.isMuted = true;
  const { parent } = decision;
  const isSameState = parent?.txId === txId && parent.stateHash === stateHash;
  if (!state.isMuted && via === "continue" && isSameState) return;
  const frames = state.isMuted ? null : (outcome?.frames ?? null);
  if (outcome === null || frames === null || parent === null) {
    // Nothing leads here, or too much for a delta: the history goes on with a base.
    state.isMuted = true;
    state.isBaseWanted = true;
    return;
  }
  yield tellDelta(state, parent.txId, { ...outcome, frames });
}

/** The delta that leads to the settled state. */
export function tellDelta(
  state: ObserverState,
  parentTxId: DeltaEvent["parentTxId"],
  outcome: Outcome & { readonly frames: DeltaEvent["frames"] },
): DeltaEvent {
  const { now } = state;
  if (now === undefined) throw new RangeError("a delta leads to a settled state");
  const { txId, pageSize, highWaterMark } = now.meta;
  state.emitted = { txId, stateHash: outcome.post };
  state.toldTxId = txId;
  state.figures.deltas += 1;
  return {
    ...{ type: "delta", parentTxId, txId, pageSize, highWaterMark, stampMs: state.stampMs },
    ...outcome,
  } as const;
}

/** Which file the database is in now. One without a file is never the same again: nothing tells that it is. */
function identityOf(state: ObserverState): FileIdentity {
  const machine = readMachineIdentity();
  const stats = statSync(state.database.path, { bigint: true, throwIfNoEntry: false });
  if (stats !== undefined) return fileIdentity(stats, machine);
  return { device: "none", inode: state.inode, birthtimeNs: "0", ...machine };
}

/** An inode for a database that has none. */
export const noInode = (): string => `none-${randomUUID()}`;

/** What to raise for an error of which nothing is known. */
export function unforeseen(error: unknown): PageferryError {
  if (error instanceof PageferryError) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new PageferryError("unavailable", message, { cause: error, hint: errorTable.unavailable.hint });
}
