import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { conformance } from "./conformance.ts";
import { measured, type Operation } from "./measured-store.ts";
import { faulty } from "./stores/faulty.ts";
import { memoryStore } from "./stores/memory.ts";

conformance("measured", {
  open: () => measured(memoryStore(), () => undefined),
  exceptions: {
    "streams a large object in and out without holding it": "it is memory",
  },
});

function open(faults = {}) {
  const told: Omit<Operation, "seconds">[] = [];
  const inner = faulty(memoryStore(), { random: () => 0, ...faults });
  const store = measured(inner, ({ seconds, ...rest }) => {
    assert.ok(seconds >= 0 && seconds < 60, String(seconds));
    told.push(rest);
  });
  return { store, told };
}

suite("a measured store tells", () => {
  test("each operation with its bytes, once", async () => {
    const { store, told } = open();

    await store.put("a", Uint8Array.of(1, 2, 3));
    await store.put("b", {
      size: 2,
      open: async function* () {
        yield Uint8Array.of(1, 2);
      },
    });
    await store.replace("_state.json", Uint8Array.of(1, 2, 3, 4));
    await Array.fromAsync(await store.get("a", { offset: 1 }));
    await Array.fromAsync(store.list(""));
    await store.remove(["a"]);

    assert.deepEqual(told, [
      { operation: "put", name: "a", bytes: 3 },
      { operation: "put", name: "b", bytes: 2 },
      { operation: "replace", name: "_state.json", bytes: 4 },
      { operation: "get", name: "a", bytes: 2 },
      { operation: "list", name: "", bytes: 0, items: 3 },
      { operation: "remove", name: "", bytes: 0 },
    ]);
  });

  test("the code of what failed, before the first byte and behind it", async () => {
    const { store, told } = open();
    await store.put("a", Uint8Array.of(1, 2, 3));

    await assert.rejects(store.get("b"), { code: "not-found" });
    await assert.rejects(store.put("a", Uint8Array.of(2)), { code: "conflict" });
    const { store: breaking, told: broken } = open({ resetShare: 1 });
    await breaking.put("a", Uint8Array.of(1, 2, 3));
    await assert.rejects(Array.fromAsync(await breaking.get("a")), { code: "unavailable" });

    assert.deepEqual(
      [...told.slice(1), ...broken.slice(1)].map(({ operation, code }) => `${operation} ${code}`),
      ["get not-found", "put conflict", "get unavailable"],
    );
  });

  test("a read and a listing that were left early as done, and what its caller ended as aborted", async () => {
    const { store, told } = open();
    await store.put("a", Uint8Array.of(1));
    await store.put("b", Uint8Array.of(1));

    for await (const _ of store.list("")) break;
    for await (const _ of await store.get("a")) break;
    await assert.rejects(store.put("c", Uint8Array.of(1), { signal: AbortSignal.abort() }));

    assert.deepEqual(told.slice(2), [
      { operation: "list", name: "", bytes: 0, items: 1 },
      { operation: "get", name: "a", bytes: 1 },
      { operation: "put", name: "c", bytes: 0, code: "aborted" },
    ]);
  });
});
