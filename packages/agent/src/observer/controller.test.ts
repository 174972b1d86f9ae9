import assert from "node:assert/strict";
import { rm } from "node:fs/promises";
import { suite, test } from "node:test";
import { setImmediate, setTimeout } from "node:timers/promises";
import { decodeSegment, segmentState } from "@pageferry/format";
import { pointsOf, temporary, until } from "../../testing/agent-bench.ts";
import { type ObserverBench, startObserver } from "../../testing/observer-bench.ts";
import { createPageStore, type PageStore } from "../../testing/page-store.ts";
import { assertRestores, startTinyHost, type TinyHost } from "../../testing/tiny-host.ts";
import { copyFlush, type PageFlushInfo } from "./page-flush.ts";

/** Asserts that all points of the present generation restore to what was live then; gives them. */
async function assertPoints(host: TinyHost, bench: ObserverBench): Promise<number[]> {
  const points = pointsOf(host, bench.generation());
  for (const point of points) {
    const truth = bench.states.get(point);
    if (truth !== undefined) await assertRestores(host, bench.generation(), truth);
  }
  return points;
}

const snapshotsOf = (host: TinyHost) =>
  [...host.objects.keys()].filter((name) => name.includes("/snapshots/"));

function shuffled<Item>(items: readonly Item[], seed = 1): Item[] {
  let state = seed;
  const keyed = items.map((item) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return { item, key: state };
  });
  return keyed.sort((a, b) => a.key - b.key).map(({ item }) => item);
}

