// How one database ends: it looks, takes a checkpoint, captures the last commits, sends, and closes, each within its share of the time.
import type { Farewell } from "@pageferry/format";
import type { DatabaseState } from "./database-state.ts";
import { requestCheckpoint } from "./upkeep.ts";

/** What a final checkpoint may take of the time to stop; without it a restart rolls forward a little more. */
const checkpointShareOfStop = 0.3;

/** What the first look at the whole file may take of it, where there was none yet. */
const lookShareOfStop = 0.3;

/** What is to be ended, and by when. */
interface Stopping {
  readonly consuming: Promise<void>;
  readonly sending: Promise<void>;
  readonly deadlineMs: number;
  /** It is no longer backed up, on purpose: the host is told so, last of all. */
  readonly farewell?: Farewell | undefined;
}

/**
 * Captures what is committed, sends what is left, and closes; what the deadline cuts off is in the shadow. The lock is free in any case. Says
 * whether the host was told what there was to tell it.
 */
export async function stopDatabase(state: DatabaseState, stopping: Stopping): Promise<boolean> {
  try {
    return await endDatabase(state, stopping);
  } finally {
    await state.lock.close();
  }
}

async function endDatabase(
  state: DatabaseState,
  { consuming, sending, deadlineMs, farewell }: Stopping,
): Promise<boolean> {
  const endMs = performance.now() + deadlineMs;
  state.stopping.abort();
  const signal = AbortSignal.timeout(Math.max(1, Math.ceil(deadlineMs)));
  const aborted = new Promise<void>((settle) =>
    signal.addEventListener("abort", () => settle(), { once: true }),
  );
  // Without a page table the next start would have to begin a generation: also for a process that ends at once, again and again.
  const isLooking = state.source !== undefined && state.foundTxId === null;
  if (isLooking && state.alarms.list().length === 0)
    await state.looked.wait(deadlineMs * lookShareOfStop, signal);
  if (state.foundTxId !== null) requestCheckpoint(state);
  if (state.checkpointing !== undefined)
    await state.checkpointDone.wait(deadlineMs * checkpointShareOfStop, signal);
  state.source?.stop({ deadlineMs: Math.max(0, endMs - performance.now()) });
  await Promise.race([consuming, aborted]);
  await state.chapters.at(-1)?.shadow.flush(signal);
  state.sender.drain();
  await Promise.race([sending, aborted]);
  await state.companions?.stop(signal);
  // Anything that came after it would say that the database is backed up again.
  const isTold =
    farewell === undefined ||
    (!signal.aborted &&
      (await Promise.race([state.sender.sayFarewell(farewell), aborted.then(() => false)])));
  state.abort.abort();
  await sending;
  await state.uploads.close();
  await state.upkeep;
  for (const chapter of state.chapters) await chapter.shadow.close();
  state.cursor.update({ stampMs: state.stampMs });
  await state.cursor.save().catch((error: unknown) => state.alarms.raiseError("shadow", error));
  return isTold;
}
