// Feeds a mirror from a shadow directory of the Go implementation, one transaction at a time: as soon as the tailer of the mirror has told
// one, the next is looked for, judged and applied. docs/shadow-directory.md has the rules.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { type Generation, isPageferryError, type StateHash, type TxId, txId } from "@pageferry/format";
import { fromFileSystem } from "@pageferry/format/node";
import type { FileIdentity, MachineIdentity } from "../identity.ts";
import type { MetaView } from "./bolt-io.ts";
import type { CapturedState } from "./capture-event.ts";
import type { CheckImage } from "./image-checks.ts";
import { type Evidence, judgeSegment } from "./shadow-directory-evidence.ts";
import { createSegmentFiles, type FoundSegment, type SegmentFiles } from "./shadow-directory-file.ts";
import { createImageMaker, type ImageMaker } from "./shadow-directory-image.ts";
import {
  createShadowListing,
  hasSegment,
  type ListedGeneration,
  type ListedSnapshot,
  newestSegment,
  type ShadowListing,
  segmentPath,
} from "./shadow-directory-listing.ts";
import {
  type History,
  identityOf,
  openShadowMemory,
  type ShadowMemoryStore,
} from "./shadow-directory-memory.ts";
import type { Mirror } from "./shadow-directory-mirror.ts";
import { type Candidate, decideSegment } from "./shadow-directory-plan.ts";
import { createSnapshotReadings, type SnapshotReadings } from "./shadow-directory-readings.ts";
import { standingOf } from "./shadow-directory-standing.ts";
import { clear, raise, type Tailer } from "./tailer-state.ts";

/** What a feed is made of. */
export interface FeedOptions {
  /** The shadow directory of the Go implementation. */
  readonly directory: string;
  /** Where the mirror lies, and what is remembered. */
  readonly mirrorDir: string;
  /** The state to go on from. */
  readonly reference: (CapturedState & { readonly identity: FileIdentity }) | null;
  readonly machine: MachineIdentity;
  readonly checkImage: CheckImage;
  readonly clockMs: () => number;
  readonly wake: () => void;
}

/** What was stored of a history, as the agent tells it. */
export interface Stored {
  readonly txId: TxId;
  /** Nothing more of it will come, and all of it is stored. */
  readonly isOver: boolean;
}

/** A shadow directory at work, with its mirror. */
export interface ShadowFeed {
  readonly options: FeedOptions;
  readonly memory: ShadowMemoryStore;
  readonly listing: ShadowListing;
  readonly files: SegmentFiles;
  readonly maker: ImageMaker;
  readonly readings: SnapshotReadings;
  /** By history. */
  readonly stored: Map<string, Stored>;
  /** State hashes of transactions of this history that were applied lately. */
  readonly states: Map<TxId, StateHash>;
  mirror: Mirror | undefined;
  /** The stamp of what is being told. */
  stampMs: number;
  /** Ends what takes its time. */
  readonly closing: AbortController;
  /** Something that takes its time; nothing else is done meanwhile. */
  job: Promise<void> | undefined;
  /** Nothing is tried before this clock time. */
  retryAtMs: number;
  /** A way to the state that is known was looked for, and there is none: only a later snapshot helps. */
  isLost: boolean;
  /** The last look found nothing to do. */
  isIdle: boolean;
  listedAtMs: number;
  trimmedAtMs: number;
  comparedAtMs: number;
  /** Since when something is there that cannot be gone on to. */
  stuckSinceMs: number | undefined;
  /** Steps since an image of the mirror is being copied. */
  turns: number;
}

