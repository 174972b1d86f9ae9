// The contract of Store as tests, for our drivers and for those written elsewhere: `conformance("file", { open })` in a
// file that `node --test` runs. A driver that must differ names the test and the reason; an exception that no longer
// fails is itself a failure.

import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { compareNames, type Store } from "./store.ts";

/** What a driver's test says about its driver. */
export interface ConformanceOptions {
  /** A store over an empty place of its own; the suite closes it. */
  readonly open: () => Store | Promise<Store>;
  /** Test name → why this driver differs. The named test must fail. */
  readonly exceptions?: Readonly<Record<string, string>>;
  /** Bytes of the large object. Default 200 MB; a slow server may be given less. */
  readonly largeBytes?: number;
  /** Objects of the long listing. Default 10,000. */
  readonly manyObjects?: number;
}

interface Trial {
  readonly store: Store;
  readonly largeBytes: number;
  readonly manyObjects: number;
}

const mebibyte = 1024 * 1024;

const text = (words: string): Uint8Array => new TextEncoder().encode(words);

async function readAll(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(stream));
}

async function namesIn(store: Store, prefix: string): Promise<string[]> {
  return (await Array.fromAsync(store.list(prefix))).map((object) => object.name);
}

/** `size` bytes that depend on `seed`, never the whole of them in memory. */
function largeBody(size: number, seed: number): { readonly size: number; open(): AsyncIterable<Uint8Array> } {
  return {
    size,
    async *open() {
      for (let at = 0; at < size; at += mebibyte) {
        const chunk = Buffer.alloc(Math.min(mebibyte, size - at), (at / mebibyte + seed) & 0xff);
        chunk.writeUInt32LE(at / mebibyte);
        yield chunk;
      }
    },
  };
}

async function digestOf(chunks: AsyncIterable<Uint8Array>): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of chunks) hash.update(chunk);
  return hash.digest("hex");
}

