// Removes from a shadow directory what the agent says is stored, once a snapshot above it was read and found to be what we have.
import { formatTxId, type Generation, parseTxId, type TxId, txId } from "@pageferry/format";
import { historyOf, isOurs, type ShadowFeed, start } from "./shadow-directory-feed.ts";
import type { ListedGeneration, ListedSnapshot } from "./shadow-directory-listing.ts";
import type { History } from "./shadow-directory-memory.ts";
import { trimSnapshot } from "./shadow-directory-plan.ts";
import { hasTwin } from "./shadow-directory-standing.ts";
import { hasBelow, removeEmpty, trimBelow, trimUpTo } from "./shadow-directory-trim.ts";
import { raise, type Tailer } from "./tailer-state.ts";

/** Looked at this often at most. */
const trimEveryMs = 500;
/** Generations that nobody knows are compared with ours this often at most. */
const compareEveryMs = 5000;
/** A fork is short; what is longer is another process. */
const twinSegmentsMax = 100;
/** Generations that are compared with ours in one go. */
const twinsAtOnce = 50;

/** The agent says what of a history is stored. */
export function noteStored(feed: ShadowFeed, origin: string, id: TxId, isOver: boolean): void {
  const before = feed.stored.get(origin);
  const most = before !== undefined && before.txId > id ? before.txId : id;
  feed.stored.set(origin, { txId: most, isOver: isOver || before?.isOver === true });
}

/** Removes what may go, or begins to read the snapshot that must be sound for it. `onContradiction`: one of ours holds something else than we have. */
export function stepTrim(
  feed: ShadowFeed,
  tailer: Tailer,
  at: TxId,
  onContradiction: (snapshot: ListedSnapshot) => void,
): void {
  const { options, memory, listing, readings } = feed;
  const clockMs = options.clockMs();
  if (clockMs < feed.trimmedAtMs + trimEveryMs) return;
  feed.trimmedAtMs = clockMs;
  const history = historyOf(feed);
  const stored = history === undefined ? undefined : feed.stored.get(history.origin);
  if (stored === undefined) return;
  const bound = stored.txId < at ? stored.txId : at;
  const generations = [...listing.generations.values()];
  const snapshots = generations.flatMap((one) => one.snapshots);
  const passed = (one: ListedSnapshot) => readings.of(one) === "unfinished";
  const snapshot = trimSnapshot(
    snapshots.filter((one) => !passed(one)),
    bound,
    (generation) => isOurs(memory, generation),
  );
  if (snapshot === undefined) return;
  if (clockMs >= feed.comparedAtMs + compareEveryMs) {
    feed.comparedAtMs = clockMs;
    includeTwins(feed, generations, snapshot.txId);
  }
  const ours = generations.filter(({ generation }) => isOurs(memory, generation));
  const hasOver = [...feed.stored].some(([origin, { isOver }]) => isOver && origin !== history?.origin);
  if (!hasOver && !hasBelow(ours, snapshot)) {
    tidy(feed, generations);
    return;
  }
  const reading = readings.of(snapshot);
  if (reading === "unread") {
    start(feed, tailer, () => readings.look(snapshot, memory.newPath()));
    return;
  }
  const truth = feed.states.get(snapshot.txId);
  if (truth !== undefined && truth !== reading) {
    const message = `${snapshot.path}: it is not what the segments before it lead to`;
    raise(
      tailer,
      "fork",
      message,
      "A new generation begins from it. Do two applications have one shadow directory?",
    );
    onContradiction(snapshot);
    return;
  }
  trimBelow(options.directory, ours, snapshot);
  trimOver(feed, generations);
  tidy(feed, generations);
  listing.forget(
    generations.filter(({ txIds }) => (txIds[0] ?? bound + 1n) <= bound).map((one) => one.generation),
  );
}

/** Of histories that are over and stored, everything up to there. */
function trimOver(feed: ShadowFeed, generations: readonly ListedGeneration[]): void {
  const { memory, options } = feed;
  for (const history of memory.value().histories.slice(0, -1)) {
    const told = feed.stored.get(history.origin);
    const overAt = told?.isOver === true ? formatTxId(told.txId) : history.overAt;
    if (overAt === null) continue;
    if (history.overAt !== overAt) {
      const histories = memory.value().histories.map((one) => (one === history ? { ...one, overAt } : one));
      memory.save({ ...memory.value(), histories });
    }
    const theirs = generations.filter(
      ({ generation }) => history.generations.includes(generation) && !isOurs(memory, generation),
    );
    trimUpTo(options.directory, theirs, parseTxId(overAt));
    feed.stored.delete(history.origin);
  }
}

/** Empty directories go, but for the one that is written; so do histories of which nothing is left. */
function tidy(feed: ShadowFeed, generations: readonly ListedGeneration[]): void {
  const { memory, listing, options } = feed;
  const current = historyOf(feed)?.generations.at(-1);
  for (const { generation, txIds, snapshots } of generations) {
    const isKnown = memory.value().histories.some((one) => one.generations.includes(generation));
    if (isKnown && generation !== current && txIds.length === 0 && snapshots.length === 0) {
      removeEmpty(options.directory, generation, Date.now());
    }
  }
  const { histories } = memory.value();
  const isThere = (generation: Generation) => generation === current || listing.generations.has(generation);
  const kept = histories.map((one) => ({ ...one, generations: one.generations.filter(isThere) }));
  const left = kept.filter((one, index) => index === kept.length - 1 || one.generations.length > 0);
  const count = (all: readonly History[]) => all.reduce((sum, one) => sum + 1 + one.generations.length, 0);
  if (count(left) < count(histories)) memory.save({ ...memory.value(), histories: left });
}

/**
 * A controller that is registered twice writes each transaction twice, in two generations. One that has, byte for byte, what one of
 * ours has is of the same process at the same moment, and so ours.
 */
function includeTwins(feed: ShadowFeed, generations: readonly ListedGeneration[], upTo: TxId): void {
  const { memory, options } = feed;
  const known = new Set(memory.value().histories.flatMap((one) => one.generations));
  const ours = generations.filter(({ generation }) => isOurs(memory, generation));
  const strangers = generations.filter(
    ({ generation, txIds }) => !known.has(generation) && (txIds[0] ?? upTo + 1n) <= upTo,
  );
  const twins = strangers
    .slice(0, twinsAtOnce)
    .filter((stranger) => stranger.txIds.length <= twinSegmentsMax)
    .filter((stranger) =>
      stranger.txIds.every((id) => id > upTo || hasTwin(options.directory, stranger, ours, txId(id))),
    );
  if (twins.length === 0) return;
  const value = memory.value();
  const history = value.histories.at(-1);
  if (history === undefined) return;
  const generationsOfOurs = [...twins.map(({ generation }) => generation), ...history.generations];
  const histories = [...value.histories.slice(0, -1), { ...history, generations: generationsOfOurs }];
  memory.save({ ...value, histories });
}
