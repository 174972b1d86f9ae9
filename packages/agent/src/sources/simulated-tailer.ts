// For tests: a tailer over a simulated file, in simulated time, with a consumer that holds every event against the truth.
import assert from "node:assert/strict";
import { pageHeader } from "@pageferry/format";
import type { FileIdentity } from "../identity.ts";
import type { KeptLinks } from "./link-keeper.ts";
import type { Link } from "./link-log.ts";
import { type Consumer, createConsumer } from "./simulated-consumer.ts";
import { type RecordedHistory, type SimulatedFile, simulateFile } from "./simulated-file.ts";
import { isDrained, stepTailer } from "./tailer.ts";
import {
  createTailer,
  type OpenFile,
  type Tailer,
  type TailerEvent,
  type TailerOptions,
} from "./tailer-state.ts";

/** Numbers from 0 to below 1 that look random and are the same for the same seed (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Pieces the writer does between two half page reads, `mean` of them and in bursts; or the mean wanders. */
export type Mean = number | "changing";

function bursts(random: () => number, mean: Mean): () => number {
  let now = mean === "changing" ? 0.1 : mean;
  return () => {
    if (mean === "changing" && random() < 0.001) now = 10 ** (random() * 3.5 - 3);
    return random() < 0.2 ? Math.floor(-Math.log(1 - random()) * now * 5 + random()) : 0;
  };
}

export const identity: FileIdentity = {
  device: "1",
  inode: "2",
  birthtimeNs: "3",
  bootId: "boot",
  machineId: "machine",
};

/** What can be changed about the world while a test runs. */
export interface SimulatedWorld {
  file: SimulatedFile;
  identity: FileIdentity;
  pathState: "same" | "missing" | "replaced";
  hasWriter: boolean;
  isWrittenElsewhere: boolean;
  /** Milliseconds. */
  clockMs: number;
  wallMs: number;
  openError: unknown;
  imageError: unknown;
  /** False: images of others have all places. */
  hasImageRoom: boolean;
  readonly checks: string[];
}

export interface SimulatedTailer {
  readonly tailer: Tailer;
  readonly world: SimulatedWorld;
  readonly consumer: Consumer;
  readonly events: TailerEvent[];
  /** One step; the clock goes on by what the tailer asked for, a second at most. */
  step(canEmit?: boolean): number;
  /** Steps until `isOver`, or fails. */
  until(isOver: () => boolean): void;
  /** Steps until everything in the file was told. */
  drain(): void;
}

export interface SimulatedOptions
  extends Partial<
    Pick<TailerOptions, "known" | "forced" | "isKnownRestored" | "maxReadRate" | "baseDeadlineMs">
  > {
  readonly seed?: number;
  /** 0: the writer writes only when told. */
  readonly mean?: Mean;
  readonly isScribbling?: boolean;
  readonly cloneFile?: () => ReturnType<TailerOptions["environment"]["cloneFile"]>;
  /** Links are kept by another thread, which misses this share of them. Absent: they are not. */
  readonly missedLinks?: number;
  /** Answers what a full check of an image finds. */
  readonly checkImage?: (path: string) => string | undefined;
}

/** Makes a tailer over a history. */
export function simulateTailer(history: RecordedHistory, options: SimulatedOptions = {}): SimulatedTailer {
  const random = seeded(options.seed ?? 1);
  const { isScribbling = true, mean = 0 } = options;
  const consumer = createConsumer(history);
  const events: TailerEvent[] = [];
  let failure: unknown;
  const world: SimulatedWorld = {
    file: simulateFile(history, { random, pace: bursts(random, mean), isScribbling }),
    identity,
    pathState: "same",
    hasWriter: true,
    isWrittenElsewhere: false,
    clockMs: 0,
    wallMs: 1_000_000,
    openError: undefined,
    imageError: undefined,
    hasImageRoom: true,
    checks: [],
  };
  const emit = (event: TailerEvent): void => {
    events.push(event);
    try {
      consumer.take(event);
    } catch (error) {
      failure ??= error;
    }
  };
  const tailer = createTailer({
    path: "simulated",
    known: options.known ?? null,
    forced: options.forced,
    isKnownRestored: options.isKnownRestored,
    maxReadRate: options.maxReadRate ?? 1e9,
    baseDeadlineMs: options.baseDeadlineMs ?? 600_000,
    environment: environmentOf(world, consumer, options, random, emit),
  });
  const step = (canEmit = true): number => {
    const { reads } = world.file;
    const waitMs = stepTailer(tailer, canEmit);
    world.clockMs += Math.max(0, world.file.reads - reads) * 0.002 + Math.min(waitMs, 1000);
    if (failure !== undefined)
      throw new Error(`seed ${options.seed}, mean ${options.mean}`, { cause: failure });
    return waitMs;
  };
  const until = (isOver: () => boolean): void => {
    for (let steps = 0; !isOver(); steps += 1) {
      assert.ok(steps < 200_000, `never happened; alarms: ${consumer.counts.alarms}`);
      step();
    }
  };
  return {
    tailer,
    world,
    consumer,
    events,
    step,
    until,
    drain: () => until(() => isDrained(tailer) && consumer.txId() === world.file.txId()),
  };
}

