import assert from "node:assert/strict";
import { suite, type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { PageferryError, parseDatabaseName } from "@pageferry/format";
import { historyOf } from "../testing/history.ts";
import { createAlarms } from "./alarms.ts";
import type { RepairNeed } from "./behind.ts";
import type { LaneDepth } from "./queue.ts";
import { startRepairer } from "./repairer.ts";
import { replicaSetOf } from "./replicas.ts";
import type { Store } from "./store.ts";
import { memoryStore } from "./stores/memory.ts";
import type { Health, Target } from "./targets.ts";

const database = parseDatabaseName("app");
const history = historyOf("a1");
const objects = [history.snapshot(1), history.segment(1, 2), history.segment(2, 3)];

const well: Health = { state: "closed", failures: 0, waitMs: 0, error: null };
const ill: Health = { state: "open", failures: 3, waitMs: 1000, error: "unavailable: no answer" };

interface Stand {
  readonly store: Store;
  readonly target: Target;
  health: Health;
}

/** A replica as a repairer sees it. */
async function stand(
  name: string,
  held: readonly { readonly name: string; readonly bytes: Uint8Array }[],
): Promise<Stand> {
  const store = { ...memoryStore(), name };
  for (const object of held) await store.put(`app/${object.name}`, object.bytes);
  const one = {
    store,
    health: well,
    target: {
      name,
      lane: `replica:${name}`,
      copyLane: `copy:${name}`,
      set: replicaSetOf(store),
      health: (): Health => one.health,
    } as unknown as Target,
  };
  return one;
}

function start(t: TestContext, stands: readonly Stand[], more: { readonly busyMs?: number } = {}) {
  const needs = new Map<string, RepairNeed>();
  const depths: LaneDepth[] = [];
  const alarms = createAlarms({ now: Date.now });
  const repairer = startRepairer({
    targets: stands.map(({ target }) => target),
    databases: async () => [database],
    repairs: {
      needsRepair: (replica) => needs.get(replica),
      repaired: ({ replica }) => needs.delete(replica),
    },
    queue: { depths: () => depths },
    alarms,
    config: {},
    now: Date.now,
    turnMs: 10,
    ...more,
  });
  t.after(() => repairer.stop());
  return { repairer, needs, depths, alarms };
}

const need = (replica: string): RepairNeed => ({ replica, database, marks: [] });
const count = async (store: Store): Promise<number> => (await Array.fromAsync(store.list("app/"))).length;

async function until(condition: () => Promise<boolean> | boolean): Promise<void> {
  for (const end = Date.now() + 8000; !(await condition()); await sleep(5))
    assert.ok(Date.now() < end, "it did not come");
}

suite("a host's repairs", () => {
  test("bring up a replica whose lane let something go, and then it is behind no more", async (t) => {
    const [full, empty] = [await stand("full", objects), await stand("empty", [])];
    const { needs } = start(t, [full, empty]);

    needs.set("empty", need("empty"));
    await until(() => !needs.has("empty"));

    assert.equal(await count(empty.store), 3);
  });

  test("do not take a replica for whole while another one, which may have more, cannot be listed", async (t) => {
    const [mute, some, behind] = [
      await stand("mute", objects),
      await stand("some", []),
      await stand("behind", []),
    ];
    let lists = 0;
    let isMute = true;
    const store: Store = {
      ...mute.store,
      async *list(prefix, options) {
        lists += 1;
        if (isMute) throw new PageferryError("unavailable", "no answer");
        yield* mute.store.list(prefix, options);
      },
    };
    const changed = { ...mute, target: { ...mute.target, set: replicaSetOf(store) } };
    const { repairer, needs } = start(t, [changed, some, behind]);

    needs.set("behind", need("behind"));
    await until(() => lists > 0);
    const report = await repairer.repair(database, { replica: "some" });
    assert.deepEqual([report.isWhole, report.unlisted.length], [false, 1]);
    assert.ok(needs.has("behind"));

    isMute = false;
    behind.health = ill;
    await sleep(50);
    behind.health = well;
    await until(() => !needs.has("behind"));
    assert.equal(await count(behind.store), 3);
  });

  test("wait no longer than a while for a lane that is never empty, but go on waiting for who is away", async (t) => {
    const [full, busy, away] = [
      await stand("full", objects),
      await stand("busy", []),
      await stand("away", []),
    ];
    away.health = ill;
    const { needs, depths } = start(t, [full, busy, away], { busyMs: 150 });
    for (const lane of ["replica:busy", "replica:away"])
      depths.push({ lane, database, messages: 4, bytes: 10, dead: 0 });
    const begun = performance.now();
    for (const name of ["busy", "away"]) needs.set(name, need(name));

    await until(async () => (await count(busy.store)) === 3);

    assert.ok(performance.now() - begun >= 150);
    assert.equal(await count(away.store), 0);
  });

  test("bring up a replica that is back", async (t) => {
    const [full, away] = [await stand("full", objects), await stand("away", [])];
    away.health = ill;
    start(t, [full, away]);
    await sleep(50);
    assert.equal(await count(away.store), 0);

    away.health = well;
    await until(async () => (await count(away.store)) === 3);
  });

  test("leave a replica to its lane while that has something for it", async (t) => {
    const [full, busy] = [await stand("full", objects), await stand("busy", [])];
    const { needs, depths } = start(t, [full, busy]);
    depths.push({ lane: "replica:busy", database, messages: 4, bytes: 10, dead: 0 });
    needs.set("busy", need("busy"));
    await sleep(80);
    assert.equal(await count(busy.store), 0);

    depths.length = 0;
    await until(async () => (await count(busy.store)) === 3);
  });

  test("do not ask one that is left alone, and say so when it was asked for by hand", async (t) => {
    const [full, away] = [await stand("full", objects), await stand("away", [])];
    away.health = ill;
    const { repairer } = start(t, [full, away]);

    const report = await repairer.repair(database);

    assert.equal(report.isWhole, false);
    assert.deepEqual(
      report.replicas.map(({ replica, error }) => [replica, error !== null]),
      [
        ["full/app", false],
        ["away", true],
      ],
    );
  });

  test("leave a replica alone while another call finds out whether it is back, unless it is named", async (t) => {
    const [full, probed] = [await stand("full", objects), await stand("probed", [])];
    probed.health = { ...ill, state: "half-open", waitMs: 0 };
    const { repairer } = start(t, [full, probed]);

    const report = await repairer.repair(database);
    assert.deepEqual([report.isWhole, report.unlisted, await count(probed.store)], [false, ["probed"], 0]);

    await repairer.repair(database, { replica: "probed" });
    assert.equal(await count(probed.store), 3);
  });

  test("end with the host though a replica hangs in the middle and hears no signal", async (t) => {
    const [full, hung] = [await stand("full", objects), await stand("hung", [])];
    const asked = Promise.withResolvers<void>();
    const store: Store = {
      ...hung.store,
      put() {
        asked.resolve();
        return new Promise(() => undefined);
      },
    };
    const { repairer } = start(t, [full, { ...hung, target: { ...hung.target, set: replicaSetOf(store) } }]);
    const repair = assert.rejects(repairer.repair(database));
    await asked.promise;
    const begun = performance.now();

    await repairer.stop();

    await repair;
    assert.ok(performance.now() - begun < 5000);
  });

  test("refuse a replica that is not configured", async (t) => {
    const { repairer } = start(t, [await stand("one", objects), await stand("two", [])]);

    await assert.rejects(repairer.repair(database, { replica: "three" }), { code: "not-found" });
  });

  test("raise an alarm for what no replica could give, and clear it when it is there", async (t) => {
    const gone = history.segment(1, 2);
    const [broken, lacking] = [
      await stand("broken", objects),
      await stand("lacking", [objects[0] as (typeof objects)[0]]),
    ];
    const bytes = new Uint8Array(gone.bytes);
    bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1;
    await broken.store.remove([`app/${gone.name}`]);
    await broken.store.put(`app/${gone.name}`, bytes);
    const { repairer, alarms } = start(t, [broken, lacking]);

    await repairer.repair(database);
    const raised = alarms.list().map(({ code, replica }) => [code, replica]);
    await broken.store.remove([`app/${gone.name}`]);
    await broken.store.put(`app/${gone.name}`, gone.bytes);
    await repairer.repair(database);

    assert.ok(
      raised.some(([code, replica]) => code === "repair" && replica === "lacking/app"),
      JSON.stringify(raised),
    );
    assert.deepEqual(alarms.list(), []);
    assert.equal(await count(lacking.store), 3);
  });

  test("end at once when the host stops", async () => {
    const slow = await stand("slow", objects);
    const never: Store = { ...slow.store, get: () => new Promise(() => undefined) };
    const target = { ...slow.target, set: replicaSetOf(never) } as Target;
    const repairer = startRepairer({
      targets: [target, (await stand("empty", [])).target],
      databases: async () => [database],
      repairs: { needsRepair: () => undefined, repaired: () => true },
      queue: { depths: () => [] },
      alarms: createAlarms({ now: Date.now }),
      config: {},
      now: Date.now,
      turnMs: 10,
    });

    await repairer.stop();

    await assert.rejects(repairer.repair(database), (error) => !(error instanceof PageferryError));
  });
});
