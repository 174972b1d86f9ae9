// For tests: a model database that is backed up to two replicas while time goes by, things happen in any order, and processes die. Every step is
// followed by looking at what was promised.

import { equal, ok } from "node:assert/strict";
import { type Generation, parseGeneration, type TxId, txId } from "@pageferry/format";
import fc from "fast-check";
import { compactReplica } from "../src/compact.ts";
import type { PruneReport } from "../src/prune.ts";
import { repairDatabase } from "../src/repair.ts";
import { createReplica, type Replica } from "../src/replica.ts";
import type { ReplicaItem } from "../src/replica-put.ts";
import type { RetentionPolicy } from "../src/retention.ts";
import { buildSnapshots } from "../src/snapshot-build.ts";
import { memoryStore } from "../src/stores/memory.ts";
import { addPin } from "../src/wanted-points.ts";
import {
  holdsState,
  type ModelLine,
  packItem,
  restoreImage,
  segmentItem,
  snapshotItem,
} from "./bolt-archive.ts";
import { createBoltModel, type ModelWrite, modelPageSize } from "./bolt-model.ts";
import { type DyingStore, dyingStore } from "./dying-store.ts";

const minuteMs = 60_000;
const graceMs = 15 * minuteMs;
const levelsMs = [10_000, minuteMs, 10 * minuteMs];
const snapshotIntervalMs = 10 * minuteMs;

const policy: RetentionPolicy = {
  segmentRetentionMs: 2 * minuteMs,
  keepWithinMs: 20 * minuteMs,
  snapshotSpacingMs: 5 * minuteMs,
  keepHourly: 2,
  keepDaily: 2,
  keepWeekly: 0,
  keepMonthly: 0,
  supersededRetentionMs: 30 * minuteMs,
  levelsMs,
};

/** One thing that happens. Numbers are taken modulo what there is to choose from. */
export type Happening =
  | { readonly do: "commit"; readonly gapMs: number; readonly writes: readonly (readonly ModelWrite[])[] }
  | { readonly do: "send"; readonly how: (typeof manners)[number]; readonly isFirstOnly: boolean }
  | { readonly do: "generation"; readonly isBridge: boolean }
  | { readonly do: "snapshot" | "pin" }
  | { readonly do: "wait"; readonly ms: number }
  | {
      readonly do: "compact" | "build" | "prune" | "repair";
      readonly replica: number;
      readonly dies: { readonly after: number; readonly isDone: boolean } | null;
    };

const manners = ["singles", "range", "stale range", "pack", "reversed", "overlap", "again"] as const;

const write = fc.record({ key: fc.nat(5), letter: fc.nat(2), overflow: fc.nat(3) });
const commit = fc.record({
  do: fc.constant("commit" as const),
  gapMs: fc.constantFrom(300, 4000, 9000, 50_000),
  writes: fc.array(fc.array(write, { minLength: 1, maxLength: 3 }), { minLength: 1, maxLength: 4 }),
});
const send = fc.record({
  do: fc.constant("send" as const),
  how: fc.constantFrom(...manners),
  isFirstOnly: fc.boolean(),
});
const deed = fc.record({
  do: fc.constantFrom("compact" as const, "build" as const, "prune" as const, "repair" as const),
  replica: fc.nat(1),
  dies: fc.option(fc.record({ after: fc.nat(30), isDone: fc.boolean() }), { freq: 2 }),
});
const rare = fc.oneof(
  fc.record({ do: fc.constant("generation" as const), isBridge: fc.boolean() }),
  fc.record({ do: fc.constantFrom("snapshot" as const, "pin" as const) }),
  fc.record({
    do: fc.constant("wait" as const),
    ms: fc.constantFrom(minuteMs, 16 * minuteMs, 90 * minuteMs),
  }),
);

/** Histories of what may happen. */
export const happenings: fc.Arbitrary<Happening[]> = fc.array(
  fc.oneof(
    { arbitrary: commit, weight: 4 },
    { arbitrary: send, weight: 4 },
    { arbitrary: deed, weight: 4 },
    { arbitrary: rare, weight: 2 },
  ),
  { minLength: 5, maxLength: 30 },
);

interface Line extends ModelLine {
  readonly stamps: Map<number, number>;
  /** The newest transaction that was sent. */
  sent: number;
  /** The first state that was sent, and the bridge's where it began with one. */
  readonly first: number;
}

