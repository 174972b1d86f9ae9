import assert from "node:assert/strict";
import { suite, test } from "node:test";
import {
  encodePack,
  formatGenerationJson,
  generationJsonName,
  openArchive,
  PageferryError,
  packName,
  readPoints,
  txId,
} from "@pageferry/format";
import { epochMs, historyOf } from "../testing/history.ts";
import { goPolicy } from "../testing/policy.ts";
import { type RepairOptions, type RepairReport, repairDatabase } from "./repair.ts";
import { createReplica, type Replica } from "./replica.ts";
import type { ObjectInfo, Store } from "./store.ts";
import { memoryStore } from "./stores/memory.ts";

const history = historyOf("a1");
const begin = {
  name: generationJsonName(history.generation),
  bytes: formatGenerationJson({ version: 1, receivedAtMs: epochMs, ...history.begin }),
};
const snapshot = history.snapshot(1);
const segments = [2, 3, 4, 5].map((id) => history.segment(id - 1, id));
const all = [begin, snapshot, ...segments];

interface Held {
  readonly name: string;
  readonly bytes: Uint8Array;
}

interface Filled {
  readonly store: Store;
  readonly replica: Replica;
}

async function filled(
  objects: readonly Held[],
  change: (store: Store) => Store = (store) => store,
): Promise<Filled> {
  const store = memoryStore();
  for (const { name, bytes } of objects) await store.put(`app/${name}`, bytes);
  return { store, replica: createReplica(change(store), { root: "app" }) };
}

const without = (...gone: readonly Held[]): Held[] => all.filter((object) => !gone.includes(object));

function packOf(parts: readonly Held[]): Held {
  const name = packName({
    generation: history.generation,
    parentTxId: txId(5),
    txId: txId(7),
    stampMs: epochMs + 7000,
  });
  return { name, bytes: encodePack(parts) };
}

function broken({ name, bytes }: Held): Held {
  const changed = new Uint8Array(bytes);
  const middle = changed.length >> 1;
  changed[middle] = (changed[middle] ?? 0) ^ 0x10;
  return { name, bytes: changed };
}

function repair(filled: readonly Filled[], more: Partial<RepairOptions> = {}): Promise<RepairReport> {
  return repairDatabase({ database: "app", replicas: filled.map(({ replica }) => replica), ...more });
}

async function namesIn(store: Store): Promise<string[]> {
  const found: ObjectInfo[] = [];
  for await (const object of store.list("app/")) found.push(object);
  return found.map(({ name }) => name.slice("app/".length));
}

async function bytesOf(store: Store, name: string): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of await store.get(`app/${name}`)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** A store that counts its calls, and may refuse some. */
function watched(store: Store, refuse: (verb: string, name: string) => boolean = () => false) {
  const calls: string[] = [];
  const call = (verb: string, name: string): void => {
    calls.push(`${verb} ${name.slice("app/".length)}`);
    if (refuse(verb, name)) throw new PageferryError("unavailable", `${verb}: no answer`);
  };
  const watch: Store = {
    ...store,
    async put(name, body, options) {
      call("put", name);
      return store.put(name, body, options);
    },
    async get(name, options) {
      call("get", name);
      return store.get(name, options);
    },
    async *list(prefix, options) {
      call("list", prefix);
      yield* store.list(prefix, options);
    },
    async remove(names, options) {
      for (const name of names) call("remove", name);
      return store.remove(names, options);
    },
  };
  return { watch, calls };
}

const names = (objects: readonly Held[]): string[] => objects.map(({ name }) => name).toSorted();