suite("a controller", () => {
  for (const hasFreelist of [true, false]) {
    test(`makes each commit it is told a point that restores, ${hasFreelist ? "with" : "without"} a freelist`, async () => {
      await using host = await startTinyHost();
      await using directory = await temporary();
      await using bench = await startObserver(host, { directory: directory.path, made: { hasFreelist } });
      await bench.settled();

      bench.commit(60);
      await bench.settled();

      const points = await assertPoints(host, bench);
      assert.deepEqual(points, [...bench.states.keys()].slice(1));
      assert.equal(bench.controller.dataLossWindow(), 0);
      assert.deepEqual(bench.controller.status()?.alarms, []);
      const [segment] = [...host.objects].find(([name]) => name.includes("/segments/"))?.slice(1) ?? [];
      assert.equal(segmentState(decodeSegment(segment as Uint8Array).header).source, "observer");
    });
  }

  test("orders what comes concurrently, and takes what comes twice once: one generation, and no look", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    await using bench = await startObserver(host, { directory: directory.path });
    await bench.settled();

    const infos = bench.commit(200, false);
    await Promise.all(
      shuffled([...infos, ...infos]).map(async (info) => {
        await setImmediate();
        bench.controller.onPageFlush(info);
      }),
    );
    await bench.settled();

    assert.deepEqual(await assertPoints(host, bench), [...bench.states.keys()].slice(1));
    assert.equal(host.begins.size, 1);
    const { taken, repeated, looks } = bench.observer();
    assert.deepEqual({ taken, repeated }, { taken: 200, repeated: 200 });
    assert.deepEqual({ ...looks, start: 0 }, { ...looks, start: 0, gap: 0, changed: 0, unproved: 0 });
  });

  test("waits for a late one, while the data-loss window grows", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    await using bench = await startObserver(host, { directory: directory.path, times: { gapMs: 60_000 } });
    await bench.settled();

    const [late, ...others] = bench.commit(5, false);
    for (const info of others) bench.controller.onPageFlush(info);
    await setTimeout(50);
    assert.ok(bench.controller.dataLossWindow() >= 40);

    bench.controller.onPageFlush(late as PageFlushInfo);
    await bench.settled();

    assert.deepEqual(await assertPoints(host, bench), [...bench.states.keys()].slice(1));
    assert.equal(bench.observer().looks.gap, 0);
    assert.equal(bench.controller.dataLossWindow(), 0);
  });

  test("looks at the database where one never comes, and goes on by one range and no snapshot", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    await using bench = await startObserver(host, { directory: directory.path });
    await bench.settled();
    bench.commit(3);
    await bench.settled();

    const [, ...others] = bench.commit(5, false);
    for (const info of others) bench.controller.onPageFlush(info);
    await bench.settled();
    bench.commit(2);
    await bench.settled();

    assert.deepEqual(await assertPoints(host, bench), [3, 4, 5, 10, 11, 12]);
    assert.equal(bench.observer().looks.gap, 1);
    assert.deepEqual([host.begins.size, snapshotsOf(host).length], [1, 1]);
  });

  test("never throws: what is no transaction is an alarm, is counted, and is looked for", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    await using bench = await startObserver(host, { directory: directory.path });
    await bench.settled();
    const told: string[] = [];
    bench.controller.on("alarm", ({ alarm }) => told.push(alarm.code));

    const [info] = bench.commit(1, false);
    bench.controller.onPageFlush({ ...(info as PageFlushInfo), pageSize: 4096 });
    bench.controller.onPageFlush(undefined as unknown as PageFlushInfo);
    await bench.settled();
    bench.commit(4);
    await bench.settled();

    assert.deepEqual(await assertPoints(host, bench), [3, 4, 5, 6, 7]);
    assert.equal(bench.observer().refused, 2);
    assert.ok(told.includes("bad-request") || told.includes("unavailable"), told.join());
    assert.equal(host.begins.size, 1);
  });

  test("believes no transaction id that is none, also of pages that are too many to hold", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    const times = { mergeBytes: 1024, bytesMax: 2048 };
    await using bench = await startObserver(host, { directory: directory.path, times });
    await bench.settled();
    const seen = new Set<bigint | null | undefined>();

    const [info] = bench.commit(1, false);
    const frames = [{ id: 9, overflow: 15, data: new Uint8Array(16 * 512) }];
    for (const txId of [2n ** 70n, -1n, Number.NaN, 2.5])
      bench.controller.onPageFlush({ ...(info as PageFlushInfo), txId, frames, pageCount: 1 });
    await until("it is at the host", () => {
      const status = bench.controller.status();
      seen.add(status?.seenTxId);
      return status?.acknowledgedTxId === BigInt(bench.store.newest());
    });

    assert.equal(bench.observer().refused, 4);
    assert.equal(bench.observer().letGo, 0);
    assert.deepEqual(
      [...seen].filter((txId) => (txId ?? 0n) > 1000n),
      [],
    );
    await assertPoints(host, bench);
  });

  test("takes what one transaction did not tell for what it is: not to be proved, so the database is looked at", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    await using bench = await startObserver(host, { directory: directory.path });
    await bench.settled();

    const [info] = bench.commit(1, false);
    const frames = (info as PageFlushInfo).frames.slice(0, -1);
    bench.controller.onPageFlush({ ...(info as PageFlushInfo), frames, pageCount: frames.length });
    await bench.settled();

    assert.deepEqual(await assertPoints(host, bench), [3]);
    const { looks, refused } = bench.observer();
    assert.equal(looks.unproved + looks.refused, 1, `${refused} refused`);
  });

  test("while the host is away merges in bounded memory what is told faster than it can be kept", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    const times = { mergeBytes: 16 * 1024, bytesMax: 64 * 1024 };
    await using bench = await startObserver(host, { directory: directory.path, times });
    await bench.settled();
    host.intercept = () => ({ status: 503 });

    for (let burst = 0; burst < 10; burst += 1) {
      bench.commit(200);
      assert.ok(bench.observer().waitingBytes <= times.bytesMax);
      await setTimeout(5);
    }
    await until("the shadow", () => bench.controller.status()?.shadowedTxId === BigInt(bench.store.newest()));

    const { merged, bytesMax, letGo, looks } = bench.observer();
    assert.ok(merged > 100, `${merged} merged`);
    assert.ok(bytesMax <= times.bytesMax, `${bytesMax} bytes held at most`);
    assert.deepEqual([letGo, looks["let go"]], [0, 0]);
    assert.ok(bench.controller.dataLossWindow() > 0);

    host.intercept = () => undefined;
    await bench.settled();
    assert.equal((await assertPoints(host, bench)).at(-1), bench.store.newest());
    assert.equal(bench.controller.dataLossWindow(), 0);
    assert.deepEqual([host.begins.size, snapshotsOf(host).length], [1, 1]);
  });

  test("lets pages go that are too many to hold, reads them again, and asks for no snapshot", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    const times = { mergeBytes: 8 * 1024, bytesMax: 12 * 1024 };
    await using bench = await startObserver(host, { directory: directory.path, times, made: { leaves: 60 } });
    await bench.settled();

    bench.commit(500);
    const held = bench.observer().waitingBytes;
    await bench.settled();
    bench.commit(1);
    await bench.settled();

    assert.equal(held, 0);
    const { letGo, bytesMax, looks } = bench.observer();
    assert.ok(letGo > 0 && bytesMax <= 2 * times.bytesMax, `${letGo} let go, ${bytesMax} bytes held`);
    assert.equal(looks["let go"], 1);
    await assertPoints(host, bench);
    assert.deepEqual([host.begins.size, snapshotsOf(host).length], [1, 1]);
  });

  test("sends a snapshot from time to time while commits go on, from short views", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    const config = { snapshotIntervalMs: 1, granularity: "interval" } as const;
    await using bench = await startObserver(host, {
      directory: directory.path,
      config,
      made: { leaves: 400 },
    });
    await bench.settled();
    const first = bench.controller.status()?.snapshotTxId ?? 0n;

    await until("another snapshot", () => {
      bench.commit(2);
      return (bench.controller.status()?.snapshotTxId ?? 0n) > first;
    });

    await bench.settled();
    assert.equal(host.begins.size, 1);
    assert.equal(bench.observer().looks.start, 1);
    const newest = snapshotsOf(host).at(-1) ?? "";
    const taken = Number.parseInt(/([0-9a-f]{16})\.snapshot/.exec(newest)?.[1] ?? "", 16);
    const truth = bench.states.get(taken);
    assert.ok(truth !== undefined && taken > Number(first));
    host.forget((name) => name !== newest);
    await assertRestores(host, bench.generation(), truth);
  });
});

