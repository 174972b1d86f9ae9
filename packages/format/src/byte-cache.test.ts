import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { createByteCache } from "./byte-cache.ts";
import { PageferryError } from "./errors.ts";

suite("a byte cache", () => {
  /** Loads ten bytes under a key, and tells which keys were loaded. */
  function loader() {
    const loaded: string[] = [];
    const load =
      (key: string, bytes = 10) =>
      async () => {
        loaded.push(key);
        return { value: key, bytes };
      };
    return { loaded, load };
  }

  test("lets go of what nobody asked for longest, and holds no more than its bound", async () => {
    const cache = createByteCache(25);
    const { loaded, load } = loader();

    for (const key of ["a", "b", "a", "c", "a", "b"]) await cache.get(key, load(key));

    assert.deepEqual(loaded, ["a", "b", "c", "b"]);
    assert.equal(cache.size(), 20);
  });

  test("holds what is larger than its bound alone, until the next comes", async () => {
    const cache = createByteCache(25);
    const { loaded, load } = loader();

    for (const key of ["a", "large", "large"]) await cache.get(key, load(key, key === "large" ? 100 : 10));
    assert.equal(cache.size(), 100);
    await cache.get("b", load("b"));

    assert.deepEqual(loaded, ["a", "large", "b"]);
    assert.equal(cache.size(), 10);
  });

  test("loads once what several ask for at once", async () => {
    const cache = createByteCache(25);
    const { loaded, load } = loader();

    await Promise.all([cache.get("a", load("a")), cache.get("a", load("a"))]);

    assert.deepEqual(loaded, ["a"]);
  });

  test("tells all of them what is wrong, and holds nothing of it", async () => {
    const cache = createByteCache(25);
    const fail = () => Promise.reject(new PageferryError("corrupt", "broken"));

    const both = await Promise.allSettled([cache.get("a", fail), cache.get("a", fail)]);

    assert.deepEqual(
      both.map(({ status }) => status),
      ["rejected", "rejected"],
    );
    assert.equal(await cache.get("a", async () => ({ value: "whole", bytes: 1 })), "whole");
  });

  test("loads for the next one where the first gives up", async () => {
    const cache = createByteCache(25);
    const { loaded, load } = loader();
    const left = cache.get("a", () => Promise.reject(new Error("left")));
    const next = cache.get("a", load("a"));

    await assert.rejects(left, { message: "left" });
    assert.equal(await next, "a");
    assert.deepEqual(loaded, ["a"]);
  });
});