interface Side {
  readonly dying: DyingStore;
  replica: Replica;
  /** What the last prune said that remains. */
  promised: readonly { readonly generation: Generation; readonly txId: TxId }[];
}

interface World {
  readonly hasFreelist: boolean;
  readonly scratchDir: string;
  nowMs: number;
  readonly lines: Line[];
  readonly sides: readonly Side[];
}

/** Lets a history happen, and asserts that everything promised is kept, and what nothing needs is gone in the end. */
export async function live(
  history: readonly Happening[],
  hasFreelist: boolean,
  scratchDir: string,
): Promise<void> {
  const world: World = {
    ...{ hasFreelist, scratchDir, lines: [], nowMs: Date.UTC(2026, 5, 1, 12) },
    sides: [0, 1].map(() => openSide(() => world.nowMs)),
  };
  await beginLine(world, false);
  for (const happening of history) {
    await happen(world, happening);
    for (const side of world.sides) await assertPromises(world, side);
  }
  await assertEnd(world);
}

function openSide(now: () => number): Side {
  const dying = dyingStore(memoryStore());
  return { dying, replica: createReplica(dying.store, { root: "app", now }), promised: [] };
}

async function happen(world: World, one: Happening): Promise<void> {
  const line = world.lines.at(-1) as Line;
  switch (one.do) {
    case "commit":
      for (const writes of one.writes) {
        world.nowMs += one.gapMs;
        line.stamps.set(line.model.commit(writes).id, world.nowMs);
      }
      return;
    case "send":
      return sendOn(world, line, one.how, one.isFirstOnly);
    case "generation":
      return beginLine(world, one.isBridge);
    case "snapshot":
      return put(world, line, [await snapshotItem(line, Math.max(line.sent, 1))]);
    case "wait":
      world.nowMs += one.ms;
      return;
    case "pin":
      return pin(world);
    default:
      return deedOn(world, one);
  }
}

async function beginLine(world: World, isBridge: boolean): Promise<void> {
  const before = world.lines.at(-1);
  const number = world.lines.length + 1;
  const generation = parseGeneration(number.toString(16).padStart(16, "0"));
  const model = before?.model.fork(before.sent) ?? createBoltModel({ hasFreelist: world.hasFreelist });
  const stamps = new Map(before?.stamps ?? [[1, world.nowMs]]);
  const parent = before === undefined ? null : { generation: before.generation, txId: txId(before.sent) };
  world.nowMs += 1000;
  const line: Line = {
    ...{ generation, model, stamps, sent: model.newest(), first: model.newest() },
    begin: {
      ...{ generation, parent, host: "h", pageSize: modelPageSize, epoch: number },
      reason: before === undefined ? "first" : "restored",
    },
    stampMs: (id) => stamps.get(id) ?? 0,
  };
  world.lines.push(line);
  for (const { replica } of world.sides) await replica.begin(line.begin, world.nowMs);
  if (!isBridge || before === undefined) {
    await put(world, line, [await snapshotItem(line, line.sent)]);
    return;
  }
  line.stamps.set(line.model.commit([{ key: 0, letter: number % 3, overflow: 1 }]).id, world.nowMs);
  await sendOn(world, line, "range", false);
}

async function sendOn(
  world: World,
  line: Line,
  how: (typeof manners)[number],
  isFirstOnly: boolean,
): Promise<void> {
  const [from, to] = [line.sent, line.model.newest()];
  if (how === "again") {
    const middle = line.first + Math.floor((from - line.first) / 2);
    if (from > middle) await put(world, line, [segmentItem(line, middle, from)], false);
    return;
  }
  if (to === from) return;
  const ids = Array.from({ length: to - from + 1 }, (_, at) => from + at);
  const singles = ids.slice(1).map((id) => segmentItem(line, id - 1, id));
  const items: Record<Exclude<typeof how, "again">, () => ReplicaItem[]> = {
    singles: () => singles,
    reversed: () => singles.toReversed(),
    range: () => [segmentItem(line, from, to)],
    "stale range": () => [segmentItem(line, from, to, false)],
    pack: () => [ids.length > 2 ? packItem(line, ids) : segmentItem(line, from, to)],
    overlap: () => [segmentItem(line, Math.max(line.first, from - 2), to)],
  };
  world.nowMs += 200;
  await put(world, line, items[how](), isFirstOnly);
  line.sent = to;
}

