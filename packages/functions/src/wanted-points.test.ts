import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { parseGeneration, txId } from "@pageferry/format";
import { rootedStore } from "./rooted-store.ts";
import { memoryStore } from "./stores/memory.ts";
import { addPin, listPins, readWanted, removePin } from "./wanted-points.ts";

const generation = parseGeneration("aaaaaaaaaaaaaaaa");
const point = { generation, txId: txId(7) };
const json = (more: object = {}) =>
  Buffer.from(JSON.stringify({ generation, txId: "0000000000000007", ...more }));
const open = () => rootedStore(memoryStore(), "app");

suite("a pin", () => {
  test("holds a point until it is removed", async () => {
    const store = open();

    assert.equal(await addPin(store, { ...point, note: "before the upgrade" }, 100), "stored");
    const [name = ""] = (await Array.fromAsync(store.list("pins/"))).map((object) => object.name);
    assert.deepEqual((await readWanted(store, [name], 1e15, {})).pinned, [point]);
    assert.deepEqual(await listPins(store), [{ ...point, createdAtMs: 100, note: "before the upgrade" }]);

    await removePin(store, point);
    assert.deepEqual(await listPins(store), []);
    await removePin(store, point);
  });

  test("set again is as it was", async () => {
    const store = open();
    await addPin(store, { ...point, note: "one" }, 100);

    assert.equal(await addPin(store, { ...point, note: "two" }, 200), "present");
    assert.deepEqual(await listPins(store), [{ ...point, createdAtMs: 100, note: "one" }]);
  });

  test("that somebody wrote by hand counts, whatever its name", async () => {
    const store = open();
    await store.put("pins/mine.json", json());

    assert.deepEqual(await listPins(store), [{ ...point, createdAtMs: null, note: null }]);
  });

  test("takes no longer note than a line", async () => {
    await assert.rejects(addPin(open(), { ...point, note: "x".repeat(201) }, 0), { code: "bad-request" });
  });
});

suite("what is wanted", () => {
  test("are pins, and leases that have not expired", async () => {
    const store = open();
    const names = ["leases/1.json", "leases/2.json", "leases/3.json", "pins/1.json"];
    await store.put("leases/1.json", json({ expiresAtMs: 500 }));
    await store.put("leases/2.json", json({ expiresAtMs: 501, txId: "0000000000000008" }));
    await store.put("leases/3.json", json({ txId: "0000000000000009" }));
    await store.put("pins/1.json", json());

    const { pinned, leased, expired } = await readWanted(store, names, 500, {});

    assert.deepEqual(pinned, [point]);
    assert.deepEqual(
      leased.map((one) => one.txId),
      [8n, 9n],
    );
    assert.deepEqual(expired, ["leases/1.json"]);
  });

  test("is not what went away since it was listed", async () => {
    assert.deepEqual(await readWanted(open(), ["pins/1.json"], 0, {}), {
      pinned: [],
      leased: [],
      expired: [],
    });
  });

  test("is refused where one of them cannot be understood: who deletes must know them all", async () => {
    for (const bytes of [
      "",
      "{",
      "[]",
      '{"generation":"aaaaaaaaaaaaaaaa"}',
      json({ txId: "7" }).toString(),
    ]) {
      const store = open();
      await store.put("pins/1.json", Buffer.from(bytes));
      await assert.rejects(readWanted(store, ["pins/1.json"], 0, {}), { code: "corrupt" }, bytes);
      await assert.rejects(listPins(store), { code: "corrupt" });
    }
  });
});
