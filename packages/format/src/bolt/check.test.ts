import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { etcdImage, image, imageSource, replicas, snapshots } from "../../testing/golden.ts";
import { check, sample } from "../../testing/sample.ts";
import { PageferryError } from "../errors.ts";
import { formatStateHash, parseStateHash } from "../state-hash.ts";
import { checkDatabase, problemsMax } from "./check.ts";
import { metaSlot } from "./meta.ts";

/** Sums of XXH3-128 by github.com/zeebo/xxh3 over the live pages that a walk in Go found. */
const stateHashes = {
  replica: "e948d1f56c86080fe8aefbb7c4e1f790",
  "replica-nofreelist": "f4d4bef3310ab616eaece3b288408aee",
  "replica-16k-none": "18f46b25d47b32599bc46c8054dd2ecb",
  etcd: "9b2c9cc307160e22104ef3de8c0766bc",
};

suite("a sound database", () => {
  for (const replica of replicas) {
    test(`has no problems in either mode, and the state hash that another program finds: ${replica}`, () => {
      const { bytes, pageSize } = image(replica);
      const expectedStateHash = parseStateHash(stateHashes[replica]);

      const full = checkDatabase(imageSource(bytes, pageSize), { mode: "full" });
      const quick = checkDatabase(imageSource(bytes, pageSize), { mode: "quick", expectedStateHash });

      assert.deepEqual([full.problems, quick.problems], [[], []]);
      assert.equal(formatStateHash(full.stateHash ?? 0n), stateHashes[replica]);
      assert.equal(quick.stateHash, full.stateHash);
      assert.deepEqual([full.mode, quick.mode], ["full", "quick"]);
    });
  }

  test("has none at any snapshot that the Go implementation took", () => {
    for (const replica of [...replicas, "shadow"]) {
      for (const snapshot of snapshots(replica)) {
        const result = checkDatabase(imageSource(snapshot.image, snapshot.pageSize), { mode: "full" });

        assert.deepEqual(result.problems, []);
        assert.equal(result.meta?.txId, snapshot.txId);
      }
    }
  });

  test("may hold no freelist: then what is not live is free", () => {
    const result = checkDatabase(imageSource(etcdImage(), 4096), { mode: "full" });

    assert.deepEqual(result.problems, []);
    assert.deepEqual([result.meta?.txId, result.pages], [652n, 1817]);
    assert.equal(formatStateHash(result.stateHash ?? 0n), stateHashes.etcd);
  });

  test("may be longer than its high-water mark, and may have one torn meta", () => {
    const { bytes, meta, pageSize } = sample();
    const longer = new Uint8Array(bytes.length + 10 * pageSize + 77);
    longer.set(bytes);
    longer[(1 - metaSlot(meta.txId)) * pageSize + 40] = 0xff;

    assert.deepEqual(checkDatabase(imageSource(longer, pageSize), { mode: "full" }).problems, []);
  });

  test("may hold anything in its free pages", () => {
    const database = sample();
    const before = check(database);
    for (const id of database.free) {
      database.bytes.fill(id, id * database.pageSize, (id + 1) * database.pageSize);
    }

    const after = check(database);

    assert.deepEqual(after, before);
    assert.ok(database.free.length > 10);
  });

  test("tells how far its check is", () => {
    const seen: number[] = [];

    checkDatabase(imageSource(etcdImage(), 4096), {
      mode: "full",
      onProgress: ({ pages }) => seen.push(pages),
    });

    assert.deepEqual(seen, [1024]);
  });
});

suite("what a check says", () => {
  test("is bounded, and says how much there is", () => {
    const database = sample();
    database.setFree(Array.from({ length: 187 }, (_, index) => index + 2));

    const { problems, problemCount } = check(database);

    assert.equal(problems.length, problemsMax);
    assert.ok(problemCount > problemsMax);
    assert.ok(problems.every((problem) => /page \d+/.test(problem)));
  });

  test("does not call pages lost that hang below a broken one", () => {
    const database = sample();
    database.u8(71, 8, 4);

    const { problems, stateHash } = check(database);

    assert.deepEqual(problems, ["page 71: flags 0x4, expected a branch or a leaf (reached by 72)"]);
    assert.equal(stateHash, undefined);
  });

  test("names lost pages together", () => {
    const database = sample();
    database.setFree([]);

    const { problems } = check(database);

    assert.ok(problems.some((problem) => /^pages \d+ to \d+: neither live/.test(problem)));
    assert.ok(problems.length < database.free.length);
  });

  test("is the full check where no state hash is expected, whatever was asked", () => {
    const database = sample();
    database.setFree(database.free.slice(1));

    const result = checkDatabase(imageSource(database.bytes, 4096), { mode: "quick" });

    assert.equal(result.mode, "full");
    assert.equal(result.problems.length, 1);
  });

  test("is nothing when the file cannot be read: that is thrown", () => {
    const { bytes } = sample();
    const source = imageSource(bytes, 4096);
    const failing = {
      ...source,
      read(pageId: number, count: number) {
        if (pageId > 60) throw new PageferryError("unreadable", "input/output error");
        return source.read(pageId, count);
      },
    };

    assert.throws(() => checkDatabase(failing, { mode: "full" }), { code: "unreadable" });
  });
});