suite("a controller that is closed", () => {
  test("while it is told sends all that was told before, and the next one goes on with what it missed", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    const bench = await startObserver(host, { directory: directory.path });
    await bench.settled();
    const generation = bench.generation();

    const infos = bench.commit(100, false);
    for (const info of shuffled(infos.slice(0, 80))) bench.controller.onPageFlush(info);
    const closing = bench.controller.close();
    for (const info of infos.slice(80)) bench.controller.onPageFlush(info);
    await closing;

    assert.equal(bench.controller.status()?.acknowledgedTxId, BigInt(bench.store.newest()));
    const { taken, late } = bench.observer();
    assert.equal(taken + late, 100);
    await assertPoints(host, bench);

    bench.commit(3, false);
    await using again = await startObserver(host, { directory: directory.path, store: bench.store });
    await again.settled();
    again.commit(2);
    await again.settled();
    assert.equal(again.generation(), generation);
    const points = await assertPoints(host, again);
    assert.deepEqual(points.slice(-3), [105, 106, 107]);
    assert.equal(snapshotsOf(host).length, 1);
  });

  test("ends although its database is closed already", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    let isClosed = false;
    const bench = await startObserver(host, {
      directory: directory.path,
      seen: (store) => ({
        ...store,
        view: (read) => (isClosed ? Promise.reject(new Error("closed")) : store.view(read)),
      }),
    });
    await bench.settled();
    const infos = bench.commit(3, false);
    for (const info of infos.slice(1)) bench.controller.onPageFlush(info);
    isClosed = true;

    const startedMs = performance.now();
    await bench.controller.close({ deadlineMs: 20_000 });

    assert.ok(performance.now() - startedMs < 5000);
    assert.equal(bench.controller.status()?.acknowledgedTxId, 2n);
  });
});

