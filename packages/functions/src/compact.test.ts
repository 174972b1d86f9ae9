import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { suite, test } from "node:test";
import {
  decodeSegment,
  decodeSegmentFile,
  parseGeneration,
  parseObjectName,
  segmentState,
} from "@pageferry/format";
import { seeded } from "@pageferry/format/fixtures";
import {
  firstLine,
  holdsState,
  type ModelLine,
  packItem,
  restoreImage,
  segmentItem,
  snapshotItem,
} from "../testing/bolt-archive.ts";
import { createBoltModel, modelPageSize } from "../testing/bolt-model.ts";
import { compactReplica } from "./compact.ts";
import { createCompactMemory } from "./compact-memory.ts";
import { createReplica, type Replica } from "./replica.ts";
import { seeded as chance, faulty } from "./stores/faulty.ts";
import { memoryStore } from "./stores/memory.ts";

const levelsMs = [30_000, 300_000, 3_600_000];
const beginMs = Date.UTC(2026, 5, 1);
const generation = parseGeneration("00000000000000a1");

/** A commit a second, from transaction 1 on; each writes a few keys. */
function lineOf(commits: number, hasFreelist = true, seed = 1): ModelLine {
  const model = createBoltModel({ hasFreelist });
  const random = seeded(seed);
  for (let at = 0; at < commits; at += 1) {
    const writes = Array.from({ length: 1 + (random() % 2) }, () => ({
      key: random() % 6,
      letter: random() % 2,
      overflow: random() % 3,
    }));
    model.commit(writes);
  }
  return firstLine(model, "a1", (id) => beginMs + id * 1000);
}

async function open(line: ModelLine, ranges: readonly (readonly [number, number])[], store = memoryStore()) {
  const replica = createReplica(store, { root: "app" });
  await replica.begin(line.begin, beginMs);
  await replica.putAll(generation, [await snapshotItem(line, 1)]);
  for (const [parent, id] of ranges) {
    await replica.putAll(generation, [
      { ...segmentItem(line, parent, id), receivedAtMs: beginMs + id * 1000 + 7 },
    ]);
  }
  return { store, replica };
}

const singles = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, at) => [from + at, from + at + 1] as const);

const namesOf = async (replica: Replica) =>
  (await Array.fromAsync(replica.reader.list()))
    .map(({ name }) => name)
    .filter((name) => name.includes("/segments/"));

const rangesOf = async (replica: Replica) =>
  (await namesOf(replica)).map((name) =>
    name
      .split("/")[2]
      ?.split("-")
      .slice(0, 2)
      .map((id) => Number.parseInt(id, 16)),
  );

const compact = (replica: Replica, nowMs: number, more: Partial<Parameters<typeof compactReplica>[1]> = {}) =>
  compactReplica(replica, { levelsMs, now: () => nowMs, ...more });

/** Every point of the archive comes back, from all of it and from what the merges alone leave. */
async function assertRestores(replica: Replica, line: ModelLine, ids: readonly number[]): Promise<void> {
  for (const id of ids) {
    const image = await restoreImage(replica, { txId: BigInt(id) as never });
    ok(holdsState(image, line.model, id), `transaction ${id}`);
  }
}

