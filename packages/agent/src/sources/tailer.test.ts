import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { createConsumer } from "./simulated-consumer.ts";
import { type RecordedHistory, recordedHistory, simulateFile, withoutFreelists } from "./simulated-file.ts";
import { isDrained, stepTailer } from "./tailer.ts";
import { createTailer, type OpenFile } from "./tailer-state.ts";

const identity = { device: "1", inode: "2", birthtimeNs: "3", bootId: "boot", machineId: "machine" };

/** Numbers from 0 to below 1 that are the same for the same seed (mulberry32). */
function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Pieces the writer does per turn, `mean` of them, in bursts. */
function bursts(random: () => number, mean: Run["mean"]): () => number {
  let now = mean === "changing" ? 0.1 : mean;
  return () => {
    if (mean === "changing" && random() < 0.001) now = 10 ** (random() * 3.5 - 3);
    return random() < 0.2 ? Math.floor(-Math.log(1 - random()) * now * 5 + random()) : 0;
  };
}

interface Run {
  readonly history: RecordedHistory;
  readonly seed: number;
  /** Pieces the writer does between two half page reads, in the mean. */
  readonly mean: number | "changing";
  /** Share of steps at which nobody takes deltas. */
  readonly heldBack?: number;
  /** Ask for a base with this chance per step. */
  readonly baseChance?: number;
}

function run({ history, seed, mean, heldBack = 0, baseChance = 0 }: Run) {
  const random = seeded(seed);
  const file = simulateFile(history, { random, pace: bursts(random, mean) });
  const consumer = createConsumer(history);
  let clockMs = 0;
  const open: OpenFile = { identity, readAt: file.readAt, stats: file.stats, close() {} };
  const tailer = createTailer({
    path: "simulated",
    known: null,
    maxReadRate: 1e9,
    baseDeadlineMs: 600_000,
    environment: {
      now: () => 1_000_000 + clockMs,
      clockMs: () => clockMs,
      openFile: () => open,
      pathState: () => "same",
      hasWriter: () => true,
      isWrittenElsewhere: () => false,
      createImage: consumer.createImage,
      cloneFile: () => undefined,
      checkImage: () => assert.fail("a writer that holds the lock is trusted"),
      removeImage() {},
      emit(event) {
        try {
          consumer.take(event);
        } catch (error) {
          failure ??= error;
        }
      },
    },
  });
  let isHeld = false;
  let failure: unknown;
  for (let steps = 0; !(file.isDone() && isDrained(tailer) && consumer.txId() === file.txId()); steps += 1) {
    assert.ok(steps < 2_000_000, `seed ${seed}: the tailer never comes to an end`);
    if (random() < 0.02) isHeld = random() < heldBack;
    if (random() < baseChance) tailer.isBaseWanted = true;
    const reads = file.reads;
    const waitMs = stepTailer(tailer, !isHeld);
    clockMs += (file.reads - reads) * 0.002 + Math.min(waitMs, 1);
    // A writer does not stop because nobody reads.
    if (waitMs > 0) file.write(1 + Math.floor(random() * 4));
    if (failure !== undefined) throw new Error(`seed ${seed}, mean ${mean}`, { cause: failure });
    if (consumer.counts.alarms.length > 0) assert.fail(`seed ${seed}: alarms ${consumer.counts.alarms}`);
  }
  return { counts: consumer.counts, figures: tailer.figures };
}

const chain = await recordedHistory("replica", "0862e0be1cb6d5ca");
const chainLater = await recordedHistory("replica", "45c401b6d4ba52fe");
const reach = await recordedHistory("replica-nofreelist", "78f6c0c032c4d12e");
const large = await recordedHistory("replica-16k-none", "3dbfa069db76585f");
const means = [0.01, 0.05, 0.2, 0.4, 0.7, 1, 4];

function total(runs: readonly ReturnType<typeof run>[]) {
  const sum = { singles: 0, ranges: 0, bases: 0, breaks: 0, restarts: 0, refusals: 0 };
  for (const { counts, figures } of runs) {
    sum.singles += counts.singles;
    sum.ranges += counts.ranges;
    sum.bases += counts.bases;
    sum.breaks += figures.breaks;
    sum.restarts += figures.scanRestarts;
    sum.refusals += figures.refusals;
  }
  return sum;
}

function runAll(histories: readonly RecordedHistory[], seeds: number, options: Partial<Run> = {}) {
  const runs: ReturnType<typeof run>[] = [];
  for (const history of histories) {
    for (const mean of [...means, "changing" as const]) {
      for (let seed = 1; seed <= seeds; seed += 1) runs.push(run({ history, seed, mean, ...options }));
    }
  }
  return total(runs);
}
const S = Number(process.env["SEEDS"] ?? 4);

suite("capture of a simulated writer that goes on between any two reads", () => {
  test("gives every state as it was where the freelist is on disk", () => {
    console.log(runAll([chain, chainLater, large], S));
  });
  test("gives every state as it was where it is not", () => {
    console.log(runAll([reach, withoutFreelists(chain, () => false)], S));
  });
  test("gives every state as it was where that changes from commit to commit", () => {
    for (const every of [2, 3, 7])
      console.log(runAll([withoutFreelists(chain, (txId) => txId % every === 0)], S));
    console.log(runAll([withoutFreelists(chainLater, (txId) => txId % 40 < 20)], S));
  });
  test("merges while nobody takes deltas", () => {
    console.log(runAll([chain, withoutFreelists(chain, () => false)], S, { heldBack: 0.7 }));
  });
  test("gives bases beside the deltas, whatever the pace", () => {
    console.log(runAll([chain, withoutFreelists(chainLater, () => false)], S, { baseChance: 0.01 }));
  });
});
