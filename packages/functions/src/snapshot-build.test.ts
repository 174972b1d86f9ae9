import { deepEqual, equal, ok } from "node:assert/strict";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite, type TestContext, test } from "node:test";
import { parseGeneration, readSnapshotHeader, txId } from "@pageferry/format";
import {
  holdsState,
  type ModelLine,
  restoreImage,
  segmentItem,
  snapshotItem,
} from "../testing/bolt-archive.ts";
import { createBoltModel, modelPageSize } from "../testing/bolt-model.ts";
import { createReplica, type Replica } from "./replica.ts";
import { sweepScratch } from "./scratch.ts";
import { buildSnapshots } from "./snapshot-build.ts";
import { seeded as chance, faulty } from "./stores/faulty.ts";
import { memoryStore } from "./stores/memory.ts";

const levelsMs = [30_000, 300_000, 3_600_000];
const hourMs = 3_600_000;
const beginMs = Date.UTC(2026, 5, 1);

/** Transaction n is committed at n times `everyMs`. */
function lineOf(commits: number, everyMs: number, hex = "a1", from?: ModelLine): ModelLine {
  const model = from?.model.fork(from.model.newest()) ?? createBoltModel({ hasFreelist: true });
  for (let at = 0; at < commits; at += 1) model.commit([{ key: at % 6, letter: at % 5, overflow: at % 3 }]);
  const generation = parseGeneration(hex.padStart(16, "0"));
  const parent = from === undefined ? null : { generation: from.generation, txId: txId(from.model.newest()) };
  const begin = {
    ...{ generation, parent, host: "h", pageSize: modelPageSize },
    ...{
      reason: from === undefined ? ("first" as const) : ("restored" as const),
      epoch: from === undefined ? 1 : 2,
    },
  };
  return { generation, begin, model, stampMs: (id) => beginMs + id * everyMs };
}

async function open(t: TestContext, store = memoryStore()) {
  const scratchDir = await mkdtemp(join(tmpdir(), "pageferry-scratch-"));
  t.after(() => rm(scratchDir, { recursive: true, force: true }));
  const replica = createReplica(store, { root: "app" });
  const build = (of: Replica = replica, nowMs = beginMs) =>
    buildSnapshots(of, { scratchDir, snapshotIntervalMs: 6 * hourMs, levelsMs, nowMs, threads: 0 });
  return { store, replica, scratchDir, build };
}

async function send(replica: Replica, line: ModelLine, from: number, to: number) {
  await replica.begin(line.begin, beginMs);
  for (let id = from; id < to; id += 1) {
    const item = { ...segmentItem(line, id, id + 1), receivedAtMs: line.stampMs(id + 1) + 9 };
    await replica.putAll(line.generation, [item]);
  }
}

const snapshotsOf = async (replica: Replica) =>
  (await Array.fromAsync(replica.reader.list()))
    .map(({ name }) => name)
    .filter((name) => name.includes("/snapshots/"));

