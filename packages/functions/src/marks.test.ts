import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { PageferryError } from "@pageferry/format";
import { readMarks, writeMarks } from "./marks.ts";
import { type RootedStore, rootedStore } from "./rooted-store.ts";
import { memoryStore } from "./stores/memory.ts";

const documentsIn = async (store: RootedStore) =>
  (await Array.fromAsync(store.list("marks/"))).map(({ name }) => name);

async function mark(store: RootedStore, names: readonly string[], nowMs: number): Promise<void> {
  await writeMarks(store, await readMarks(store, nowMs), names, nowMs);
}

const sinceIn = async (store: RootedStore, nowMs: number) =>
  Object.fromEntries((await readMarks(store, nowMs)).sinceMs);

suite("marks", () => {
  test("say since when a name may go, and keep that while it may", async () => {
    const store = rootedStore(memoryStore(), "app");

    await mark(store, ["a", "b"], 100);
    await mark(store, ["b", "c"], 200);

    assert.deepEqual(await sinceIn(store, 300), { b: 100, c: 200 });
    assert.equal((await documentsIn(store)).length, 2);
  });

  test("are forgotten with what is no longer planned, and with all of it there is no document", async () => {
    const store = rootedStore(memoryStore(), "app");

    await mark(store, ["a"], 100);
    await mark(store, [], 200);
    assert.deepEqual(await documentsIn(store), []);
    await mark(store, ["a"], 300);

    assert.deepEqual(await sinceIn(store, 400), { a: 300 });
  });

  test("of two prunes at once are both there, the earlier time counts, and the next prune makes one of them", async () => {
    const store = rootedStore(memoryStore(), "app");
    const none = await readMarks(store, 100);

    await Promise.all([
      writeMarks(store, none, ["a", "b"], 100),
      writeMarks(store, none, ["b", "a"], 100),
      writeMarks(store, none, ["b", "c"], 150),
    ]);

    assert.equal((await documentsIn(store)).length, 2);
    assert.deepEqual(await sinceIn(store, 200), { a: 100, b: 100, c: 150 });
    await mark(store, ["a", "b"], 200);
    assert.equal((await documentsIn(store)).length, 1);
  });

  test("are split into documents of 50,000 names", async () => {
    const store = rootedStore(memoryStore(), "app");
    const names = Array.from({ length: 50_001 }, (_, at) => `name-${at}`);

    await mark(store, names, 100);

    assert.equal((await documentsIn(store)).length, 2);
    assert.equal((await readMarks(store, 200)).sinceMs.size, 50_001);
  });

  test("that cannot be understood say nothing, and those from the future say now", async () => {
    const store = rootedStore(memoryStore(), "app");
    for (const [at, text] of ["", "{", "[]", '{"version":2,"markedAtMs":1,"names":["a"]}'].entries())
      await store.replace(`marks/prune-${at}.json`, Buffer.from(text));
    const ahead = { version: 1, markedAtMs: 900, names: ["b"] };
    await store.replace("marks/prune-9.json", Buffer.from(JSON.stringify(ahead)));

    assert.deepEqual(await sinceIn(store, 300), { b: 300 });
    await mark(store, ["b"], 300);
    assert.equal((await documentsIn(store)).length, 1);
    assert.deepEqual(await sinceIn(store, 400), { b: 300 });
  });

  test("that cannot be read now are no marks that say nothing", async () => {
    const store = rootedStore(memoryStore(), "app");
    await mark(store, ["a"], 100);
    const away: RootedStore = {
      ...store,
      async read() {
        throw new PageferryError("unavailable", "no answer");
      },
    };

    await assert.rejects(readMarks(away, 200), { code: "unavailable" });
  });
});