suite("a repair", () => {
  test("brings to each replica what another one has, and finds nothing to do the next time", async () => {
    const [second, third] = [segments[1] as Held, segments[2] as Held];
    const filleds = [await filled(without(second)), await filled(without(third, begin)), await filled([])];

    const report = await repair(filleds);
    const again = await repair(filleds);

    for (const { store } of filleds) assert.deepEqual((await namesIn(store)).toSorted(), names(all));
    assert.deepEqual(
      report.replicas.map(({ copied, bytes, failures }) => [copied, bytes, failures]),
      [
        [1, second.bytes.length, 0],
        [2, third.bytes.length + begin.bytes.length, 0],
        [6, all.reduce((sum, { bytes }) => sum + bytes.length, 0), 0],
      ],
    );
    assert.deepEqual([report.points, report.isWhole], [5, true]);
    assert.deepEqual(
      again.replicas.map(({ copied }) => copied),
      [0, 0, 0],
    );
  });

  test("gives the same points from each replica alone, where none had them all", async () => {
    const filleds = [await filled(without(segments[0] as Held)), await filled(without(snapshot))];

    await repair(filleds);

    for (const { replica } of filleds) {
      const points = await readPoints(await openArchive([replica.reader]));
      assert.deepEqual(
        points.map(({ txId }) => Number(txId)),
        [5, 4, 3, 2, 1],
      );
    }
  });

  test("compares listings only, unless it is told to verify", async () => {
    const store = await filled(all);
    const { watch, calls } = watched(store.store);
    const quiet = { store: store.store, replica: createReplica(watch, { root: "app" }) };

    await repair([quiet, await filled(all)]);

    // Where generations begin is part of what a listing means.
    assert.deepEqual(
      calls.filter((call) => !call.startsWith("list")),
      [`get ${begin.name}`],
    );
  });

  test("plans without changing anything when it is only asked", async () => {
    const filleds = [await filled(all), await filled(without(snapshot))];

    const report = await repair(filleds, { dryRun: true });

    assert.deepEqual(
      report.replicas.map(({ copied, bytes }) => [copied, bytes]),
      [
        [0, 0],
        [1, snapshot.bytes.length],
      ],
    );
    assert.equal(report.isWhole, false);
    assert.deepEqual((await namesIn((filleds[1] as Filled).store)).toSorted(), names(without(snapshot)));
  });

  test("repairs only the replica that was named, from the others", async () => {
    const filleds = [await filled(without(snapshot)), await filled(without(begin))];

    await repair(filleds, { isTarget: (replica) => replica === filleds[0]?.replica });

    assert.deepEqual((await namesIn((filleds[0] as Filled).store)).toSorted(), names(all));
    assert.deepEqual((await namesIn((filleds[1] as Filled).store)).toSorted(), names(without(begin)));
  });

  test("goes on without a replica that does not answer, and says so", async () => {
    const dead = await filled(all, (store) => watched(store, () => true).watch);
    const filleds = [dead, await filled(all), await filled(without(snapshot))];

    const report = await repair(filleds);

    assert.match(report.replicas[0]?.error ?? "", /unavailable/);
    assert.deepEqual(
      report.replicas.slice(1).map(({ copied, error }) => [copied, error]),
      [
        [0, null],
        [1, null],
      ],
    );
    assert.equal(report.isWhole, false);
  });

  for (const verb of ["list", "get", "put"] as const) {
    test(`goes on without a replica whose ${verb} hangs and hears no signal, and ends when it is stopped`, async () => {
      const never = new Promise<never>(() => undefined);
      const hung = await filled(verb === "get" ? all : [begin], (store) => ({
        ...store,
        ...(verb === "list"
          ? { list: () => ({ [Symbol.asyncIterator]: () => ({ next: () => never }) }) }
          : {}),
        ...(verb === "get" ? { get: () => never } : {}),
        ...(verb === "put" ? { put: () => never } : {}),
      }));
      const [full, lacking] = [await filled(all), await filled(without(snapshot))];
      const filleds = verb === "get" ? [hung, lacking, full] : [hung, full, lacking];

      const report = await repair(filleds, { stallMs: 100 });
      assert.deepEqual((await namesIn(lacking.store)).toSorted(), names(all));
      if (verb !== "get") assert.match(report.replicas[0]?.error ?? "", /unavailable/);

      const stop = new AbortController();
      const stopped = repair(filleds, { verify: true, signal: stop.signal });
      setTimeout(() => stop.abort(new Error("stopped")), 50);
      await assert.rejects(stopped, /stopped/);
    });
  }

  test("does not ask a replica again for every object when it stops taking them", async () => {
    let puts = 0;
    const refuse = (verb: string): boolean => verb === "put" && ++puts > 1;
    const filleds = [await filled(all), await filled([], (store) => watched(store, refuse).watch)];

    const report = await repair(filleds);

    assert.match(report.replicas[1]?.error ?? "", /unavailable/);
    assert.ok(puts <= 1 + 4, `${puts} puts`);
  });

  test("may die between any two puts, and is done when it is run again", async () => {
    for (let lives = 0; lives <= all.length; lives += 1) {
      const stop = new AbortController();
      let puts = 0;
      const filleds = [
        await filled(all),
        await filled(
          [],
          (store) =>
            watched(store, (verb) => {
              if (verb === "put" && puts++ === lives) stop.abort(new Error("killed"));
              return false;
            }).watch,
        ),
      ];

      await repair(filleds, { signal: stop.signal }).catch((error: unknown) =>
        assert.match(String(error), /killed/),
      );
      await repair(filleds);

      assert.deepEqual((await namesIn((filleds[1] as Filled).store)).toSorted(), names(all));
    }
  });

  test("copies nothing of another history, says so, and leaves the newest point as it was", async () => {
    const other = historyOf("a1", "other");
    const [two, three, four] = [segments[0], segments[1], segments[2]] as [Held, Held, Held];
    const fork = other.segment(1, 2);
    const filleds = [
      await filled([begin, snapshot, fork]),
      await filled([begin, snapshot, two, three, four]),
    ];

    const report = await repair(filleds);

    const [row] = report.replicas;
    assert.deepEqual([row?.copied, row?.failures, row?.error], [0, 2, null]);
    assert.match(row?.failed[0]?.why ?? "", /^fork: /);
    assert.equal(report.isWhole, false);
    assert.equal((await namesIn((filleds[0] as Filled).store)).length, 3);
  });

  test("may run twice at once", async () => {
    const filleds = [await filled(all), await filled([])];

    const reports = await Promise.all([repair(filleds), repair(filleds)]);

    assert.deepEqual(
      reports.map(({ isWhole }) => isWhole),
      [true, true],
    );
    assert.deepEqual((await namesIn((filleds[1] as Filled).store)).toSorted(), names(all));
  });
});

