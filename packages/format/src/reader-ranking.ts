// Which of several readers to ask for an object: one that has it, answers, and has been the fastest so far. A reader that is silent is
// waited for once. The arithmetic is in reader-speed.ts.

import type { ArchiveReader } from "./archive-reader.ts";
import { isPageferryError } from "./errors.ts";
import { afterRead, expectedMs, type ReaderSpeed } from "./reader-speed.ts";
import { createWatch, measuredReader, type Watch } from "./reader-watch.ts";

/** Silence after which another reader is asked, where there is one: longer than any healthy store takes for its next bytes. */
const stallMsDefault = 10_000;

/** A reader that failed is asked last for so long. */
const downMs = 30_000;

/** Nothing is worth trying instead of a reader that is expected to be done by then. */
const fastMs = 5;

/** How a file on this machine is taken to be, before it was measured. */
const localSpeed: ReaderSpeed = { latencyMs: 0.5, bytesPerMs: 500_000 };

/** The readers of one archive, ranked anew for each object. */
export interface ReaderRanking {
  /** All readers, the best first. They are the given ones, measured. `holders`: names of those that listed the object. */
  order(bytes: number, holders?: readonly string[]): ArchiveReader[];
  /** Notes that a reader could not give an object. */
  failed(reader: ArchiveReader, error: unknown): void;
  /** How fast a reader (by name) has been; undefined: nobody knows. */
  speedOf(name: string): ReaderSpeed | undefined;
  /** Whether none of these readers (by name) is worth asking. */
  areDown(names: readonly string[]): boolean;
  /** Gives up work with a reader that stands still, where there are others to go on with. `work` tells of its progress. */
  untilStalled<Value>(reader: ArchiveReader, work: (progress: () => void) => Promise<Value>): Promise<Value>;
}

/** How to rank. */
export interface RankingOptions {
  /** Default 10 s. With a single reader nothing is ended: there is nobody else to ask. */
  readonly stallMs?: number | undefined;
  /** How long one that was silent is asked last. Default: for ever, as long as this restore goes on. */
  readonly frozenMs?: number | undefined;
  /** Milliseconds on a clock that never goes back. */
  readonly now?: () => number;
}

interface Ranked {
  readonly measured: ArchiveReader;
  readonly watch: Watch;
  readonly index: number;
  speed: ReaderSpeed | undefined;
  /** Reads that have not ended. */
  underWay: number;
  downUntilMs: number;
}

/** Ranks readers; equal ones in the given order. */
export function createReaderRanking(
  readers: readonly ArchiveReader[],
  options: RankingOptions = {},
): ReaderRanking {
  const { now = () => performance.now(), frozenMs = Number.POSITIVE_INFINITY } = options;
  const stallMs = readers.length > 1 ? (options.stallMs ?? stallMsDefault) : undefined;
  const all = readers.map((reader, index) => rankedOf(reader, index, { stallMs, frozenMs, now }));
  const find = (reader: ArchiveReader): Ranked | undefined =>
    all.find((one) => one.measured === reader || readers[one.index] === reader);
  const isDown = (one: Ranked): boolean => one.downUntilMs > now();
  return {
    order(bytes, holders) {
      const best = Math.min(
        ...all.map((one) => (isDown(one) ? Number.POSITIVE_INFINITY : costOf(one, bytes))),
      );
      const keyed = all.map((one) => {
        const isHolder = holders === undefined || holders.includes(one.measured.name);
        const mayProbe = one.speed === undefined && one.underWay === 0 && best > fastMs;
        const cost = mayProbe ? 0 : costOf(one, bytes);
        return { one, rank: rankOf(isDown(one), isHolder, one.measured.isLastResort === true), cost };
      });
      return keyed.sort(byPreference).map(({ one }) => one.measured);
    },
    failed(reader, error) {
      const one = find(reader);
      if (one === undefined || !isPageferryError(error)) return;
      const isReaders = error.remedy === "retry" || error.code === "unauthorized";
      if (isReaders) one.downUntilMs = Math.max(one.downUntilMs, now() + downMs);
    },
    speedOf: (name) => all.find((one) => one.measured.name === name)?.speed,
    areDown: (names) => names.every((name) => all.some((one) => one.measured.name === name && isDown(one))),
    untilStalled(reader, work) {
      const one = find(reader);
      return one === undefined ? work(() => undefined) : one.watch(work);
    },
  };
}

function rankedOf(
  reader: ArchiveReader,
  index: number,
  options: {
    readonly stallMs: number | undefined;
    readonly frozenMs: number;
    readonly now: () => number;
  },
): Ranked {
  const { stallMs, frozenMs, now } = options;
  const onStall = (): void => {
    // It had its chance: from now on it is asked only for what nobody else has.
    ranked.downUntilMs = now() + frozenMs;
  };
  const watch = createWatch({ name: reader.name, stallMs, now, onStall });
  const ranked: Ranked = {
    index,
    watch,
    speed: reader.pathOf === undefined ? undefined : localSpeed,
    underWay: 0,
    downUntilMs: 0,
    measured: measuredReader(reader, {
      watch,
      now,
      onBegin() {
        ranked.underWay += 1;
      },
      onEnd(sample) {
        ranked.underWay -= 1;
        if (sample !== undefined) ranked.speed = afterRead(ranked.speed, sample);
      },
    }),
  };
  return ranked;
}

interface Preference {
  readonly one: Ranked;
  readonly rank: number;
  readonly cost: number;
}

function byPreference(a: Preference, b: Preference): number {
  return (
    a.rank - b.rank ||
    // Two that are unknown cost the same, and their difference is no number.
    (a.cost === b.cost ? 0 : a.cost - b.cost) ||
    a.one.underWay - b.one.underWay ||
    a.one.index - b.one.index
  );
}

/** One that has it, then one kept for need; then whoever may have it all the same; those that do not answer at the end. */
function rankOf(isDown: boolean, isHolder: boolean, isLastResort: boolean): number {
  return (isDown ? 4 : 0) + (isHolder ? 0 : 2) + (isLastResort ? 1 : 0);
}

/** What a read is expected to take; one that has something to do already takes longer. An unknown one is not asked twice at a time. */
function costOf({ speed, underWay }: Ranked, bytes: number): number {
  return speed === undefined ? Number.POSITIVE_INFINITY : expectedMs(speed, bytes) * (1 + underWay);
}
