import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { isPageferryError, PageferryError } from "@pageferry/format";
import fc from "fast-check";
import { conformance } from "../conformance.ts";
import { isMutableName, type Store } from "../store.ts";
import { type FaultyOptions, faulty, seeded } from "./faulty.ts";
import { memoryStore } from "./memory.ts";
import { retrying } from "./retrying.ts";

const text = (words: string): Uint8Array => new TextEncoder().encode(words);

const bytesOf = async (stream: AsyncIterable<Uint8Array>): Promise<Buffer> =>
  Buffer.concat(await Array.fromAsync(stream));

/** Tries for as long as a test may take, with pauses that are none. */
const tireless = { attempts: 60, firstPauseMs: 0.1, longestPauseMs: 1 };

const badDay = {
  unavailableShare: 0.1,
  slowShare: 0.05,
  lostAnswerShare: 0.1,
  resetShare: 0.1,
  truncatedShare: 0.1,
};

const inMemory = "it is memory";

conformance("retrying (memory)", {
  open: () => retrying(memoryStore()),
  exceptions: { "streams a large object in and out without holding it": inMemory },
  largeBytes: 70 * 1024 * 1024,
});

// A listing that lags is not among these faults: no caller can tell what it was not shown.
conformance("retrying (faulty (memory))", {
  open: () => retrying(faulty(memoryStore(), { random: seeded(7), ...badDay }), tireless),
  exceptions: {
    "streams a large object in and out without holding it": inMemory,
    "tells all twelve writers of one name with the same bytes that it is there, one that it stored it":
      "whose answer was lost cannot tell its own bytes from another's",
  },
  largeBytes: 70 * 1024 * 1024,
  manyObjects: 3000,
});

/** A store whose calls are counted, with one verb replaced. */
function counted(verbs: Partial<Store>): Store & { readonly calls: string[] } {
  const calls: string[] = [];
  const store = { ...memoryStore(), ...verbs };
  const note = <Arguments extends readonly unknown[], Result>(
    verb: string,
    call: (...given: Arguments) => Result,
  ) => {
    return (...given: Arguments): Result => {
      calls.push(verb);
      return call(...given);
    };
  };
  return {
    ...store,
    calls,
    put: note("put", store.put),
    get: note("get", store.get),
    list: note("list", store.list),
  };
}

