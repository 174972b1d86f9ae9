// Keeps one replica's lanes from filling the queue for all: above its bound a lane lets go of what another replica has stored,
// oldest first, and `repair` brings that replica up later. What no other replica has is never let go of.

import { setImmediate as nextTurn } from "node:timers/promises";
import type { FanoutTarget } from "./fanout.ts";
import type { DurableQueue, LaneLoad } from "./queue.ts";

/** How much may wait in one lane. */
export interface LaneBounds {
  readonly messagesMax: number;
  readonly bytesMax: number;
  /** Of staged bodies that its messages point at. */
  readonly stagedBytesMax: number;
}

/** A quarter of a million messages cost some 100 MB of indexes. */
const messagesMaxDefault = 250_000;

/** Staged bodies wait on the disk that everything else here needs, too. */
const stagedBytesMaxDefault = 4 * 1024 * 1024 * 1024;

/** All lanes together leave this share of the queue to what comes in. */
const lanesShare = 0.5;

/** Tidying gives back 16 MiB at a time; this often at most, when there was no room. */
const tidyingsMax = 128;

/** A lane that is full of what nobody else has is not looked through again at once. */
const againMs = 5000;

export interface Relief {
  /** Looks whether a lane is over its bound; to be called whenever lanes grew. */
  check(): void;
  /** A sender was refused: lanes let go of all that they can, and of their oldest dead letters. */
  relieve(): void;
  stop(): Promise<void>;
}

export interface ReliefOptions {
  readonly queue: DurableQueue;
  readonly targets: readonly Pick<FanoutTarget, "lane" | "copyLane">[];
  readonly bounds: LaneBounds;
  /** Called when something was let go of. */
  readonly onShed: () => void;
  readonly onError: (error: unknown) => void;
}

/** The bounds of each of so many replicas' lanes, in a queue of `queueBytesMax`. */
export function laneBounds(queueBytesMax: number, replicas: number): LaneBounds {
  return {
    messagesMax: messagesMaxDefault,
    bytesMax: Math.floor((queueBytesMax * lanesShare) / Math.max(1, replicas)),
    stagedBytesMax: stagedBytesMaxDefault,
  };
}

export function createRelief(options: ReliefOptions): Relief {
  const { queue, targets, bounds } = options;
  const lanes = targets.flatMap(({ lane, copyLane }) => [lane, copyLane]);
  /** Half of the bound: a lane that is full is not full again with the next message. */
  const kept = {
    messages: bounds.messagesMax / 2,
    bytes: bounds.bytesMax / 2,
    staged: bounds.stagedBytesMax / 2,
  };
  const notBeforeMs = new Map<string, number>();
  let running: Promise<void> | undefined;
  let isStopped = false;

  const shedAll = async (wanted: readonly string[], keep: LaneLoad): Promise<void> => {
    let dropped = 0;
    for (const lane of wanted) {
      let gone = 0;
      for (let some = -1; some !== 0 && !isStopped; gone += Math.max(0, some)) {
        some = queue.shed(lane, keep);
        await nextTurn();
      }
      if (gone === 0) notBeforeMs.set(lane, performance.now() + againMs);
      dropped += gone;
    }
    if (dropped > 0 && !isStopped) options.onShed();
  };
  /** What was let go of frees pages of the queue's file and staged bodies, which the disk may need. */
  const makeRoom = async (wanted: readonly string[]): Promise<void> => {
    await shedAll(wanted, { messages: 0, bytes: 0, staged: 0 });
    let dropped = 0;
    // Some at a time: the newest stay where that is enough.
    for (const lane of isStopped ? [] : wanted) dropped += queue.shedDead(lane);
    if (dropped > 0) options.onShed();
    for (let round = 0; round < tidyingsMax && !isStopped; round++) {
      queue.tidy();
      await nextTurn();
    }
  };
  const start = (work: () => Promise<void>): void => {
    running ??= work()
      .catch((error: unknown) => {
        if (!isStopped) options.onError(error);
      })
      .finally(() => {
        running = undefined;
      });
  };
  const isOver = (lane: string): boolean => {
    const { messages, bytes, staged } = queue.load(lane);
    const over = messages > bounds.messagesMax || bytes > bounds.bytesMax || staged > bounds.stagedBytesMax;
    return over && performance.now() >= (notBeforeMs.get(lane) ?? 0);
  };
  return {
    check() {
      const full = running === undefined && !isStopped ? lanes.filter(isOver) : [];
      if (full.length > 0) start(() => shedAll(full, kept));
    },
    relieve() {
      const due = lanes.filter((lane) => performance.now() >= (notBeforeMs.get(lane) ?? 0));
      if (running === undefined && !isStopped && due.length > 0) start(() => makeRoom(due));
    },
    async stop() {
      isStopped = true;
      await running;
    },
  };
}
