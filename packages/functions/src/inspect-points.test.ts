import assert from "node:assert/strict";
import { suite, test } from "node:test";
import {
  type ArchiveReader,
  getValue,
  PageferryError,
  parseDatabaseName,
  type RestoreTarget,
  txId,
} from "@pageferry/format";
import { firstLine, segmentItem, snapshotItem } from "../testing/bolt-archive.ts";
import { createBoltModel } from "../testing/bolt-model.ts";
import { createInspectPoints, type OpenedPoint, type PointOrder } from "./inspect-points.ts";
import { readMarks, writeMarks } from "./marks.ts";
import { createReplica } from "./replica.ts";
import { rootedStore } from "./rooted-store.ts";
import { memoryStore } from "./stores/memory.ts";

const halfHourMs = 30 * 60_000;

/** An archive of a snapshot and segments up to transaction 6, which all write key 1: with `letter` last. Its listings are counted. */
async function archiveOf(letter = 1) {
  const model = createBoltModel({ hasFreelist: true });
  for (let id = 2; id <= 6; id += 1)
    model.commit([{ key: 1, letter: id === 6 ? letter : 20 + id, overflow: 0 }]);
  const line = firstLine(model, "a1", (id) => id * 1000);
  const store = memoryStore();
  const replica = createReplica(store, { root: "app" });
  await replica.begin(line.begin, 0);
  const segments = [1, 2, 3, 4, 5].map((id) => segmentItem(line, id, id + 1));
  await replica.putAll(line.generation, [await snapshotItem(line, 1), ...segments], { pack: false });
  let listings = 0;
  const reader: ArchiveReader = {
    ...replica.reader,
    list(options) {
      listings += 1;
      return replica.reader.list(options);
    },
  };
  return {
    ...{ line, replica, store, readers: [reader] },
    listings: () => listings,
    at: (id: number): RestoreTarget => ({ generation: line.generation, txId: txId(id) }),
  };
}

/** The points, a clock that the test moves, and the leases that were taken. */
function world() {
  let nowMs = 0;
  const leases: string[] = [];
  let refusal: PageferryError | undefined;
  const points = createInspectPoints({
    now: () => nowMs,
    async lease(database, { txId: id }) {
      leases.push(`${database} ${id}`);
      if (refusal !== undefined) throw refusal;
    },
  });
  return {
    ...{ points, leases },
    pass: (ms: number) => {
      nowMs += ms;
    },
    refuseLeases: (error: PageferryError | undefined) => {
      refusal = error;
    },
  };
}

const app = parseDatabaseName("app");

const orderOf = (
  readers: PointOrder["readers"],
  target: RestoreTarget = {},
  more: Partial<PointOrder> = {},
) => ({
  ...{ database: app, readers, target },
  ...more,
});

/** The first byte of what a key holds: which letter was written there. Those that no transaction wrote lie in the snapshot alone. */
async function letterIn({ pages }: OpenedPoint, key = 1): Promise<number | undefined> {
  const value = await getValue(pages, [], Uint8Array.of(key));
  if (value === undefined || value === "bucket") return undefined;
  for await (const bytes of value.read(0, 1)) return bytes[0];
  return undefined;
}

suite("a point that was opened", () => {
  test("is held by its name: listed once and leased once, also where it was found as the newest", async () => {
    const { readers, listings, at } = await archiveOf();
    const { points, leases } = world();

    const newest = await points.use(orderOf(readers), {}, async ({ plan }) => plan.txId);
    for (let look = 0; look < 3; look += 1) await points.use(orderOf(readers, at(6)), {}, letterIn);

    assert.equal(newest, 6n);
    assert.deepEqual([listings(), leases], [1, ["app 6"]]);
  });

  test("is looked for anew where its name may mean another by now", async () => {
    const { readers, listings, line } = await archiveOf();
    const { points } = world();

    for (const target of [{}, { timestampMs: 9000 }, { txId: txId(6) }, { generation: line.generation }])
      await points.use(orderOf(readers, target), {}, letterIn);

    assert.equal(listings(), 4);
  });

  test("is another one in another database or replica, though all names are the same", async () => {
    const [mine, other] = [await archiveOf(1), await archiveOf(2)];
    const { points } = world();
    const look = (archive: typeof mine, more: Partial<PointOrder>) =>
      points.use(orderOf(archive.readers, archive.at(6), more), {}, letterIn);

    assert.equal(await look(mine, {}), 1);
    assert.equal(await look(other, { database: parseDatabaseName("other") }), 2);
    assert.equal(await look(mine, { replica: "file:///a" }), 1);
    assert.deepEqual([mine.listings(), other.listings()], [2, 1]);
  });

  test("of those that are held, the one that nobody looked at for longest goes", async () => {
    const { readers, listings, at } = await archiveOf();
    const { points } = world();
    const look = (number: number) =>
      points.use(orderOf(readers, at(6), { database: parseDatabaseName(`db-${number}`) }), {}, letterIn);
    for (let number = 0; number < 64; number += 1) await look(number);

    await look(0);
    assert.equal(listings(), 64);
    await look(64);
    await look(0);
    assert.equal(listings(), 65);
    await look(1);
    assert.equal(listings(), 66);
  });
});