suite("compaction", () => {
  test("makes one range of each closed window of each level, and leaves what it was made of", async () => {
    const line = lineOf(700);
    const { replica } = await open(line, singles(1, 700));

    const report = await compact(replica, beginMs + 700_000);

    deepEqual(report.left, []);
    equal(report.merged.filter(({ level }) => level === 0).length, 23);
    // Windows of five minutes: [0, 300) and [300, 600) seconds; the hour is not over.
    deepEqual(
      report.merged.filter(({ level }) => level === 1).map(({ sources }) => sources),
      [10, 10],
    );
    const ranges = await rangesOf(replica);
    ok(ranges.some((range) => range?.[0] === 2 && range[1] === 299));
    ok(ranges.some((range) => range?.[0] === 300 && range[1] === 599));
    equal(ranges.length, 699 + 23 + 2);
    await assertRestores(replica, line, [2, 29, 30, 299, 300, 301, 599, 650, 700]);
  });

  test("keeps every point it ends at without what it was made of, and says when that was received", async () => {
    for (const hasFreelist of [true, false]) {
      const line = lineOf(330, hasFreelist);
      const { replica, store } = await open(line, singles(1, 330));
      const { merged } = await compact(replica, beginMs + 330_000);
      const made = new Set(merged.map(({ name }) => name));
      const fine = (await namesOf(replica)).filter((name) => !made.has(name));
      await store.remove(fine.map((name) => `app/${name}`));
      await replica.refresh();

      await assertRestores(replica, line, [29, 59, 89, 299]);
      const five = merged.find(({ level }) => level === 1)?.name ?? "";
      const { header } = decodeSegmentFile(await replica.objects.read(five, 1e7));
      const { receivedMs, pre, post, stampMs } = segmentState(header);
      deepEqual(
        [receivedMs, pre, post, stampMs],
        [beginMs + 299_007, line.model.at(1).stateHash, line.model.at(299).stateHash, beginMs + 299_000],
      );
    }
  });

  test("does nothing the second time, and the same in whichever process", async () => {
    const line = lineOf(100);
    const { replica, store } = await open(line, singles(1, 100));
    const other = createReplica(store, { root: "app" });
    await other.refresh();

    const [one, two] = await Promise.all([
      compact(replica, beginMs + 101_000),
      compact(other, beginMs + 101_000),
    ]);

    deepEqual(one.merged, two.merged);
    await replica.refresh();
    deepEqual((await compact(replica, beginMs + 101_000)).merged, []);
  });

  test("waits for a window to be over, and closes the last one of a database that rests", async () => {
    const line = lineOf(10);
    const { replica } = await open(line, singles(1, 10));
    equal((await compact(replica, beginMs + 34_000)).merged.length, 0);
    equal((await compact(replica, beginMs + 35_000)).merged.length, 1);
  });

  test("leaves a hole a hole: a range on each side of it, none across", async () => {
    const line = lineOf(29);
    const { replica } = await open(line, [...singles(1, 12), ...singles(14, 29)]);
    await compact(replica, beginMs + 60_000);
    const merged = (await rangesOf(replica)).filter((range) => (range?.[1] ?? 0) > (range?.[0] ?? 0));
    deepEqual(merged, [
      [2, 12],
      [15, 29],
    ]);
  });

  test("takes overlapping ranges of a redelivery for what they are, and a merge of them restores", async () => {
    const line = lineOf(29);
    const { replica, store } = await open(line, [...singles(1, 10), [5, 14], [12, 20], [18, 29], [8, 12]]);
    const { merged } = await compact(replica, beginMs + 60_000);
    equal(merged.length, 1);
    const others = (await namesOf(replica)).filter((name) => name !== merged[0]?.name);
    await store.remove(others.map((name) => `app/${name}`));
    await assertRestores(replica, line, [29]);
  });

  test("cuts inside packs, and reads each index once", async () => {
    const line = lineOf(60);
    const { replica, store } = await open(line, []);
    await replica.putAll(generation, [
      packItem(
        line,
        Array.from({ length: 60 }, (_, at) => at + 1),
      ),
    ]);
    const memory = createCompactMemory();
    const { merged } = await compact(replica, beginMs + 70_000, { memory });
    equal(merged.length, 0, "a pack is one object already");
    equal(memory.packs.size, 1);
    const pack = (await namesOf(replica))[0] ?? "";
    await store.remove([`app/${pack}`]);
    await replica.refresh();
    await replica.putAll(generation, [packItem(line, [1, 2, 3]), segmentItem(line, 3, 29)]);
    equal((await compact(replica, beginMs + 70_000, { memory })).merged.length, 1);
    await assertRestores(replica, line, [2, 3, 29]);
    ok(!memory.packs.has(pack));
  });

  test("makes a range of a pack that is alone in the last level's window: for prune, and for who knows no packs", async () => {
    const line = lineOf(60);
    const { replica, store } = await open(line, []);
    const ids = Array.from({ length: 60 }, (_, at) => at + 1);
    await replica.putAll(generation, [packItem(line, ids)]);
    const [pack = ""] = await namesOf(replica);

    const { merged } = await compact(replica, beginMs + 3_605_000);

    deepEqual(
      merged.map(({ level, sources }) => [level, sources]),
      [[2, 1]],
    );
    deepEqual((await compact(replica, beginMs + 3_605_000)).merged, []);
    await store.remove([`app/${pack}`]);
    await replica.refresh();
    deepEqual(await rangesOf(replica), [[2, 60]]);
    await assertRestores(replica, line, [60]);
  });

  test("leaves out what is not live in the end: pages written on the way, and stale freelists, but for the file's end", async () => {
    const line = lineOf(29);
    const { replica } = await open(line, singles(1, 29));
    const { merged } = await compact(replica, beginMs + 60_000);
    const { pages } = decodeSegment(await replica.objects.read(merged[0]?.name ?? "", 1e7));
    const live = new Set(
      line.model
        .at(29)
        .live.flatMap(({ id, data }) =>
          Array.from({ length: data.length / modelPageSize }, (_, at) => id + at),
        ),
    );
    const end = line.model.at(29).meta.highWaterMark - 1;
    const ids = pages
      .slice(1)
      .flatMap(({ id, overflow }) => Array.from({ length: overflow + 1 }, (_, at) => Number(id) + at));
    deepEqual(
      ids.filter((id) => !live.has(id) && id !== end),
      [],
    );
    ok(ids.includes(end), "the last page");
  });

  test("cuts what would be too large from its newest end on, reads little twice, and leaves it so", async () => {
    const line = lineOf(29);
    const store = memoryStore();
    const reads = new Map<string, number>();
    const counted = {
      ...store,
      get(name: string, range?: Parameters<typeof store.get>[1]) {
        reads.set(name, (reads.get(name) ?? 0) + 1);
        return store.get(name, range);
      },
    };
    const { replica } = await open(line, singles(1, 29), counted);
    const memory = createCompactMemory();
    const mergedBytesMax = 12 * modelPageSize;
    const bound = { memory, mergedBytesMax };
    reads.clear();

    const { merged, left } = await compact(replica, beginMs + 60_000, bound);

    deepEqual(left, []);
    ok(merged.length > 1);
    ok(memory.tooLarge.size > 0);
    const segments = [...reads].filter(([name]) => name.includes("/segments/"));
    const total = segments.reduce((sum, [, count]) => sum + count, 0);
    // What was fetched ahead of a cut is fetched again.
    ok(total <= 28 + merged.length * 8, `${total} reads of ${segments.length} objects`);
    const ranges = await rangesOf(replica);
    const cut = merged.map(({ name }) => parseObjectName(name));
    for (const [at, range] of cut.entries()) {
      if (range?.kind !== "segment") throw new Error("a merge is a segment");
      const newer = cut[at - 1];
      ok(
        at === 0 || (newer?.kind === "segment" && range.lastTxId < newer.firstTxId),
        "newest first, none twice",
      );
      const { pages } = await replica.fetchSegment({ name: merged[at]?.name ?? "" });
      const blocks = pages.slice(1).reduce((sum, { overflow }) => sum + overflow + 1, 0);
      ok(blocks * modelPageSize <= mergedBytesMax, `${blocks} pages`);
    }
    ok(ranges.length > 29);
    deepEqual((await compact(replica, beginMs + 60_000, bound)).merged, []);
    await assertRestores(replica, line, [5, 15, 29]);
  });

  test("never merges around a broken object: it is named, and everything stays", async () => {
    const line = lineOf(29);
    const { replica, store } = await open(line, singles(1, 29));
    const [broken = ""] = (await namesOf(replica)).slice(10, 11);
    const bytes = await replica.objects.read(broken, 1e7);
    bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1;
    await store.remove([`app/${broken}`]);
    await store.put(`app/${broken}`, bytes);

    const { merged, left } = await compact(replica, beginMs + 60_000);

    deepEqual(merged, []);
    equal(left.length, 1);
    ok(left[0]?.why.startsWith("corrupt"), left[0]?.why);
  });

  test("only says what it would do when it is asked for that", async () => {
    const line = lineOf(29);
    const { replica } = await open(line, singles(1, 29));
    const before = await namesOf(replica);
    const report = await compact(replica, beginMs + 60_000, { dryRun: true });
    equal(report.merged.length, 1);
    deepEqual(await namesOf(replica), before);
  });

  test("dies anywhere without harm, and is done in the end", async () => {
    for (let seed = 0; seed < 30; seed += 1) {
      const line = lineOf(40, seed % 2 === 0, seed);
      const random = chance(seed);
      const faults = { random, unavailableShare: 0, lostAnswerShare: 0, resetShare: 0 };
      const { replica, store } = await open(line, singles(1, 40), faulty(memoryStore(), faults));
      Object.assign(faults, { unavailableShare: 0.1, lostAnswerShare: 0.1, resetShare: 0.05 });
      for (let turn = 0; turn < 3; turn += 1) await compact(replica, beginMs + 70_000).catch(() => undefined);
      Object.assign(faults, { unavailableShare: 0, lostAnswerShare: 0, resetShare: 0 });
      const again = createReplica(store, { root: "app" });
      await compact(again, beginMs + 70_000);
      await assertRestores(again, line, [2, 15, 29, 40]);
      equal((await rangesOf(again)).filter((range) => range?.[0] !== range?.[1]).length, 2);
    }
  });
});

test("a signal ends it", async () => {
  const line = lineOf(29);
  const { replica } = await open(line, singles(1, 29));
  const signal = AbortSignal.abort(new Error("over"));
  await rejects(compact(replica, beginMs + 60_000, { signal }), /over/);
});