suite("a controller whose database", () => {
  test("is another file after a restart begins a generation that names its parent, by a bridge", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    const bench = await startObserver(host, { directory: directory.path });
    await bench.settled();
    bench.commit(3);
    await bench.settled();
    await bench.controller.close();
    await rm(bench.store.path);
    bench.commit(1, false);

    await using again = await startObserver(host, { directory: directory.path, store: bench.store });
    await again.settled();

    const begin = host.begins.get(again.generation());
    assert.deepEqual([begin?.reason, begin?.parent?.txId, begin?.epoch], ["replaced", 5n, 2]);
    assert.equal(snapshotsOf(host).length, 1);
    await assertPoints(host, again);
  });

  test("was restored begins a generation although nothing else tells", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    const bench = await startObserver(host, { directory: directory.path });
    await bench.settled();
    await bench.controller.close();

    const { store } = bench;
    const before = bench.generation();
    await using again = await startObserver(host, { directory: directory.path, store, isRestored: true });
    await until("another generation", () => again.generation() !== before);
    await until("it at the host", () => host.begins.has(again.generation()));

    assert.equal(host.begins.get(again.generation())?.reason, "restored");
  });

  test("goes back to an older history while it is observed is noticed by what it tells", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    let now: PageStore | undefined;
    await using bench = await startObserver(host, {
      directory: directory.path,
      seen: (store) => ({ ...store, view: (read) => (now ?? store).view(read) }),
    });
    await bench.settled();
    bench.commit(20);
    await bench.settled();
    const before = bench.generation();

    const other = createPageStore({ path: bench.store.path, seed: 7 });
    now = other;
    bench.controller.onPageFlush(other.commit());
    await until("another generation", () => bench.generation() !== before);
    bench.controller.onPageFlush(other.commit());
    await until("all of it", () => bench.controller.status()?.acknowledgedTxId === BigInt(other.newest()));

    assert.equal(host.begins.get(bench.generation())?.reason, "replaced");
    await assertRestores(host, bench.generation(), other.state());
  });

  test("was told without a root page that nothing misses is asked, and begins another generation", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    const made = { hasFreelist: false };
    await using bench = await startObserver(host, { directory: directory.path, made });
    await bench.settled();
    const before = bench.generation();

    const [info] = bench.commit(1, false);
    const { root } = copyFlush(info as PageFlushInfo, 512, 1).tip;
    const frames = (info as PageFlushInfo).frames.filter(({ id }) => Number(id) !== root);
    bench.controller.onPageFlush({ ...(info as PageFlushInfo), frames, pageCount: frames.length });
    await until("another generation", () => bench.generation() !== before);
    bench.commit(1);
    await until("it at the host", () => pointsOf(host, bench.generation()).includes(bench.store.newest()));

    assert.equal(bench.observer().looks.changed, 1);
    await assertRestores(host, bench.generation(), bench.store.state());
  });

  test("cannot be read is an alarm until it can, and nothing is lost meanwhile", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    let isBroken = true;
    await using bench = await startObserver(host, {
      directory: directory.path,
      seen: (store) => ({
        ...store,
        view: (read) => (isBroken ? Promise.reject(new Error("no more readers")) : store.view(read)),
      }),
    });
    bench.commit(5);
    await until("the alarm", () => {
      const alarms = bench.controller.status()?.alarms ?? [];
      return alarms.some(({ code, message }) => code === "unreadable" && message.includes("no more readers"));
    });
    assert.ok(bench.controller.dataLossWindow() > 0);

    isBroken = false;
    await bench.settled();

    assert.deepEqual(bench.controller.status()?.alarms, []);
    await assertRestores(host, bench.generation(), bench.store.state());
  });
});