suite("a broken object", () => {
  const victim = segments[1] as Held;
  const rotten = broken(victim);
  const rest = without(victim);

  test("is found by verifying, kept in quarantine, and replaced by a sound one", async () => {
    const filleds = [await filled([...rest, rotten]), await filled(all)];

    const report = await repair(filleds, { verify: true });

    const [first] = filleds as [Filled, Filled];
    assert.deepEqual(await bytesOf(first.store, victim.name), Buffer.from(victim.bytes));
    const kept = (await namesIn(first.store)).filter((name) => name.startsWith("quarantine/"));
    assert.equal(kept.length, 1);
    assert.deepEqual(await bytesOf(first.store, kept[0] as string), Buffer.from(rotten.bytes));
    const [row, other] = report.replicas;
    assert.deepEqual([row?.checked, row?.healed, row?.broken, row?.failures], [6, 1, [victim.name], 0]);
    assert.deepEqual([other?.checked, other?.healed, other?.broken], [6, 0, []]);
    assert.equal(report.isWhole, true);
  });

  for (const object of [begin, snapshot, segments[0] as Held]) {
    test(`of the kind ${object.name.slice(17).replace(/[-\d].*/, "")} is healed`, async () => {
      const filleds = [await filled(all), await filled([...without(object), broken(object)])];

      const report = await repair(filleds, { verify: true });

      assert.equal(report.replicas[1]?.healed, 1);
      assert.deepEqual(await bytesOf((filleds[1] as Filled).store, object.name), Buffer.from(object.bytes));
    });
  }

  test("is left as it is where no other replica has it whole", async () => {
    const filleds = [
      await filled([...rest, rotten]),
      await filled([...rest, broken({ ...victim, bytes: rotten.bytes.slice(0, -3) })]),
      await filled(rest),
    ];

    const report = await repair(filleds, { verify: true });

    assert.deepEqual(await bytesOf((filleds[0] as Filled).store, victim.name), Buffer.from(rotten.bytes));
    assert.deepEqual(
      report.replicas.map(({ healed, failures }) => [healed, failures]),
      [
        [0, 1],
        [0, 1],
        [0, 0],
      ],
    );
    assert.equal(report.isWhole, false);
  });

  test("is no source: it is found on the way, not stored, taken from the next, and healed", async () => {
    const filleds = [await filled([...rest, rotten]), await filled(all), await filled(rest)];

    const report = await repair(filleds);

    for (const { store } of filleds)
      assert.deepEqual(await bytesOf(store, victim.name), Buffer.from(victim.bytes));
    assert.deepEqual(
      report.replicas.map(({ copied, healed }) => [copied, healed]),
      [
        [0, 1],
        [0, 0],
        [1, 0],
      ],
    );
  });

  for (const [where, retention] of [
    ["", undefined],
    ["that retention asks of ", goPolicy(1e15)],
  ] as const) {
    test(`${where}one replica alone stops nothing else, is told, and is no part of the plan`, async () => {
      const { name: pack } = packOf([history.segment(5, 6)]);
      const torn = { name: pack, bytes: new Uint8Array(50) };
      const goForm = {
        name: `${history.generation}/segments/0000000000000008.segment.cbor`,
        bytes: history.segment(7, 8).bytes.slice(0, 10),
      };
      const filleds = [await filled([...all, torn, goForm]), await filled(without(segments[3] as Held))];

      const report = await repair(filleds, { retention });

      const [row, other] = report.replicas;
      assert.ok(row?.broken.includes(pack), JSON.stringify(row));
      assert.deepEqual([other?.copied, other?.error], [1, null]);
      assert.ok((await namesIn((filleds[1] as Filled).store)).includes((segments[3] as Held).name));
      assert.ok(!(await namesIn((filleds[1] as Filled).store)).includes(pack));
      assert.equal(report.isWhole, false);
    });
  }

  test("of which another replica has a whole copy is healed though nobody asked to verify", async () => {
    const pack = packOf([history.segment(5, 6), history.segment(6, 7)]);
    const torn = { name: pack.name, bytes: pack.bytes.slice(0, 30) };
    const filleds = [await filled([...all, torn]), await filled([...without(snapshot), pack])];

    const report = await repair(filleds);

    assert.equal(report.isWhole, true, JSON.stringify(report));
    assert.equal(report.replicas[0]?.healed, 1);
    assert.deepEqual(await bytesOf((filleds[0] as Filled).store, pack.name), Buffer.from(pack.bytes));
  });

  test("that is large streams through, and what does not hold is not stored", async () => {
    const large = history.snapshot(5, 12 * 1024 * 1024);
    const objects = [begin, large, history.segment(5, 6)];
    const filleds = [
      await filled([begin, broken(large), history.segment(5, 6)]),
      await filled(objects),
      await filled([begin]),
    ];

    const report = await repair(filleds);

    assert.equal(report.isWhole, true, JSON.stringify(report));
    assert.deepEqual(
      report.replicas.map(({ copied, healed }) => [copied, healed]),
      [
        [0, 1],
        [0, 0],
        [2, 0],
      ],
    );
    for (const { store } of filleds) {
      assert.ok((await bytesOf(store, large.name)).equals(Buffer.from(large.bytes)));
    }
  });

  test("is only told of in a dry run", async () => {
    const filleds = [await filled([...rest, rotten]), await filled(all)];

    const report = await repair(filleds, { verify: true, dryRun: true });

    assert.deepEqual(report.replicas[0]?.broken, [victim.name]);
    assert.deepEqual(await bytesOf((filleds[0] as Filled).store, victim.name), Buffer.from(rotten.bytes));
  });

  test("is not removed while the only sound copy cannot be read", async () => {
    const mute = (store: Store): Store =>
      watched(store, (verb, name) => verb === "get" && name.includes(victim.name)).watch;
    const filleds = [await filled([...rest, rotten]), await filled(all, mute)];

    const report = await repair(filleds, { verify: true });

    assert.deepEqual(await bytesOf((filleds[0] as Filled).store, victim.name), Buffer.from(rotten.bytes));
    assert.equal(report.replicas[0]?.healed, 0);
    assert.equal(report.isWhole, false);
  });
});