function environmentOf(
  world: SimulatedWorld,
  consumer: Consumer,
  options: SimulatedOptions,
  random: () => number,
  emit: (event: TailerEvent) => void,
): TailerOptions["environment"] {
  const { missedLinks } = options;
  return {
    now: () => world.wallMs + world.clockMs,
    clockMs: () => world.clockMs,
    openFile(): OpenFile {
      if (world.openError !== undefined) throw world.openError;
      const { readAt, stats } = world.file;
      return { identity: world.identity, openPath: "", readAt, stats, close() {} };
    },
    pathState: () => world.pathState,
    hasWriter: () => world.hasWriter,
    isWrittenElsewhere: () => world.isWrittenElsewhere,
    ...(missedLinks === undefined ? {} : { keepLinks: () => keptLinks(world, random, missedLinks) }),
    hasImageRoom: () => world.hasImageRoom,
    createImage() {
      if (world.imageError !== undefined) throw world.imageError;
      const image = consumer.createImage();
      const { writeAt } = image;
      image.writeAt = (position, bytes) => {
        if (world.imageError !== undefined) throw world.imageError;
        writeAt(position, bytes);
      };
      return image;
    },
    cloneFile: () => options.cloneFile?.(),
    checkImage(path, _stateHash, done) {
      world.checks.push(path);
      done(options.checkImage?.(path));
    },
    removeImage() {},
    emit,
  };
}

/** The links of the simulated file, some of which are missing, and some of whose paths are not whole. */
function keptLinks(world: SimulatedWorld, random: () => number, missedShare: number): KeptLinks {
  const kept = new Map<Link, Link | undefined>();
  const keep = (link: Link): Link | undefined => {
    if (!kept.has(link)) kept.set(link, random() < missedShare ? undefined : withMissedRuns(link, random));
    return kept.get(link);
  };
  return {
    follow(from, to) {
      const links = world.file.links
        .filter(({ view }) => view.meta.txId > from.meta.txId && view.meta.txId <= to.meta.txId)
        .map(keep)
        .filter((link) => link !== undefined);
      return links.length === Number(to.meta.txId - from.meta.txId) ? links : undefined;
    },
    forget() {},
    want() {},
    close() {},
  };
}

/** Of every third path some runs were not kept, but for the root: without it there is no link. */
function withMissedRuns({ view, runs }: Link, random: () => number): Link {
  const { pageSize, freelist, root } = view.meta;
  if (freelist !== null || random() < 0.67) return { view, runs };
  const left: Uint8Array[] = [];
  for (let at = 0; at < runs.length; ) {
    const { id, overflow } = pageHeader(runs.subarray(at));
    const end = at + (overflow + 1) * pageSize;
    if (id === root || random() < 0.7) left.push(runs.subarray(at, end));
    at = end;
  }
  return { view, runs: Buffer.concat(left) };
}

export interface Campaign {
  readonly histories: readonly RecordedHistory[];
  readonly means: readonly Mean[];
  readonly seeds: number;
  /** Share of the time at which nobody takes deltas. */
  readonly heldBack?: number;
  /** See `SimulatedOptions`. */
  readonly missedLinks?: number;
  /** Ask for a base with this chance per step. */
  readonly baseChance?: number;
}

/** What all runs together did. */
export interface CampaignFigures {
  singles: number;
  ranges: number;
  bases: number;
  breaks: number;
  scanRestarts: number;
  refusals: number;
}

/** Runs every history at every pace to its end. Throws at the first event that is not true, and at alarms. */
export function runCampaign(campaign: Campaign): CampaignFigures {
  const sum: CampaignFigures = { singles: 0, ranges: 0, bases: 0, breaks: 0, scanRestarts: 0, refusals: 0 };
  for (const history of campaign.histories) {
    for (const mean of campaign.means) {
      for (let seed = 1; seed <= campaign.seeds; seed += 1) {
        const { consumer, tailer } = runOnce(history, mean, seed, campaign);
        sum.singles += consumer.counts.singles;
        sum.ranges += consumer.counts.ranges;
        sum.bases += consumer.counts.bases;
        sum.breaks += tailer.figures.breaks;
        sum.scanRestarts += tailer.figures.scanRestarts;
        sum.refusals += tailer.figures.refusals;
      }
    }
  }
  return sum;
}

function runOnce(history: RecordedHistory, mean: Mean, seed: number, campaign: Campaign): SimulatedTailer {
  const { heldBack = 0, baseChance = 0 } = campaign;
  const random = seeded(seed + 1000);
  const { missedLinks } = campaign;
  const simulated = simulateTailer(history, {
    mean,
    seed,
    ...(missedLinks === undefined ? {} : { missedLinks }),
  });
  const { tailer, world, consumer } = simulated;
  const { file } = world;
  let isHeld = false;
  for (let steps = 0; !(file.isDone() && isDrained(tailer) && consumer.txId() === file.txId()); steps += 1) {
    assert.ok(steps < 2_000_000, `seed ${seed}, mean ${mean}: the tailer never comes to an end`);
    assert.deepEqual(consumer.counts.alarms, [], `seed ${seed}, mean ${mean}`);
    if (random() < 0.02) isHeld = random() < heldBack;
    if (random() < baseChance) tailer.isBaseWanted = true;
    // A writer does not stop because nobody reads.
    if (simulated.step(!isHeld) > 0) file.write(1 + Math.floor(random() * 4));
  }
  return simulated;
}