suite("a store that tries again", () => {
  for (const code of ["conflict", "unauthorized", "corrupt", "disk-full", "not-found", "bad-name"] as const) {
    test(`does not repeat what ended as ${code}`, async () => {
      const store = counted({ put: () => Promise.reject(new PageferryError(code, "x")) });

      await assert.rejects(retrying(store, tireless).put("a", text("x")), { code });

      assert.deepEqual(store.calls, ["put"]);
    });
  }

  test("does not repeat what nobody foresaw, nor what its caller's body threw", async () => {
    const store = counted({ get: () => Promise.reject(new TypeError("a mistake")) });

    await assert.rejects(retrying(store, tireless).get("a"), TypeError);

    assert.deepEqual(store.calls, ["get"]);
  });

  test("gives up after its attempts, with the last error", async () => {
    const store = counted({ put: () => Promise.reject(new PageferryError("unavailable", "x")) });

    await assert.rejects(retrying(store, { ...tireless, attempts: 3 }).put("a", text("x")), {
      code: "unavailable",
    });

    assert.deepEqual(store.calls, ["put", "put", "put"]);
  });

  test("begins no further attempt when its time is over", async () => {
    const store = counted({
      put: async () => {
        await sleep(30);
        throw new PageferryError("unavailable", "x");
      },
    });

    await assert.rejects(retrying(store, { ...tireless, retryForMs: 20 }).put("a", text("x")), {
      code: "unavailable",
    });

    assert.deepEqual(store.calls, ["put"]);
  });

  test("says stored of bytes whose first answer was lost, and present of those that were there before", async () => {
    const memory = memoryStore();
    const faults = { random: seeded(1), lostAnswerShare: 1 };
    const store = retrying(faulty(memory, faults), tireless);

    const storing = store.put("a", text("x"));
    await sleep(5);
    faults.lostAnswerShare = 0;

    assert.equal(await storing, "stored");
    assert.equal(await store.put("a", text("x")), "present");
  });

  test("goes on with a read at the byte where it broke off, by a range", async () => {
    const memory = memoryStore();
    const bytes = Buffer.from(Array.from({ length: 200_000 }, (_, at) => at % 251));
    await memory.put("a", bytes);
    const asked: (number | undefined)[] = [];
    const broken = faulty(memory, { random: seeded(3), resetShare: 0.7 });
    const store = retrying(
      {
        ...broken,
        get(name, range) {
          asked.push(range?.offset);
          return broken.get(name, range);
        },
      } as Store,
      tireless,
    );

    assert.ok((await bytesOf(await store.get("a"))).equals(bytes));
    assert.ok(
      (await bytesOf(await store.get("a", { offset: 1000, length: 150_000 }))).equals(
        bytes.subarray(1000, 151_000),
      ),
    );

    assert.equal(asked[0], undefined);
    assert.ok(asked.slice(1).some((offset) => offset !== undefined && offset > 1000));
  });

  test("does not put a replaced object together of its old and its new bytes", async () => {
    const memory = memoryStore();
    await memory.replace("needs.json", Buffer.alloc(100_000, 1));
    let opened = 0;
    const store = retrying(
      {
        ...memory,
        async get(name: string, range?: object) {
          const stream = await memory.get(name, range);
          if (opened++ > 0) return stream;
          return ReadableStream.from(
            (async function* () {
              for await (const chunk of stream) {
                yield chunk;
                await memory.replace("needs.json", Buffer.alloc(100_000, 2));
                throw new PageferryError("unavailable", "reset");
              }
            })(),
          );
        },
      } as Store,
      tireless,
    );

    assert.ok((await bytesOf(await store.get("needs.json"))).equals(Buffer.alloc(100_000, 2)));
  });

  test("gives up a driver that hangs and ignores its signal, in every verb", async () => {
    const never = () => new Promise<never>(() => undefined);
    const hung: Store = {
      ...memoryStore(),
      put: never,
      get: never,
      remove: never,
      replace: never,
      list: () => ({ [Symbol.asyncIterator]: () => ({ next: never }) }),
    };
    const store = retrying(hung, { idleMs: 10, attempts: 2, firstPauseMs: 1 });
    const isUnavailable = { code: "unavailable" };

    await assert.rejects(store.put("a", text("x")), isUnavailable);
    await assert.rejects(store.get("a"), isUnavailable);
    await assert.rejects(Array.fromAsync(store.list("")), isUnavailable);
    await assert.rejects(store.remove(["a"]), isUnavailable);
    await assert.rejects(store.replace("needs.json", text("x")), isUnavailable);
  });

  test("goes on after a read that stands still in the middle", async () => {
    const memory = memoryStore();
    const bytes = Buffer.alloc(150_000, 7);
    await memory.put("a", bytes);
    let opened = 0;
    const store = retrying(
      {
        ...memory,
        async get(name: string, range?: object) {
          const stream = await memory.get(name, range);
          if (opened++ > 0) return stream;
          const reader = stream.getReader();
          let chunks = 0;
          return new ReadableStream<Uint8Array>(
            {
              async pull(controller) {
                if (chunks++ === 1) return new Promise(() => undefined);
                const { value } = await reader.read();
                if (value !== undefined) controller.enqueue(value);
              },
            },
            { highWaterMark: 0 },
          );
        },
      } as Store,
      { ...tireless, idleMs: 20 },
    );

    assert.ok((await bytesOf(await store.get("a"))).equals(bytes));
    assert.equal(opened, 2);
  });

  test("does not take a slow body for a standing one", async () => {
    const store = retrying(memoryStore(), { ...tireless, idleMs: 60 });
    const slow = {
      size: 6,
      async *open() {
        for (let at = 0; at < 6; at++) {
          await sleep(25);
          yield text("x");
        }
      },
    };

    assert.equal(await store.put("a", slow), "stored");
  });

  test("ends at once when it is told to, also between two attempts", async () => {
    const store = retrying(
      { ...memoryStore(), put: () => Promise.reject(new PageferryError("unavailable", "x")) } as Store,
      { attempts: 10, firstPauseMs: 5000, longestPauseMs: 5000 },
    );
    const stop = new AbortController();
    const reason = new Error("enough");
    const startedMs = performance.now();
    setTimeout(() => stop.abort(reason), 20);

    await assert.rejects(store.put("a", text("x"), { signal: stop.signal }), (error) => error === reason);

    assert.ok(performance.now() - startedMs < 2000);
  });

  test("keeps what else its driver can do", async () => {
    const store = retrying({ ...memoryStore(), presign: async () => "https://signed" });

    assert.equal(await store.presign(), "https://signed");
  });
});