/** Between two looks while nothing happens; a notification comes sooner. */
export const idleLookMs = 250;
/** The directory is listed this often at most. */
const listEveryMs = 100;
/** After an error that may pass. */
const retryMs = 1000;
/** A transaction that is missing for so long is an alarm. */
const stuckAlarmMs = 60_000;
/** State hashes that are kept, to hold a late snapshot against: some minutes of a busy writer, 1 MB. */
const statesMax = 10_000;
/** Makes a feed. Throws what the file system throws for its own directory. */
export function createShadowFeed(options: FeedOptions): ShadowFeed {
  const listing = createShadowListing(options.directory);
  const memory = openShadowMemory(options.mirrorDir);
  memory.sweep();
  const ours = (generation: Generation): number => (isOurs(memory, generation) ? 0 : 1);
  // Where the same transaction is in several, our own are asked first.
  const ordered = () =>
    [...listing.generations.values()].sort((a, b) => ours(a.generation) - ours(b.generation));
  const closing = new AbortController();
  const maker = createImageMaker(options.directory, ordered, options.checkImage, closing.signal);
  return {
    ...{ options, memory, listing, maker },
    files: createSegmentFiles(),
    readings: createSnapshotReadings(maker),
    stored: new Map(),
    states: new Map(),
    closing,
    mirror: undefined,
    stampMs: 0,
    job: undefined,
    retryAtMs: 0,
    isLost: false,
    isIdle: false,
    listedAtMs: Number.NEGATIVE_INFINITY,
    trimmedAtMs: Number.NEGATIVE_INFINITY,
    comparedAtMs: Number.NEGATIVE_INFINITY,
    stuckSinceMs: undefined,
    turns: 0,
  };
}

/** The history that is followed. */
export function historyOf(feed: Pick<ShadowFeed, "memory">): History | undefined {
  return feed.memory.value().histories.at(-1);
}

/** Whether a generation belongs to the history that is followed. */
export function isOurs(memory: ShadowMemoryStore, generation: Generation): boolean {
  return memory.value().histories.at(-1)?.generations.includes(generation) === true;
}

/** Whether a generation belongs to a history that was left. */
export function isPast(memory: ShadowMemoryStore, generation: Generation): boolean {
  const { histories } = memory.value();
  return histories.slice(0, -1).some(({ generations }) => generations.includes(generation));
}

/** Where the file is that notifications are asked for. */
export function watchedPath(feed: ShadowFeed): string {
  const { directory } = feed.options;
  const own = historyOf(feed)?.generations.at(-1);
  return own === undefined ? directory : join(directory, own, "segments");
}

/** The mirror as a tailer opens it; `undefined`: there is none yet. */
export function mirrorFile(feed: ShadowFeed) {
  const history = historyOf(feed);
  return history === undefined ? undefined : feed.mirror?.openFile(identityOf(history, feed.options.machine));
}

/** Lists the directory again, unless it was just now. False: it cannot be read, and that is told. */
export function refreshListing(feed: ShadowFeed, tailer: Tailer): boolean {
  const clockMs = feed.options.clockMs();
  if (clockMs < feed.listedAtMs + listEveryMs) return true;
  feed.listedAtMs = clockMs;
  const { directory } = feed.options;
  try {
    feed.listing.refresh();
    clear(tailer, "unreadable");
    return true;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? String(error);
    const hint =
      code === "ENOENT"
        ? "It is followed as soon as it is there; the application makes it with its first commit. See whether the path is right."
        : "Run as the application's user, or give this one the right to read, and to remove what is stored.";
    raise(tailer, "unreadable", `${directory}: the shadow directory cannot be read (${code})`, hint);
    return false;
  }
}

/** Applies the next transaction if it is there and is the right one. False: there is nothing that could be applied now. */
export function takeNext(feed: ShadowFeed, tailer: Tailer): boolean {
  const { known, knownView } = tailer;
  if (known?.table == null || knownView === undefined || feed.mirror === undefined) return false;
  note(feed, known.txId, known.stateHash);
  const next = txId(known.txId + 1n);
  const found = new Map<Generation, FoundSegment & { kind: "whole" }>();
  const candidates = candidatesFor(feed, tailer, next, knownView, found);
  const decision = decideSegment(candidates);
  if (decision.kind === "read") {
    const listed = feed.listing.generations.get(decision.generation);
    const snapshot = listed?.snapshots.find((one) => one.txId === next);
    if (snapshot !== undefined) readSnapshot(feed, tailer, snapshot);
    return true;
  }
  const taken = decision.kind === "take" ? found.get(decision.generation) : undefined;
  const candidate = candidates.find(
    ({ generation }) => decision.kind === "take" && generation === decision.generation,
  );
  if (taken === undefined || candidate?.evidence?.follows !== true) return false;
  attempt(feed, tailer, () => apply(feed, candidate.generation, taken, candidate.evidence));
  clear(tailer, "gap");
  feed.stuckSinceMs = undefined;
  return true;
}

