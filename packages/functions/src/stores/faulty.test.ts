import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { type FaultyOptions, faulty, seeded } from "./faulty.ts";
import { memoryStore } from "./memory.ts";

const text = (words: string): Uint8Array => new TextEncoder().encode(words);

const namesIn = async (store: ReturnType<typeof memoryStore>): Promise<string[]> =>
  (await Array.fromAsync(store.list(""))).map(({ name }) => name);

function open(faults: Partial<FaultyOptions>, seed = 1) {
  const inside = memoryStore();
  return { inside, store: faulty(inside, { random: seeded(seed), ...faults }) };
}

suite("a store on its bad days", () => {
  test("is the store it wraps, where nothing is asked of it", async () => {
    const { store } = open({});

    assert.equal(await store.put("a", text("x")), "stored");
    assert.equal(await store.put("a", text("x")), "present");
    assert.deepEqual(await namesIn(store), ["a"]);
  });

  test("does nothing and says unavailable", async () => {
    const { store, inside } = open({ unavailableShare: 1 });

    await assert.rejects(store.put("a", text("x")), { code: "unavailable" });

    assert.deepEqual(await namesIn(inside), []);
  });

  test("stores and loses the answer", async () => {
    const { store, inside } = open({ lostAnswerShare: 1 });

    await assert.rejects(store.put("a", text("x")), { code: "unavailable" });
    await assert.rejects(store.replace("needs.json", text("x")), { code: "unavailable" });

    assert.deepEqual(await namesIn(inside), ["a", "needs.json"]);
    await assert.rejects(store.remove(["a"]), { code: "unavailable" });
    assert.deepEqual(await namesIn(inside), ["needs.json"]);
  });

  test("never answers, until its caller goes", async () => {
    const { store } = open({ stallShare: 1 });
    const reason = new Error("enough");
    const stop = new AbortController();
    setTimeout(() => stop.abort(reason), 5);

    await assert.rejects(store.get("a", { signal: stop.signal }), (error) => error === reason);
  });

  test("breaks off a read, and a listing, after some of it", async () => {
    const { store, inside } = open({ resetShare: 1 });
    for (let at = 0; at < 5000; at++) await inside.put(`a/${at}`, text("x"));
    await inside.put("b", Buffer.alloc(100_000, 1));
    let bytes = 0;
    let names = 0;
    const read = async () => {
      for await (const chunk of await store.get("b")) bytes += chunk.length;
    };
    const list = async () => {
      for await (const _ of store.list("")) names += 1;
    };

    await assert.rejects(read(), { code: "unavailable" });
    await assert.rejects(list(), { code: "unavailable" });

    assert.ok(bytes > 0 && bytes < 100_000, `${bytes} bytes`);
    assert.ok(names > 0 && names < 5000, `${names} names`);
  });

  test("ends a read early: without a word where its length was asked for", async () => {
    const { store, inside } = open({ truncatedShare: 1 });
    await inside.put("b", Buffer.alloc(100_000, 1));

    const read = await Array.fromAsync(await store.get("b", { offset: 0, length: 100_000 }));

    assert.ok(Buffer.concat(read).length < 100_000);
    await assert.rejects(Array.fromAsync(await store.get("b")), { code: "unavailable" });
  });

  test("shows a new object late in its listings, and has it all the same", async () => {
    const { store } = open({ lagShare: 1 });
    await store.put("a", text("x"));

    assert.deepEqual(await namesIn(store), []);
    await store.get("a");
    for (let listings = 0; listings < 3; listings++) await namesIn(store);

    assert.deepEqual(await namesIn(store), ["a"]);
  });

  test("has the same bad day again from the same seed", async () => {
    const outcomes = async (seed: number) => {
      const { store } = open({ unavailableShare: 0.5 }, seed);
      const all = await Promise.allSettled(
        Array.from({ length: 40 }, (_, at) => store.put(`${at}`, text("x"))),
      );
      return all.map(({ status }) => status).join(" ");
    };

    assert.equal(await outcomes(5), await outcomes(5));
    assert.notEqual(await outcomes(5), await outcomes(6));
  });
});