type Operation =
  | { readonly verb: "put" | "replace"; readonly name: string; readonly size: number; readonly fill: number }
  | {
      readonly verb: "get";
      readonly name: string;
      readonly offset: number;
      readonly length: number | undefined;
    }
  | { readonly verb: "remove" | "list"; readonly name: string };

const names = fc.constantFrom("a/1", "a/2", "a/3", "b/1", "leases/1.json");
const operations: fc.Arbitrary<Operation[]> = fc.array(
  fc.oneof(
    fc.record({
      verb: fc.constantFrom("put" as const, "replace" as const),
      name: names,
      size: fc.constantFrom(0, 1, 300, 70_000),
      fill: fc.integer({ min: 1, max: 2 }),
    }),
    fc.record({
      verb: fc.constant("get" as const),
      name: names,
      offset: fc.constantFrom(0, 1, 200, 69_000),
      length: fc.constantFrom(undefined, 0, 1, 100, 1000),
    }),
    fc.record({ verb: fc.constantFrom("remove" as const, "list" as const), name: names }),
  ),
  { maxLength: 40 },
);

/** What a call came to, in a word that a model's answer can be compared with. */
async function outcomeOf(store: Store, operation: Operation): Promise<string> {
  try {
    switch (operation.verb) {
      case "put":
        await store.put(operation.name, Buffer.alloc(operation.size, operation.fill));
        return "there";
      case "replace":
        await store.replace(operation.name, Buffer.alloc(operation.size, operation.fill));
        return "there";
      case "get": {
        const { offset, length } = operation;
        const bytes = await bytesOf(await store.get(operation.name, { offset, length }));
        return `${bytes.length} x ${bytes[0]} ${bytes.at(-1)}`;
      }
      case "remove":
        await store.remove([operation.name]);
        return "gone";
      case "list":
        return JSON.stringify(await Array.fromAsync(store.list(operation.name.slice(0, 2))));
    }
  } catch (error) {
    return isPageferryError(error) ? error.code : String(error);
  }
}

test("random calls through faults come to what they come to without, and end in the same objects", async () => {
  const property = fc.asyncProperty(operations, fc.integer(), async (all, seed) => {
    const truth = memoryStore();
    const inside = memoryStore();
    const faults: FaultyOptions = { random: seeded(seed), ...badDay };
    const store = retrying(faulty(inside, faults), tireless);

    for (const operation of all) {
      // What may be replaced is never written once: no archive mixes the two.
      if (operation.verb === "put" && isMutableName(operation.name)) continue;
      assert.equal(
        await outcomeOf(store, operation),
        await outcomeOf(truth, operation),
        JSON.stringify(operation),
      );
    }

    const objects = async (one: Store) =>
      Promise.all(
        (await Array.fromAsync(one.list(""))).map(async ({ name }) => [
          name,
          await bytesOf(await one.get(name)),
        ]),
      );
    assert.deepEqual(await objects(inside), await objects(truth));
  });
  await fc.assert(property, { numRuns: 60 });
});