type Judged = Candidate & { readonly evidence: Evidence };

/** Every whole file of the next transaction. Others than our own generation's are only looked for where that has none. */
function candidatesFor(
  feed: ShadowFeed,
  tailer: Tailer,
  next: TxId,
  view: MetaView,
  found: Map<Generation, FoundSegment & { kind: "whole" }>,
): Judged[] {
  const { directory } = feed.options;
  const own = historyOf(feed)?.generations.at(-1);
  const judged: Judged[] = [];
  const look = (generation: Generation): void => {
    const file = feed.files.read(segmentPath(directory, generation, next), next);
    if (file.kind !== "whole") return;
    const isOwn = generation === own;
    // Something older that happens to have the number: a generation of long ago, or of another history.
    const isOlder = file.stampMs < Math.floor(feed.stampMs / 1000) * 1000;
    if (!isOwn && (isOlder || isPast(feed.memory, generation))) return;
    found.set(generation, file);
    judged.push({ ...judgedFile(feed, tailer, view, generation, file), isOwn });
  };
  if (own !== undefined) look(own);
  if (judged.some(({ evidence }) => evidence.follows) || !refreshListing(feed, tailer)) return judged;
  for (const listed of feed.listing.generations.values()) {
    if (listed.generation !== own && hasSegment(listed, next) && isFitting(feed, tailer, listed, next))
      look(listed.generation);
  }
  return judged;
}

/** Whether what a generation has of before is ours; reads a snapshot where that has to tell. */
function isFitting(feed: ShadowFeed, tailer: Tailer, listed: ListedGeneration, next: TxId): boolean {
  const { memory, listing, options, states, readings } = feed;
  if (isOurs(memory, listed.generation)) return true;
  if (isPast(memory, listed.generation)) return false;
  const ours = [...listing.generations.values()].filter(({ generation }) => isOurs(memory, generation));
  const past = { directory: options.directory, ours, states, reading: readings.of };
  const standing = standingOf(past, listed, next);
  if (typeof standing === "object") readSnapshot(feed, tailer, standing);
  return standing === "ours";
}

function judgedFile(
  feed: ShadowFeed,
  tailer: Tailer,
  view: MetaView,
  generation: Generation,
  file: FoundSegment & { kind: "whole" },
): Omit<Judged, "isOwn"> {
  const table = tailer.known?.table;
  const readAt = feed.mirror?.readAt;
  const evidence: Evidence =
    table == null || readAt === undefined
      ? { follows: false, reason: "nothing is known" }
      : judgeSegment({ view, table, leaked: tailer.leaked, readAt }, file.segment);
  const { txId: id } = file.segment.header;
  const listed = feed.listing.generations.get(generation);
  const snapshot = listed?.snapshots.find((one) => one.txId === id);
  return {
    generation,
    evidence,
    post: evidence.follows ? evidence.post : undefined,
    ageMs: file.ageMs,
    goesOn: listed !== undefined && hasSegment(listed, txId(id + 1n)),
    snapshot: snapshot === undefined ? undefined : feed.readings.of(snapshot),
  };
}

