// Capture pauses while a shadow is over its bound, where the policy is to give up nothing. The source goes on from the last state that
// was taken: what was committed meanwhile comes as one range when there is room again. See docs/shadow.md#what-is-kept-and-what-is-given-up.
import { counted } from "@pageferry/format";
import type { DatabaseState } from "./database-state.ts";
import { isWithinBounds, storedBound } from "./retention.ts";
import { checkBounds } from "./upkeep.ts";
import { createWake } from "./wake.ts";

/** Room is looked for so often; a look costs nothing. */
const lookMs = 200;

/** How often the host is asked what it stored: once a second. */
const looksPerQuestion = 5;

/** Capture goes on below this share of the bound, so that it does not pause again at once. */
const roomShare = 0.9;

/**
 * Waits until there is room, which with the policy `squash` is always so. False: the end came first, and nothing more is taken: a state
 * beyond the one that is missing would leave a hole.
 */
export async function untilRoom(state: DatabaseState): Promise<boolean> {
  const { shadowPolicy, shadowBytesMax } = state.shared.settings;
  if (shadowPolicy === "squash") return true;
  const { signal } = state.stopping;
  const current = state.chapters.at(-1)?.shadow;
  // What is on its way to the disk counts as soon as it could fill the room.
  if (current !== undefined && current.bytes() + current.pendingBytes() > shadowBytesMax)
    await current.flush(signal);
  if (!signal.aborted && (isWithinBounds(state.chapters, shadowBytesMax) || awaitsBase(state))) return true;
  state.alarms.raise("room", {
    code: "disk-full",
    message: `${state.place.path}: ${wordsOf(state)}, more than it may: capture pauses, the application goes on`,
    hint: "Commits from now on are on this machine only, until the host takes what waits. See why it does not, or raise shadowBytesMax.",
  });
  const pause = createWake();
  for (let looks = 0; !signal.aborted && !hasRoom(state); looks += 1) {
    checkBounds(state);
    if (looks % looksPerQuestion === 0 && !state.sender.isAway()) state.sender.hastenNeeds();
    await pause.wait(lookMs, signal);
  }
  state.isCut = signal.aborted;
  if (!state.isCut) state.alarms.clear("room");
  return !state.isCut;
}

/** What replicas have is only kept until a page table is beyond it, and that may come behind what is not taken. */
function hasRoom(state: DatabaseState): boolean {
  const { chapters, shared, isHealing } = state;
  if (isWithinBounds(chapters, shared.settings.shadowBytesMax * roomShare) || awaitsBase(state)) return true;
  return chapters.every((chapter) => {
    const last = chapter.shadow.entries().at(-1)?.txId;
    const stored = storedBound(chapter, isHealing);
    return last === undefined || (stored !== null && stored >= last);
  });
}

/**
 * A snapshot comes behind what is not taken, and nothing can be sent before it. What is captured until then is nothing that could be given
 * up: it is let go as soon as a page table is beyond it.
 */
function awaitsBase({ chapters, uploads }: DatabaseState): boolean {
  const current = chapters.at(-1);
  if (current === undefined || uploads.isBusy(current.generation)) return false;
  return current.cursor().baseNeededFrom !== null;
}

function wordsOf({ chapters }: DatabaseState): string {
  const bytes = chapters.reduce((sum, { shadow }) => sum + shadow.bytes(), 0);
  const records = chapters.reduce((sum, { shadow }) => sum + shadow.entries().length, 0);
  return `its shadow holds ${bytes} bytes in ${counted(records, "record")}`;
}
