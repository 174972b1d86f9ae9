import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { formatGenerationJson, generationJsonName, txId } from "@pageferry/format";
import { type History, historyOf } from "../testing/history.ts";
import { createArchiveApi } from "./archive-api.ts";
import { createArchives } from "./archives.ts";
import { createReplica, type Replica } from "./replica.ts";
import type { ObjectInfo, Store } from "./store.ts";
import { memoryStore } from "./stores/memory.ts";

const nowMs = Date.UTC(2026, 10, 28);

/** A store that notes what it is asked. */
function watched(name = "replica"): Store & { readonly asked: string[] } {
  const store = memoryStore();
  const asked: string[] = [];
  return {
    ...store,
    name,
    asked,
    list(prefix, call): AsyncIterable<ObjectInfo> {
      asked.push(`LIST ${prefix}`);
      return store.list(prefix, call);
    },
    get(object, range) {
      asked.push(`GET ${object}`);
      return store.get(object, range);
    },
  };
}

function apiOf(replicas: readonly Replica[], now = () => nowMs) {
  const api = createArchiveApi({ archives: createArchives(), now });
  const place = { database: "app", readers: replicas.map(({ remembered }) => remembered) };
  return { api, place };
}

async function filled(store: Store, history: History, upTo: number): Promise<Replica> {
  const begin = formatGenerationJson({ version: 1, ...history.begin, receivedAtMs: nowMs });
  await store.put(generationJsonName(history.generation), begin);
  await store.put(history.snapshot(1).name, history.snapshot(1).bytes);
  for (let id = 2; id <= upTo; id += 1) {
    const { name, bytes } = history.segment(id - 1, id);
    await store.put(name, bytes);
  }
  return createReplica(store, { root: "", now: () => nowMs });
}

suite("a plan", () => {
  test("tells its state though the first replica's copy is cut short", async () => {
    const history = historyOf("a1");
    const [snapshot, segment] = [history.snapshot(1), history.segment(1, 2)];
    const replicas = await Promise.all(
      [40, 0].map(async (lost, at) => {
        const store = watched(`replica-${at}`);
        for (const { name: object, bytes: whole } of [snapshot, segment])
          await store.put(object, whole.slice(0, whole.length - lost));
        return createReplica(store, { root: "" });
      }),
    );
    const { api, place } = apiOf(replicas);

    const { ends } = await api.plan(place, {}, {});

    assert.equal(ends.stateHash, history.stateHash(2));
    assert.deepEqual([...(ends.crc64?.keys() ?? [])].sort(), [snapshot.name, segment.name].sort());
  });

  test("asks a store for nothing that it was asked for before, and sees what is stored since", async () => {
    const history = historyOf("a1");
    const store = watched();
    const replica = await filled(store, history, 5);
    const { api, place } = apiOf([replica]);
    await api.plan(place, {}, {});
    store.asked.length = 0;

    await api.plan(place, {}, {});
    assert.equal(store.asked.length, 0);
    const { name, bytes } = history.segment(5, 6);
    await replica.putSegment(history.generation, bytes);
    store.asked.length = 0;
    const { plan, ends } = await api.plan(place, {}, {});

    assert.equal(plan.txId, 6n);
    assert.equal(ends.stateHash, history.stateHash(6));
    assert.ok(store.asked.every((one) => one.startsWith("GET ") && !one.includes("generation.json")));
    assert.ok(plan.steps.some((step) => step.name === name));
  });

  test("looks again before it says that there is none, and around what is gone", async () => {
    const history = historyOf("a1");
    const store = watched();
    const { api, place } = apiOf([await filled(store, history, 3)]);
    await api.plan(place, {}, {});
    // By somebody else, in the same store.
    const [snapshot, next] = [history.snapshot(3), history.segment(3, 4)];
    await store.put(snapshot.name, snapshot.bytes);
    await store.put(next.name, next.bytes);
    await store.remove([history.segment(1, 2).name, history.segment(2, 3).name, history.snapshot(1).name]);

    assert.equal((await api.plan(place, { txId: txId(4) }, {})).plan.snapshot.name, snapshot.name);
  });

  test("looks again as of when it is asked, also while another look runs, and once for all who ask", async () => {
    const history = historyOf("a1");
    const store = watched();
    const { api, place } = apiOf([await filled(store, history, 3)]);
    await api.plan(place, {}, {});
    const running = place.readers[0]?.relist?.();
    while (store.asked.filter((one) => one.startsWith("LIST")).length < 2) await sleep(1);
    const { name, bytes } = history.segment(3, 4);
    await store.put(name, bytes);
    store.asked.length = 0;

    const plans = Array.from({ length: 50 }, () => api.plan(place, { txId: txId(4) }, {}));
    for (const { plan } of await Promise.all(plans)) assert.equal(plan.txId, 4n);

    await running;
    assert.ok(store.asked.filter((one) => one.startsWith("LIST")).length <= 2, store.asked.join("\n"));
  });

  test("leaves out what is marked, where there is another way", async () => {
    const history = historyOf("a1");
    const store = watched();
    const replica = await filled(store, history, 4);
    const range = history.segment(1, 4);
    await store.put(range.name, range.bytes);
    const marks = { version: 1, markedAtMs: nowMs - 1000, names: [range.name] };
    await store.replace("marks/prune-1.json", Buffer.from(JSON.stringify(marks)));
    const { api, place } = apiOf([replica]);

    const { plan } = await api.plan(place, {}, {});
    assert.deepEqual(
      plan.steps.map(({ to }) => to),
      [2n, 3n, 4n],
    );
    const without = new Set([history.segment(1, 2).name]);
    assert.deepEqual(
      (await api.plan(place, { txId: txId(4) }, { without })).plan.steps.map(({ name }) => name),
      [range.name],
    );
  });
});

test("points are those of all replicas, with a warning for one that cannot be listed", async () => {
  const history = historyOf("a1");
  const whole = await filled(watched("whole"), history, 3);
  const down = createReplica(
    {
      ...watched("down"),
      list: () => ({
        [Symbol.asyncIterator]: () => ({ next: () => Promise.reject(new Error("ECONNREFUSED")) }),
      }),
    },
    { root: "" },
  );
  const { api, place } = apiOf([down, whole]);

  const { points, warnings } = await api.points(place, {});

  assert.deepEqual(
    points.map(({ txid }) => Number(txid)),
    [3, 2, 1],
  );
  assert.match(warnings[0] ?? "", /down cannot be listed/);
});