function apply(
  feed: ShadowFeed,
  generation: Generation,
  { segment, stampMs }: FoundSegment & { kind: "whole" },
  evidence: Evidence,
): void {
  if (!evidence.follows) return;
  // Remembered first: a generation that is known too early is harmless, one that is applied and unknown would never be trimmed.
  follow(feed, generation);
  feed.stampMs = Math.max(feed.stampMs, stampMs);
  feed.mirror?.apply(segment, evidence.meta, feed.stampMs);
  note(feed, segment.header.txId, evidence.post);
}

/** Makes a generation the one that our history goes on in. */
function follow(feed: ShadowFeed, generation: Generation): void {
  const memory = feed.memory.value();
  const history = memory.histories.at(-1);
  if (history === undefined || history.generations.at(-1) === generation) return;
  const generations = [...history.generations.filter((one) => one !== generation), generation];
  feed.memory.save({ ...memory, histories: [...memory.histories.slice(0, -1), { ...history, generations }] });
}

/** Remembers what a transaction led to. */
export function note(feed: ShadowFeed, id: TxId, stateHash: StateHash): void {
  feed.states.set(id, stateHash);
  for (const oldest of feed.states.keys()) {
    if (feed.states.size <= statesMax) break;
    feed.states.delete(oldest);
  }
}

function readSnapshot(feed: ShadowFeed, tailer: Tailer, snapshot: ListedSnapshot): void {
  if (feed.job !== undefined) return;
  start(feed, tailer, () => feed.readings.look(snapshot, feed.memory.newPath()));
}

/** Does something that takes its time. What goes wrong is told, and tried again later. */
export function start(feed: ShadowFeed, tailer: Tailer, act: () => Promise<void>): void {
  feed.job = act()
    .then(() => clear(tailer, "disk-full", "unavailable"))
    .catch((error: unknown) => {
      if (!feed.closing.signal.aborted) failed(feed, tailer, error);
    })
    .then(() => {
      feed.job = undefined;
      feed.options.wake();
    });
}

/** Does something now. False: it went wrong, which is told, and it is tried again later. */
export function attempt(feed: ShadowFeed, tailer: Tailer, act: () => void): boolean {
  try {
    act();
    clear(tailer, "disk-full", "unavailable");
    return true;
  } catch (error) {
    failed(feed, tailer, error);
    return false;
  }
}

/** Tells what went wrong; nothing is tried for a moment. */
export function failed(feed: ShadowFeed, tailer: Tailer, thrown: unknown): void {
  feed.retryAtMs = feed.options.clockMs() + retryMs;
  const error = fromFileSystem(thrown, `mirroring ${feed.options.directory} in ${feed.options.mirrorDir}`);
  const code = isPageferryError(error) && error.code === "disk-full" ? "disk-full" : "unavailable";
  const message = error instanceof Error ? error.message : String(error);
  const hint =
    code === "disk-full"
      ? "Free space: the mirror needs as much as the database is long, and as much again while a snapshot is read."
      : "It is tried again; see the agent's own directory.";
  raise(tailer, code, message, hint);
}

/** What lies behind the missing transaction can only be gone on to from a snapshot; that none comes is told after a while. */
export function noteStuck(feed: ShadowFeed, tailer: Tailer, at: TxId): void {
  const { memory, listing, options } = feed;
  const beyond = [...listing.generations.values()].filter(
    (one) => !isPast(memory, one.generation) && (newestSegment(one) ?? 0n) > at,
  );
  if (beyond.length === 0) {
    feed.stuckSinceMs = undefined;
    clear(tailer, "gap");
    return;
  }
  feed.stuckSinceMs ??= options.clockMs();
  if (options.clockMs() < feed.stuckSinceMs + stuckAlarmMs) return;
  const message = `${options.directory}: nothing leads on from transaction ${at}; what came after it waits for the application's next snapshot`;
  const hint =
    "A shorter snapshotInterval of the application closes gaps sooner. Its own backup of this time is not complete either.";
  raise(tailer, "gap", message, hint);
}

/** Whether somebody removed the mirror. */
export function isMirrorGone(feed: ShadowFeed): boolean {
  return feed.mirror !== undefined && !existsSync(feed.mirror.path);
}
