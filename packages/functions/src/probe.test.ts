import assert from "node:assert/strict";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite, test } from "node:test";
import { PageferryError } from "@pageferry/format";
import { probeStore } from "./probe.ts";
import type { Store } from "./store.ts";
import { fileStore } from "./stores/file.ts";
import { memoryStore } from "./stores/memory.ts";

const random = Uint8Array.from({ length: 16 }, (_, index) => index);
const namesIn = async (store: Store) => {
  const names: string[] = [];
  for await (const { name } of store.list("")) names.push(name);
  return names;
};

suite("the probe of a store", () => {
  test("does everything once that a backup does, and leaves nothing behind", async (t) => {
    const directory = await mkdtemp(join(tmpdir(), "pageferry-probe-"));
    t.after(() => rm(directory, { recursive: true }));
    for (const store of [memoryStore(), fileStore({ directory })]) {
      const { steps, failed, differences } = await probeStore(store, { random });

      assert.deepEqual(
        steps.map(({ step }) => step),
        ["write", "write again", "refuse other bytes", "read", "read a range", "list", "delete"],
      );
      assert.deepEqual([failed, differences, await namesIn(store)], [undefined, [], []]);
    }
    assert.deepEqual(await readdir(directory), []);
  });

  test("names the step that failed, and removes what it wrote all the same", async () => {
    const store = memoryStore();
    const broken: readonly [string, Partial<Store>][] = [
      ["write", { put: () => Promise.reject(new PageferryError("unauthorized", "may not")) }],
      [
        "refuse other bytes",
        { put: async (name, body, call) => await store.put(name, body, call).catch(() => "stored" as const) },
      ],
      ["read", { get: (name, range) => store.get(name, { ...range, length: 10 }) }],
      ["list", { async *list() {} }],
    ];
    for (const [step, change] of broken) {
      const { failed } = await probeStore({ ...store, ...change }, { random });

      assert.equal(failed?.step, step);
      assert.deepEqual(await namesIn(store), []);
    }
  });

  test("tells what the server does otherwise, and what deleting leaves", async () => {
    const store = memoryStore();
    const odd: Store = {
      ...store,
      differences: async () => [{ what: "it is slow", todo: "wait" }],
      async remove(names, call) {
        await store.remove(names, call);
        return [{ name: "x", reason: "delete-marker" }];
      },
    };

    const { failed, differences } = await probeStore(odd, { random });

    assert.equal(failed, undefined);
    assert.deepEqual(
      differences.map(({ what }) => what),
      ["it is slow", "what is deleted stays as an older version, which is paid for"],
    );
  });

  test("ends with its signal", async () => {
    const reason = new RangeError("enough");

    await assert.rejects(probeStore(memoryStore(), { random, signal: AbortSignal.abort(reason) }), reason);
  });
});