/** An agent sends until it is heard: what only one replica got is told to the other by repair. */
async function put(
  world: World,
  line: Line,
  items: readonly ReplicaItem[],
  isFirstOnly = false,
): Promise<void> {
  for (const { replica } of isFirstOnly ? world.sides.slice(0, 1) : world.sides) {
    for (const item of items) {
      const [outcome] = await replica.putAll(line.generation, [{ ...item, receivedAtMs: world.nowMs }]);
      ok(outcome?.kind === "stored" || outcome?.kind === "present", JSON.stringify(outcome?.kind));
    }
  }
}

async function pin(world: World): Promise<void> {
  for (const side of world.sides) {
    const point = side.promised.at(-1);
    if (point === undefined) continue;
    await addPin(side.replica.objects, point, world.nowMs);
  }
}

async function deedOn(world: World, one: Extract<Happening, { readonly replica: number }>): Promise<void> {
  const side = world.sides[one.replica] as Side;
  if (one.dies !== null) side.dying.dieAfter(one.dies.after, one.dies.isDone);
  try {
    await carryOut(world, side, one.do);
  } catch (error) {
    if (one.dies === null) throw error;
  }
  if (one.dies === null) return;
  side.dying.revive();
  // The process that died is followed by another, which knows nothing.
  side.replica = createReplica(side.dying.store, { root: "app", now: () => world.nowMs });
}

async function carryOut(
  world: World,
  side: Side,
  deed: "compact" | "build" | "prune" | "repair",
): Promise<void> {
  const { replica } = side;
  const now = () => world.nowMs;
  if (deed === "compact") {
    const { left } = await compactReplica(replica, { levelsMs, now });
    if (world.sides.every(({ dying }) => dying === side.dying)) equal(left.length, 0);
  } else if (deed === "build") {
    const { scratchDir } = world;
    for (const { failure } of await buildSnapshots(replica, {
      scratchDir,
      snapshotIntervalMs,
      levelsMs,
      nowMs: world.nowMs,
      threads: 0,
    })) {
      if (failure !== null && !failure.startsWith("unavailable")) ok(false, failure);
    }
  } else if (deed === "repair") {
    const replicas = world.sides.map((one) => one.replica);
    await repairDatabase({ database: "app", replicas, retention: policy, now });
    for (const one of replicas) await one.refresh();
  } else {
    await pruneSide(side);
  }
}

async function pruneSide(side: Side): Promise<PruneReport> {
  // What is kept is promised before anything goes: a death on the way changes nothing of it.
  const plan = await side.replica.prune(undefined, policy, { dryRun: true });
  side.promised = plan.kept;
  return side.replica.prune(undefined, policy, { graceMs });
}

/** The newest point, and some of what was promised. */
async function assertPromises(world: World, side: Side): Promise<void> {
  const { promised } = side;
  const chosen = promised.filter((_, at) => at === 0 || at % Math.ceil(promised.length / 3) === 0);
  for (const point of chosen) await assertRestores(world, side, point);
}

async function assertRestores(world: World, side: Side, point: Side["promised"][number]): Promise<void> {
  const line = world.lines.find(({ generation }) => generation === point.generation) as Line;
  const image = await restoreImage(side.replica, point);
  ok(holdsState(image, line.model, Number(point.txId)), `${point.generation} at ${point.txId}`);
}

/** Everything is sent, repaired, and old: then nothing is left that nothing needs, and all that is kept comes back. */
async function assertEnd(world: World): Promise<void> {
  const line = world.lines.at(-1) as Line;
  await sendOn(world, line, "singles", false);
  const turn = async () => {
    for (const side of world.sides) {
      for (const deed of ["compact", "build", "prune"] as const) await carryOut(world, side, deed);
    }
  };
  const replicas = world.sides.map(({ replica }) => replica);
  await repairDatabase({ database: "app", replicas, retention: policy, now: () => world.nowMs });
  for (const replica of replicas) await replica.refresh();
  for (let at = 0; at < 6; at += 1) {
    world.nowMs += at < 2 ? 90 * minuteMs : graceMs + minuteMs;
    await turn();
  }
  for (const side of world.sides) {
    const { planned, kept } = await side.replica.prune(undefined, policy, { dryRun: true });
    equal(planned.length, 0, planned.map(({ name, why }) => `${name}: ${why}`).join("\n"));
    for (const point of kept) await assertRestores(world, side, point);
    const newest = await restoreImage(side.replica, {});
    ok(holdsState(newest, line.model, line.sent), "the newest point");
  }
}