suite("a snapshot that nobody sends", () => {
  test("is built when the newest is old, of a point that every replica has", async (t) => {
    const { replica, build } = await open(t);
    const line = lineOf(8, hourMs);
    await replica.putAll(line.generation, [await snapshotItem(line, 1)]);
    await send(replica, line, 1, 7);
    deepEqual(await build(), [], "five hours after the first, at the end of the last window that is over");

    await send(replica, line, 7, 9);
    const [built, ...more] = await build();

    deepEqual(more, []);
    deepEqual([built?.failure, built?.due], [null, "the newest is old"]);
    ok(built?.name.endsWith("-0000000000000008.snapshot.cbor"));
    const size = built?.bytes ?? 0;
    const read = (offset: number, length: number) =>
      replica.objects.read(built?.name ?? "", length, { offset, length });
    const header = await readSnapshotHeader({ size, read });
    equal(header.stateHash, line.model.at(8).stateHash);
    equal(header.receivedMs, line.stampMs(8) + 9);
    deepEqual(await build(), []);
    for (const id of [1, 7, 8, 9])
      ok(holdsState(await restoreImage(replica, { txId: txId(id) }), line.model, id));
  });

  test("is built of the newest point of a database that rests, once its window is over", async (t) => {
    const { replica, build } = await open(t);
    const line = lineOf(6, hourMs);
    await replica.putAll(line.generation, [await snapshotItem(line, 1)]);
    await send(replica, line, 1, 7);
    const endMs = line.stampMs(7);
    deepEqual(await build(replica, endMs), [], "six hours, but a point may come");
    const [built] = await build(replica, endMs + 36_000);
    ok(built?.name.endsWith("-0000000000000007.snapshot.cbor"));
  });

  test("restores without what it was built of", async (t) => {
    const { replica, store, build } = await open(t);
    const line = lineOf(9, hourMs);
    await replica.putAll(line.generation, [await snapshotItem(line, 1)]);
    await send(replica, line, 1, 10);
    const [built] = await build();
    const gone = (await Array.fromAsync(store.list("")))
      .map(({ name }) => name)
      .filter((name) => {
        return name !== `app/${built?.name}` && !name.includes("000000000000000a-");
      });
    await store.remove(gone);
    const again = createReplica(store, { root: "app" });
    for (const id of [9, 10]) ok(holdsState(await restoreImage(again, { txId: txId(id) }), line.model, id));
  });

  test("gives a generation that began with a bridge one of its own, at once", async (t) => {
    const { replica, store, build } = await open(t);
    const parent = lineOf(3, 1000);
    await replica.putAll(parent.generation, [await snapshotItem(parent, 1)]);
    await send(replica, parent, 1, 4);
    const child = lineOf(2, 1000, "b2", parent);
    await send(replica, child, 4, 6);

    const [built] = await build();

    equal(built?.due, "the generation has none");
    ok(built?.name.startsWith(child.generation));
    await store.remove(
      (await Array.fromAsync(store.list(`app/${parent.generation}/`))).map(({ name }) => name),
    );
    const again = createReplica(store, { root: "app" });
    ok(holdsState(await restoreImage(again, { txId: txId(6) }), child.model, 6));
  });

  test("gives a restored file that nobody has written one of the point that it is, and then its commits lead on from that", async (t) => {
    const { replica, store, build } = await open(t);
    const parent = lineOf(4, 1000);
    await replica.putAll(parent.generation, [await snapshotItem(parent, 1)]);
    await send(replica, parent, 1, 5);
    const whole = lineOf(2, 1000, "b2", parent);
    const model = parent.model.fork(4);
    for (const letter of [1, 2]) model.commit([{ key: letter, letter, overflow: 1 }]);
    const point = { generation: parent.generation, txId: txId(4) };
    const begin = { ...whole.begin, parent: point, parentStateHash: model.at(4).stateHash };
    const child = { ...whole, begin, model };
    await replica.begin(child.begin, beginMs);

    const [built, ...more] = await build();

    deepEqual([built?.due, built?.failure, more], ["the generation has none", null, []]);
    ok(built?.name.startsWith(child.generation) && built.name.endsWith("-0000000000000004.snapshot.cbor"));
    deepEqual(await build(), [], "once");
    await send(replica, child, 4, 6);
    await store.remove(
      (await Array.fromAsync(store.list(`app/${parent.generation}/`))).map(({ name }) => name),
    );
    const again = createReplica(store, { root: "app" });
    for (const id of [4, 6]) {
      const image = await restoreImage(again, { generation: child.generation, txId: txId(id) });
      ok(holdsState(image, child.model, id), `${id}`);
    }
  });

  test("gives none of a point that is another state, that is gone, or whose generation is not the newest", async (t) => {
    const { replica, build } = await open(t);
    const parent = lineOf(4, 1000);
    await replica.putAll(parent.generation, [await snapshotItem(parent, 1)]);
    await send(replica, parent, 1, 5);
    const { begin } = lineOf(1, 1000, "b2", parent);
    const at = (id: number) => ({ generation: parent.generation, txId: txId(id) });
    const parentStateHash = parent.model.at(4).stateHash;
    const begun = (hex: string, epoch: number, parentPoint: ReturnType<typeof at>, state: bigint) => ({
      ...{ ...begin, generation: parseGeneration(hex.padStart(16, "0")), epoch },
      ...{ parent: parentPoint, parentStateHash: state },
    });

    await replica.begin(begun("b2", 2, at(7), parentStateHash), beginMs);
    deepEqual(await build(), [], "gone");
    await replica.begin(begun("b3", 3, at(4), parentStateHash + 1n), beginMs);
    const [other, ...more] = await build();
    deepEqual([other?.failure?.slice(0, 7), more], ["corrupt", []]);
    await replica.begin({ ...begin, generation: parseGeneration("b4".padStart(16, "0")), epoch: 4 }, beginMs);
    deepEqual(await build(), [], "not the newest");
    equal((await snapshotsOf(replica)).length, 1);
  });

  test("is not stored when what it would be made of does not hold", async (t) => {
    const { replica, store, build, scratchDir } = await open(t);
    const line = lineOf(8, hourMs);
    await replica.putAll(line.generation, [await snapshotItem(line, 1)]);
    await send(replica, line, 1, 9);
    const [broken = ""] = (await Array.fromAsync(store.list("app/")))
      .map(({ name }) => name)
      .filter((name) => {
        return name.includes("/segments/0000000000000005-");
      });
    const bytes = await replica.objects.read(broken.slice(4), 1e7);
    bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1;
    await store.remove([broken]);
    await store.put(broken, bytes);

    const [built] = await build();

    ok(built?.failure?.startsWith("corrupt"), built?.failure ?? "");
    equal((await snapshotsOf(replica)).length, 1);
    deepEqual(await readdir(scratchDir), []);
  });

  test("is built at the second try where another process removed what it would have been made of", async (t) => {
    const { replica, store, build } = await open(t);
    const line = lineOf(8, hourMs);
    await replica.putAll(line.generation, [await snapshotItem(line, 1)]);
    await send(replica, line, 1, 9);
    const other = createReplica(store, { root: "app" });
    await other.putAll(line.generation, [segmentItem(line, 1, 8)]);
    const fine = (await Array.fromAsync(store.list("app/")))
      .map(({ name }) => name)
      .filter((name) => name.includes("/segments/") && !name.includes("0000000000000008-"))
      .filter((name) => !name.includes("0000000000000009-"));
    await store.remove(fine);

    const [failed] = await build();
    ok(failed?.failure?.startsWith("not-found"), failed?.failure ?? "");
    const [built] = await build();

    equal(built?.failure, null);
    ok(built?.name.endsWith("-0000000000000008.snapshot.cbor"));
  });

  test("dies anywhere without harm, and is built in the end", async (t) => {
    for (let seed = 0; seed < 20; seed += 1) {
      const faults = { random: chance(seed), unavailableShare: 0, lostAnswerShare: 0 };
      const { replica, store, build } = await open(t, faulty(memoryStore(), faults));
      const line = lineOf(8, hourMs);
      await replica.putAll(line.generation, [await snapshotItem(line, 1)]);
      await send(replica, line, 1, 9);
      Object.assign(faults, { unavailableShare: 0.15, lostAnswerShare: 0.15 });
      await build().catch(() => undefined);
      Object.assign(faults, { unavailableShare: 0, lostAnswerShare: 0 });
      const again = createReplica(store, { root: "app" });
      await build(again);
      equal((await snapshotsOf(again)).length, 2);
      ok(holdsState(await restoreImage(again, { txId: txId(8) }), line.model, 8));
    }
  });
});

test("what a process that died left in the scratch directory is removed by the next, and nothing else is", async (t) => {
  const { scratchDir } = await open(t);
  await mkdir(join(scratchDir, "work-1-abc"));
  await writeFile(join(scratchDir, "work-1-abc", "image.db"), "x");
  await writeFile(join(scratchDir, "mine"), "x");
  await sweepScratch(scratchDir, true, Date.now());
  deepEqual(await readdir(scratchDir), ["mine", "work-1-abc"]);
  await sweepScratch(scratchDir, false, Date.now());
  deepEqual(await readdir(scratchDir), ["mine"]);
});