/** Memory that would stay after a collection: heap, buffers and all. */
function collectedBytes(): number {
  setFlagsFromString("--expose-gc");
  (runInNewContext("gc") as () => void)();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

const putTests: Readonly<Record<string, (trial: Trial) => Promise<void>>> = {
  "gives back the bytes that were put": async ({ store }) => {
    const bytes = randomBytes(300_000);

    assert.equal(await store.put("a/b", bytes), "stored");

    assert.deepEqual(await readAll(await store.get("a/b")), bytes);
  },
  "takes an object of no bytes": async ({ store }) => {
    await store.put("empty", new Uint8Array());

    assert.equal((await readAll(await store.get("empty"))).length, 0);
    assert.deepEqual(await Array.fromAsync(store.list("")), [{ name: "empty", size: 0 }]);
  },
  "calls the same bytes under the same name present": async ({ store }) => {
    await store.put("a", text("same"));

    assert.equal(await store.put("a", text("same")), "present");
    assert.equal(await store.put("a", { size: 4, open: () => streamOf(["sa", "me"]) }), "present");
  },
  "refuses other bytes under the same name and keeps the first": async ({ store }) => {
    await store.put("a", text("first"));

    await assert.rejects(store.put("a", text("other")), { code: "conflict" });
    await assert.rejects(store.put("a", text("longer than the first")), { code: "conflict" });
    await assert.rejects(store.put("a", { size: 5, open: () => streamOf(["oth", "er"]) }), {
      code: "conflict",
    });

    assert.equal((await readAll(await store.get("a"))).toString(), "first");
  },
  "is not changed by what a caller does with its bytes afterwards": async ({ store }) => {
    const bytes = text("mine");
    await store.put("a", bytes);
    bytes.fill(0);
    const read = await readAll(await store.get("a"));
    read.fill(0);

    assert.equal((await readAll(await store.get("a"))).toString(), "mine");
  },
  "lets exactly one of twelve writers of one name win": async ({ store }) => {
    const bodies = Array.from({ length: 12 }, (_, index) => text(`writer ${String(index).padStart(6)}`));

    const outcomes = await Promise.allSettled(bodies.map((body) => store.put("a/race", body)));

    const won = outcomes.flatMap((outcome, index) =>
      outcome.status === "fulfilled" ? [[outcome.value, index]] : [],
    );
    assert.equal(won.length, 1);
    assert.equal(won[0]?.[0], "stored");
    for (const outcome of outcomes)
      if (outcome.status === "rejected") assert.equal(outcome.reason.code, "conflict");
    assert.deepEqual(
      await readAll(await store.get("a/race")),
      Buffer.from(bodies[Number(won[0]?.[1])] ?? []),
    );
    assert.deepEqual(await namesIn(store, ""), ["a/race"]);
  },
  "tells all twelve writers of one name with the same bytes that it is there, one that it stored it": async ({
    store,
  }) => {
    const outcomes = await Promise.all(Array.from({ length: 12 }, () => store.put("a/same", text("same"))));

    assert.equal(outcomes.filter((outcome) => outcome === "stored").length, 1);
  },
  "stores nothing of a body that breaks, is short, long, or has another digest": async ({ store }) => {
    const broken = {
      size: 8,
      async *open() {
        yield text("half");
        throw new RangeError("the disk it came from");
      },
    };

    await assert.rejects(store.put("x", broken), RangeError);
    await assert.rejects(store.put("x", { size: 9, open: () => streamOf(["short"]) }), { code: "corrupt" });
    await assert.rejects(store.put("x", { size: 3, open: () => streamOf(["lo", "ng"]) }), {
      code: "corrupt",
    });
    await assert.rejects(
      store.put("x", { size: 5, sha256: "0".repeat(64), open: () => streamOf(["bytes"]) }),
      { code: "corrupt" },
    );

    assert.deepEqual(await namesIn(store, ""), []);
    await assert.rejects(store.get("x"), { code: "not-found" });
    assert.equal(await store.put("x", text("whole")), "stored");
  },
  "takes a body whose digest is right": async ({ store }) => {
    const sha256 = createHash("sha256").update("bytes").digest("hex");

    await store.put("x", { size: 5, sha256, open: () => streamOf(["by", "", "tes"]) });

    assert.equal((await readAll(await store.get("x"))).toString(), "bytes");
  },
  "refuses names that are no plain relative paths": async ({ store }) => {
    for (const name of [
      "",
      "/a",
      "a/",
      "a//b",
      "../a",
      "a/../b",
      "a/./b",
      ".",
      "a\\b",
      "a\0b",
      "a".repeat(1025),
    ]) {
      await assert.rejects(store.put(name, text("x")), { code: "bad-name" }, JSON.stringify(name));
      await assert.rejects(store.get(name), { code: "bad-name" }, JSON.stringify(name));
      await assert.rejects(store.remove([name]), { code: "bad-name" }, JSON.stringify(name));
    }
    assert.deepEqual(await namesIn(store, ""), []);
  },
  "keeps names with unicode, spaces, and all the length that names may have": async ({ store }) => {
    const long = `${"d".repeat(200)}/${"e".repeat(200)}/${"f".repeat(200)}/${"g".repeat(200)}/${"h".repeat(220)}`;
    const names = [
      "zürich/ß",
      "日本/データ",
      "a b/c d",
      "100%/#?&=+",
      "😀/\u{fffd}",
      "\u{fffd}",
      "…",
      ".hidden",
      long,
    ];

    for (const name of names) await store.put(name, text(name));

    assert.deepEqual(await namesIn(store, ""), names.toSorted(compareNames));
    for (const name of names) assert.equal((await readAll(await store.get(name))).toString(), name);
  },
};

async function* streamOf(parts: readonly string[]): AsyncGenerator<Uint8Array> {
  for (const part of parts) yield text(part);
}

const getTests: Readonly<Record<string, (trial: Trial) => Promise<void>>> = {
  "says not-found before the first byte": async ({ store }) => {
    await store.put("a/b", text("x"));

    await assert.rejects(store.get("a/c"), { code: "not-found" });
    await assert.rejects(store.get("a"), { code: "not-found" });
    await assert.rejects(store.get("a/b/c"), { code: "not-found" });
    await assert.rejects(store.get("a/c", { offset: 5, length: 5 }), { code: "not-found" });
  },
  "reads fifty random ranges as they are": async ({ store }) => {
    const bytes = randomBytes(700_001);
    await store.put("a", bytes);

    for (let round = 0; round < 50; round++) {
      const offset = Math.floor(Math.random() * bytes.length);
      const length = Math.floor(Math.random() * (bytes.length - offset + 1));
      const read = await readAll(await store.get("a", { offset, length }));
      assert.equal(Buffer.compare(read, bytes.subarray(offset, offset + length)), 0, `${offset} + ${length}`);
    }
    assert.deepEqual(await readAll(await store.get("a", { offset: 699_999 })), bytes.subarray(699_999));
    assert.equal((await readAll(await store.get("a", { offset: bytes.length }))).length, 0);
  },
  "calls a range past the end corrupt, never a short answer": async ({ store }) => {
    await store.put("a", text("ten bytes."));

    await assert.rejects(store.get("a", { offset: 11 }), { code: "corrupt" });
    await assert.rejects(store.get("a", { offset: 5, length: 6 }), { code: "corrupt" });
    await assert.rejects(store.get("a", { length: 11 }), { code: "corrupt" });
    await assert.rejects(store.get("a", { offset: 2 ** 40, length: 1 }), { code: "corrupt" });
  },
  "lets a reader stop early, many times, and goes on working": async ({ store }) => {
    const body = largeBody(2 * mebibyte, 1);
    await store.put("a", body);

    for (let round = 0; round < 40; round++) {
      for await (const chunk of await store.get("a")) {
        assert.ok(chunk.length > 0);
        break;
      }
      await (await store.get("a")).cancel();
    }

    assert.equal(await digestOf(await store.get("a")), await digestOf(body.open()));
  },
  "passes a reader's own error through unchanged": async ({ store }) => {
    await store.put("a", largeBody(2 * mebibyte, 2));
    const mine = new Error("mine");

    const read = async () => {
      for await (const _ of await store.get("a")) throw mine;
    };

    await assert.rejects(read(), (error) => error === mine);
  },
  "serves eight readers of one object at a time": async ({ store }) => {
    const body = largeBody(3 * mebibyte, 3);
    await store.put("a", body);
    const expected = await digestOf(body.open());

    const digests = await Promise.all(Array.from({ length: 8 }, async () => digestOf(await store.get("a"))));

    assert.deepEqual(digests, Array(8).fill(expected));
  },
};

const listTests: Readonly<Record<string, (trial: Trial) => Promise<void>>> = {
  "lists nothing of nothing": async ({ store }) => {
    assert.deepEqual(await namesIn(store, ""), []);
    assert.deepEqual(await namesIn(store, "none/"), []);
  },
  "lists ascending by the bytes of the name, with sizes": async ({ store }) => {
    // A directory's objects stand where a slash sorts: after "a-b" and "a.b", before "a0".
    const names = ["a-b", "a.b", "a/b", "a/b.c", "a/c/d", "a0", "B", "ä", "\u{ffee}", "😀"];
    for (const name of names.toReversed()) await store.put(name, text(name));

    const listed = await Array.fromAsync(store.list(""));

    assert.deepEqual(
      listed,
      names.toSorted(compareNames).map((name) => ({ name, size: text(name).length })),
    );
  },
  "lists by any prefix, also one that ends within a part": async ({ store }) => {
    for (const name of ["a/1", "a/10", "a/2", "ab/1", "b/1"]) await store.put(name, text("x"));

    assert.deepEqual(await namesIn(store, "a/1"), ["a/1", "a/10"]);
    assert.deepEqual(await namesIn(store, "a/"), ["a/1", "a/10", "a/2"]);
    assert.deepEqual(await namesIn(store, "a"), ["a/1", "a/10", "a/2", "ab/1"]);
    assert.deepEqual(await namesIn(store, "c"), []);
    assert.deepEqual(await namesIn(store, "a/1/"), []);
    assert.deepEqual(await namesIn(store, "a/10"), ["a/10"]);
    assert.deepEqual(await namesIn(store, "a/11"), []);
    assert.deepEqual(await namesIn(store, "../"), []);
  },
  "lists ten thousand objects, each once and in order": async ({ store, manyObjects }) => {
    const names = Array.from(
      { length: manyObjects },
      (_, index) => `many/${(index % 7).toString()}/${index.toString().padStart(6, "0")}`,
    );
    for (let at = 0; at < names.length; at += 200) {
      await Promise.all(names.slice(at, at + 200).map((name) => store.put(name, text(name))));
    }

    assert.deepEqual(await namesIn(store, "many/"), names.toSorted());
  },
  "can be left half way, and listed again": async ({ store }) => {
    for (let index = 0; index < 150; index++) await store.put(`a/${index}`, text("x"));

    const seen: string[] = [];
    for await (const object of store.list("")) {
      seen.push(object.name);
      if (seen.length === 70) break;
    }

    assert.equal(seen.length, 70);
    assert.deepEqual((await namesIn(store, "")).slice(0, 70), seen);
  },
  "ends a listing that is cancelled half way with the signal's reason": async ({ store }) => {
    for (let index = 0; index < 150; index++) await store.put(`a/${index}`, text("x"));
    const abort = new AbortController();
    const reason = new Error("enough");
    let seen = 0;

    const listing = async () => {
      for await (const _ of store.list("", { signal: abort.signal })) {
        seen += 1;
        if (seen === 70) abort.abort(reason);
      }
    };

    await assert.rejects(listing(), (error) => error === reason);
    assert.equal(seen, 70);
  },
  "passes the error of who reads a listing through unchanged": async ({ store }) => {
    await store.put("a", text("x"));
    const mine = new Error("mine");

    const read = async () => {
      for await (const _ of store.list("")) throw mine;
    };

    await assert.rejects(read(), (error) => error === mine);
  },
  "shows what was put before the call while others put": async ({ store }) => {
    const before = Array.from({ length: 60 }, (_, index) => `a/${index.toString().padStart(3, "0")}`);
    for (const name of before) await store.put(name, text("x"));

    const meanwhile = Array.from({ length: 60 }, (_, index) => store.put(`a/0${index}-new`, text("y")));
    const listed = await namesIn(store, "a/");
    await Promise.all(meanwhile);

    assert.deepEqual(
      before.filter((name) => !listed.includes(name)),
      [],
    );
  },
};

const otherTests: Readonly<Record<string, (trial: Trial) => Promise<void>>> = {
  "removes, also what is not there": async ({ store }) => {
    for (const name of ["a/1", "a/2", "b"]) await store.put(name, text("x"));

    await store.remove(["a/1", "a/none", "none/at/all", "b"]);
    await store.remove(["a/1"]);

    assert.deepEqual(await namesIn(store, ""), ["a/2"]);
    await assert.rejects(store.get("a/1"), { code: "not-found" });
    assert.equal(await store.put("a/1", text("anew")), "stored");
  },
  "replaces mutable names and no others": async ({ store }) => {
    for (const name of [
      "_state.json",
      "db/needs.json",
      "db/leases/1.json",
      "marks/x",
      "state/source~app.json",
    ]) {
      await store.replace(name, text("old"));
      await store.replace(name, text("new words"));
      assert.equal((await readAll(await store.get(name))).toString(), "new words");
    }
    for (const name of [
      "a",
      "leases/../a",
      "state.json",
      "x_state.json",
      "leases",
      "0000000000000001/generation.json",
    ]) {
      await assert.rejects(store.replace(name, text("x")), { code: "bad-name" }, name);
    }
  },
  "never shows a half of what is replaced": async ({ store }) => {
    const bodies = [Buffer.alloc(100_000, 1), Buffer.alloc(50_000, 2)] as const;
    await store.replace("needs.json", bodies[0]);

    const writes = (async () => {
      for (let round = 0; round < 20; round++)
        await store.replace("needs.json", bodies[round % 2 === 0 ? 1 : 0]);
    })();
    for (let round = 0; round < 20; round++) {
      const read = await readAll(await store.get("needs.json"));
      assert.ok(read.equals(bodies[0]) || read.equals(bodies[1]), `${read.length} bytes`);
    }

    await writes;
  },
  "ends every call whose signal is aborted before it with the signal's reason": async ({ store }) => {
    await store.put("a", text("x"));
    const reason = new Error("no more");
    const signal = AbortSignal.abort(reason);
    const isReason = (error: unknown) => error === reason;

    await assert.rejects(store.put("b", text("x"), { signal }), isReason);
    await assert.rejects(store.get("a", { signal }), isReason);
    await assert.rejects(Array.fromAsync(store.list("", { signal })), isReason);
    await assert.rejects(store.remove(["a"], { signal }), isReason);
    await assert.rejects(store.replace("needs.json", text("x"), { signal }), isReason);

    assert.deepEqual(await namesIn(store, ""), ["a"]);
  },
  "ends a put and a get that are aborted half way with the signal's reason": async ({ store }) => {
    const reason = new Error("no more");
    const isReason = (error: unknown) => error === reason;
    const putting = new AbortController();
    const body = largeBody(4 * mebibyte, 4);
    const slow = {
      size: body.size,
      async *open() {
        for await (const chunk of body.open()) {
          yield chunk;
          await sleep(1);
          putting.abort(reason);
        }
      },
    };
    await store.put("a", body);
    const getting = new AbortController();
    const read = async () => {
      for await (const _ of await store.get("a", { signal: getting.signal })) getting.abort(reason);
    };

    await assert.rejects(store.put("b", slow, { signal: putting.signal }), isReason);
    await assert.rejects(read(), isReason);

    assert.deepEqual(await namesIn(store, ""), ["a"]);
  },
  "streams a large object in and out without holding it": async ({ store, largeBytes }) => {
    const body = largeBody(largeBytes, 5);
    const before = collectedBytes();
    let most = 0;
    const timer = setInterval(() => {
      most = Math.max(most, collectedBytes() - before);
    }, 50);
    const watched = {
      size: body.size,
      async *open() {
        let count = 0;
        for await (const chunk of body.open()) {
          yield chunk;
          if (++count % 32 === 0) await sleep(0);
        }
      },
    };

    try {
      assert.equal(await store.put("large", watched), "stored");
      most = Math.max(most, collectedBytes() - before);
      assert.equal(await digestOf(await store.get("large")), await digestOf(body.open()));
      most = Math.max(most, collectedBytes() - before);
    } finally {
      clearInterval(timer);
    }

    assert.ok(most < 64 * mebibyte, `held ${Math.round(most / mebibyte)} MiB`);
  },
  "is closed twice like once": async ({ store }) => {
    await store.close();
    await store.close();
    await store[Symbol.asyncDispose]();
  },
  "has a name for logs": async ({ store }) => {
    assert.match(store.name, /^\S+$/);
  },
};

/** Runs the contract against a driver. Call it at the top of a test file. */
export function conformance(name: string, options: ConformanceOptions): void {
  const tests = { ...putTests, ...getTests, ...listTests, ...otherTests };
  const exceptions = options.exceptions ?? {};
  suite(`the ${name} store`, () => {
    for (const [sentence, run] of Object.entries(tests)) {
      const reason = exceptions[sentence];
      test(reason === undefined ? sentence : `does not (${reason}): ${sentence}`, async () => {
        await using store = await options.open();
        const trial = {
          store,
          largeBytes: options.largeBytes ?? 200 * mebibyte,
          manyObjects: options.manyObjects ?? 10_000,
        };
        if (reason === undefined) await run(trial);
        else await assert.rejects(run(trial), `"${sentence}" holds: remove the exception`);
      });
    }
    test("names only tests that exist in its exceptions", () => {
      assert.deepEqual(
        Object.keys(exceptions).filter((sentence) => !(sentence in tests)),
        [],
      );
    });
  });
}
