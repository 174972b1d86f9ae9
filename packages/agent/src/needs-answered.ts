// What the host says it stored, and what it misses: taken to heart, healed, and where it cannot be true, refused.
import { formatTxId, type Needs, PageferryError, type TxId } from "@pageferry/format";
import { abandon, acknowledgedOf, type Chapter, lastTxIdOf, newest } from "./chapter.ts";
import type { DatabaseState } from "./database-state.ts";
import { planHealing } from "./healing.ts";
import { inBackground, requestBase, tidy } from "./upkeep.ts";

/** What was healed is healed again only after this: a host needs a while to put things away. */
const healAgainMs = 5 * 60_000;

/** Takes what the host needs: remembers what it stored, and heals what it misses. True: it has all there is. */
export function acceptNeeds(state: DatabaseState, needs: Needs): boolean {
  const nowMs = performance.now();
  for (const chapter of state.chapters) {
    chapter.storedTxId = needs.generations[chapter.generation]?.storedTxId ?? null;
  }
  state.isHostBuilding = needs.buildsSnapshots ?? false;
  haltWhereOvertaken(state);
  state.watchStored({ chapters: state.chapters, alarms: state.alarms, nowMs: state.shared.now() });
  const { epochMax } = state.cursor.value();
  if (needs.newestEpoch > epochMax) state.cursor.update({ epochMax: needs.newestEpoch });
  const facts = state.chapters.map((chapter) => ({
    generation: chapter.generation,
    isCurrent: chapter === state.chapters.at(-1),
    acknowledgedTxId: acknowledgedOf(chapter.cursor()),
    baseTxId: chapter.cursor().baseTxId,
    entries: chapter.shadow.entries(),
    sinceAcknowledgedMs: nowMs - state.lastAcknowledgedMs,
  }));
  const healings = planHealing(needs, facts);
  for (const healing of healings) {
    const chapter = state.chapters.find((one) => one.generation === healing.generation);
    const resend = healing.resend.filter((range) =>
      isNewly(state, `${healing.generation}/${formatTxId(range.txId)}`),
    );
    if (chapter !== undefined) state.sender.resend(chapter, resend);
    if (healing.snapshot && isNewly(state, `${healing.generation}/snapshot`)) requestBase(state);
  }
  inBackground(state, () => tidy(state));
  const [chapter, ...others] = state.chapters;
  const last = chapter === undefined ? null : newest(lastTxIdOf(chapter), acknowledgedOf(chapter.cursor()));
  const isAllStored = last !== null && chapter?.storedTxId === last;
  return healings.length === 0 && others.length === 0 && isAllStored;
}

/**
 * The host cannot have what this agent never captured: either the agent and its database were put back to an older state, or
 * another has the same shadow. To go on would mix two histories.
 */
function haltWhereOvertaken(state: DatabaseState): void {
  const { checkpoint } = state.cursor.value();
  for (const [index, chapter] of state.chapters.entries()) {
    const { generation, storedTxId } = chapter;
    const own = checkpoint?.generation === generation ? checkpoint.txId : null;
    const last = newest(lastTxIdOf(chapter), own);
    if (storedTxId === null || chapter.cursor().isAbandoned || storedTxId <= (last ?? parentTxIdOf(chapter)))
      continue;
    if (index < state.chapters.length - 1) {
      abandon(chapter, state.chapters[index + 1]);
      continue;
    }
    const message = `generation ${generation} of ${state.place.name}: the host has ${formatTxId(storedTxId)}, this agent is at ${last === null ? "nothing" : formatTxId(last)}`;
    const hint =
      "Was this machine put back to an older state? Restart the agent: it then begins a new generation.";
    state.sender.halt(new PageferryError("fork", message, { hint }));
  }
}

/** What is stored of a generation that has nothing of its own yet may be its parent's. */
function parentTxIdOf(chapter: Chapter): TxId {
  return chapter.cursor().parent?.txId ?? (0n as TxId);
}

function isNewly(state: DatabaseState, what: string): boolean {
  const nowMs = performance.now();
  for (const [key, atMs] of state.healedMs) {
    if (nowMs > atMs + healAgainMs) state.healedMs.delete(key);
  }
  if (state.healedMs.has(what)) return false;
  state.healedMs.set(what, nowMs);
  return true;
}
