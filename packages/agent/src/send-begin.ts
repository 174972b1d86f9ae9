// How a generation begins at the host: its epoch, whether the point that it stands on is there, and the word that it has begun.
import type { Generation } from "@pageferry/format";
import { acknowledgedOf, type Chapter, standsOnHeld, unsentOf, waitForBase } from "./chapter.ts";
import type { SendContext } from "./send.ts";
import { deliver, type ItemSender } from "./send-items.ts";

/** What beginning needs. */
export type BeginSender = ItemSender &
  Pick<SendContext, "queue" | "cursor" | "alarms"> & {
    /** Generations without anything to send of which the host was told since the start. */
    readonly told: Set<Generation>;
  };

/** The begin of a generation is completed: one above the highest epoch that anyone knows. */
export async function learnEpoch(state: BeginSender, chapter: Chapter): Promise<void> {
  // First, for it may take long: the epoch is to be above what the host knows then.
  const isHeld = await holdsParent(state, chapter);
  const needs = await state.contact.askNeeds();
  const { epochMax, generations } = state.cursor.value();
  const isFirst = generations.every((one) => one.epoch === null);
  if (needs === undefined) {
    const hint = "Set `queue.api`, and a token with the scope `needs`, so that gaps are noticed and healed.";
    const message = `${state.queue.name}: it does not tell what it needs; ${state.database} is sent without healing`;
    state.alarms.raise("needs", { code: "unavailable", message, hint });
  }
  const epoch = needs === undefined && isFirst ? 0 : Math.max(epochMax, needs?.newestEpoch ?? 0) + 1;
  const { parentStateHash } = chapter.cursor();
  if (parentStateHash !== null && !(isHeld && needs !== undefined)) waitForBase(chapter);
  chapter.update({ epoch });
  state.cursor.update({ epochMax: epoch });
  await state.cursor.save("reserved").catch((error: unknown) => {
    // A restart would know nothing of it and learn another one; the host would take that for another history.
    chapter.update({ epoch: null });
    state.cursor.update({ epochMax });
    throw error;
  });
  const safe = acknowledgedOf(chapter.cursor());
  if (safe !== null && chapter === state.chapters().at(-1)) state.lag.safe(safe);
}

/** Whether the host holds the restored point that a generation stands on: it may be another's, or have been pruned. */
async function holdsParent(state: BeginSender, chapter: Chapter): Promise<boolean> {
  const { parent, parentStateHash: stateHash } = chapter.cursor();
  if (parent === null || stateHash === null) return false;
  return state.contact.askHolds({ ...parent, stateHash });
}

/**
 * Says that a generation has begun which has nothing to send: its file was restored, and nobody has written it since. The host then keeps
 * the point for it, and makes its first snapshot.
 */
export async function sendBegin(state: BeginSender, chapter: Chapter): Promise<boolean> {
  if (!isUntold(state, chapter)) return false;
  await deliver(state, chapter, [], []);
  state.told.add(chapter.generation);
  return true;
}

/** Whether there is such a word to be said. With anything that is sent it is said, too. */
export function isUntold({ told }: Pick<BeginSender, "told">, chapter: Chapter): boolean {
  const cursor = chapter.cursor();
  const { acknowledgedTxId, baseTxId } = cursor;
  const isEmpty = acknowledgedTxId === null && baseTxId === null && unsentOf(chapter).length === 0;
  return isEmpty && standsOnHeld(cursor) && !told.has(chapter.generation);
}
