import { equal, ok } from "node:assert/strict";
import { suite, test } from "node:test";
import {
  executeRestore,
  inlineWorkbench,
  isPageferryError,
  memorySink,
  openArchive,
  PageferryError,
  parseDatabaseName,
  planFromArchive,
  txId,
} from "@pageferry/format";
import { firstLine, type ModelLine, packItem, segmentItem, snapshotItem } from "../testing/bolt-archive.ts";
import { createBoltModel } from "../testing/bolt-model.ts";
import { createHolds, type HoldsOptions, type PointState } from "./holds.ts";
import { writeMarks } from "./marks.ts";
import { createReplica, type Replica } from "./replica.ts";
import { fileReplica } from "./replicas.ts";
import { memoryStore } from "./stores/memory.ts";

const golden = new URL("../../../test/golden/replica/data", import.meta.url).pathname;
const database = parseDatabaseName("app");
const snapshotIntervalMs = 6 * 3_600_000;

function lineOf(commits: number): ModelLine {
  const model = createBoltModel({ hasFreelist: true });
  for (let at = 0; at < commits; at += 1) model.commit([{ key: at % 5, letter: at % 7, overflow: 0 }]);
  return firstLine(model, "a1", (id) => Date.UTC(2026, 5, 1) + id * 1000);
}

/** A replica of states 1 to 8: single transactions to 4, a range to 6, a pack of 7 and 8. */
async function replicaOf(line: ModelLine): Promise<Replica> {
  const replica = createReplica(memoryStore(), { root: "app" });
  await replica.begin(line.begin, 0);
  const ranges = [segmentItem(line, 1, 2), segmentItem(line, 2, 3), segmentItem(line, 3, 4)];
  await replica.putAll(line.generation, [await snapshotItem(line, 1), ...ranges]);
  await replica.putAll(line.generation, [segmentItem(line, 4, 6), packItem(line, [6, 7, 8])]);
  return replica;
}

type HeldTarget = HoldsOptions["targets"][number];

function targetOf(replica: Replica): HeldTarget {
  const set = { of: async () => replica } as unknown as HeldTarget["set"];
  return { set, ask: (work, signal = new AbortController().signal) => work(signal) };
}

function pointOf({ generation, model }: ModelLine, id: number): PointState {
  return { generation, txId: txId(id), stateHash: model.at(id).stateHash };
}

const asks = (replicas: readonly Replica[], point: PointState, more: Partial<HoldsOptions> = {}) =>
  createHolds({ targets: replicas.map(targetOf), snapshotIntervalMs, ...more })(database, point, {});

suite("a host holds a point", () => {
  const line = lineOf(9);

  test("where each replica has it, in that state", async () => {
    const replicas = [await replicaOf(line), await replicaOf(line)];

    for (const id of [1, 3, 6, 8]) ok(await asks(replicas, pointOf(line, id)), `${id}`);
  });

  test("not where it is another state, or another generation's, or none at all", async () => {
    const replicas = [await replicaOf(line)];
    const { generation } = lineOf(1).begin;
    const point = pointOf(line, 3);

    equal(await asks(replicas, { ...point, stateHash: point.stateHash + 1n }), false);
    equal(await asks(replicas, { ...point, generation: "00000000000000ff" as typeof generation }), false);
    equal(await asks(replicas, pointOf(line, 5)), false, "inside of a range");
    equal(await asks(replicas, pointOf(line, 7)), false, "inside of a pack");
    equal(await asks(replicas, pointOf(line, 9)), false, "beyond the end");
  });

  test("not where one replica lacks it, or does not answer", async () => {
    const [one, other] = [await replicaOf(line), await replicaOf(line)];
    const [lost = ""] = (await Array.fromAsync(other.reader.list()))
      .map(({ name }) => name)
      .filter((name) => name.includes("/segments/0000000000000003-"));
    await other.objects.remove([lost]);
    await other.refresh();
    const silent: HeldTarget = {
      ...targetOf(one),
      ask: () => Promise.reject(new PageferryError("unavailable", "away")),
    };

    equal(await asks([one, other], pointOf(line, 3)), false);
    ok(await asks([one, other], pointOf(line, 2)));
    equal(await asks([], pointOf(line, 2), { targets: [targetOf(one), silent] }), false);
  });

  test("not where what it needs is about to be removed", async () => {
    const replica = await replicaOf(line);
    const names = (await Array.fromAsync(replica.reader.list()))
      .map(({ name }) => name)
      .filter((name) => name.includes("/segments/0000000000000004-"));
    equal(names.length, 1);
    await writeMarks(replica.objects, { sinceMs: new Map(), documents: [] }, names, Date.now());

    equal(await asks([replica], pointOf(line, 4)), false);
    ok(await asks([replica], pointOf(line, 3)));
  });

  test("not where it says nothing of states, as one that the Go implementation wrote", async () => {
    await using replica = fileReplica({ path: golden });
    const archive = await openArchive([replica.reader]);
    const plan = await planFromArchive(archive, {});
    const sink = memorySink();
    const work = { readers: archive.readers, sink, workbench: inlineWorkbench(sink) };
    const { generation, txId: id, stateHash } = await executeRestore({ plan, ...work });
    ok(stateHash !== undefined, "a restore finds out");

    equal(await asks([replica], { generation, txId: id, stateHash }), false);
  });

  test("not where nobody builds the snapshot of the generation that would begin there", async () => {
    const replicas = [await replicaOf(line)];

    equal(await asks(replicas, pointOf(line, 3), { snapshotIntervalMs: undefined }), false);
    equal(await asks([], pointOf(line, 3)), false);
  });

  test("and a caller who leaves hears no answer", async () => {
    const replica = await replicaOf(line);
    const holds = createHolds({ targets: [targetOf(replica)], snapshotIntervalMs });
    const signal = AbortSignal.abort(new PageferryError("unavailable", "left"));

    const asked = holds(database, pointOf(line, 3), { signal });

    ok(isPageferryError(await asked.catch((error: unknown) => error), "unavailable"));
  });
});