suite("the lease on a point", () => {
  test("is renewed at half its age, by who looks then, and not before", async () => {
    const { readers, at } = await archiveOf();
    const { points, leases, pass } = world();
    const look = () => points.use(orderOf(readers, at(6)), {}, letterIn);

    await look();
    pass(halfHourMs - 1);
    await look();
    assert.equal(leases.length, 1);
    pass(1);
    await look();
    await look();
    assert.equal(leases.length, 2);
  });

  test("that cannot be renewed lets the point go: the next look opens it anew", async () => {
    const { readers, listings, at } = await archiveOf();
    const { points, pass, refuseLeases } = world();
    const look = () => points.use(orderOf(readers, at(6)), {}, letterIn);
    await look();
    pass(halfHourMs);

    refuseLeases(new PageferryError("unavailable", "no replica answers"));
    await assert.rejects(look(), { code: "unavailable" });
    refuseLeases(undefined);
    await look();

    assert.equal(listings(), 2);
  });
});

suite("a look that fails", () => {
  const notFound = new PageferryError("not-found", "an object is gone");

  test("because objects of a held point are gone is done once more, on the point as it is now", async () => {
    const { line, replica, readers, at, listings } = await archiveOf(3);
    const { points } = world();
    await points.use(orderOf(readers, at(6)), {}, async () => undefined);
    const names = (await Array.fromAsync(replica.reader.list())).map(({ name }) => name);
    await replica.objects.remove(names.filter((name) => /\/(segments|snapshots)\//.test(name)));
    const snapshot = await snapshotItem(line, 6);
    await replica.objects.put(snapshot.name.name, snapshot.body as Uint8Array);

    assert.equal(await points.use(orderOf(readers, at(6)), {}, (point) => letterIn(point, 4)), 0);
    assert.equal(await points.use(orderOf(readers, at(6)), {}, letterIn), 3);
    assert.equal(listings(), 2);
  });

  test("in the same way again is the caller's to hear of", async () => {
    const { readers, at } = await archiveOf();
    const { points } = world();
    await points.use(orderOf(readers, at(6)), {}, letterIn);
    let looks = 0;

    const look = points.use(orderOf(readers, at(6)), {}, async () => {
      looks += 1;
      throw notFound;
    });

    await assert.rejects(look, { code: "not-found" });
    assert.equal(looks, 2);
  });

  test("on a point that was just opened, for another reason, or for who has gone, is not repeated", async () => {
    const { readers, at } = await archiveOf();
    let looks = 0;
    const failing = (error: Error) => async (): Promise<never> => {
      looks += 1;
      throw error;
    };
    const fresh = world();
    await assert.rejects(fresh.points.use(orderOf(readers, at(6)), {}, failing(notFound)), {
      code: "not-found",
    });
    const { points } = world();
    for (const [error, signal] of [
      [new PageferryError("corrupt", "a page does not hold"), undefined],
      [notFound, AbortSignal.abort()],
    ] as const) {
      await points.use(orderOf(readers, at(6)), {}, letterIn);
      await assert.rejects(points.use(orderOf(readers, at(6)), { signal }, failing(error)), error);
    }

    assert.equal(looks, 3);
  });
});

suite("objects that are marked to go", () => {
  test("are done without where there is another way, and used where there is none", async () => {
    const { line, replica, store, readers } = await archiveOf();
    const { points } = world();
    const range = segmentItem(line, 1, 6);
    await replica.objects.put(range.name.name, range.body as Uint8Array);
    const singles = [1, 2, 3, 4, 5].map((id) => segmentItem(line, id, id + 1).name.name);
    const rooted = rootedStore(store, "app");
    const stepsOf = () =>
      points.use(orderOf(readers), {}, async ({ plan }) => plan.steps.map(({ name }) => name));

    await writeMarks(rooted, await readMarks(rooted, 0), [range.name.name], 0);
    assert.deepEqual(await stepsOf(), singles);
    await writeMarks(rooted, await readMarks(rooted, 0), singles, 0);
    assert.deepEqual(await stepsOf(), [range.name.name]);
    await writeMarks(rooted, await readMarks(rooted, 0), [...singles, range.name.name, "x"], 0);
    assert.equal(await points.use(orderOf(readers, { txId: txId(6) }), {}, letterIn), 1);
  });
});
