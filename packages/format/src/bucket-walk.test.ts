import assert from "node:assert/strict";
import { join } from "node:path";
import { suite, test } from "node:test";
import fc from "fast-check";
import { type BoltImage, type BucketTree, boltImage } from "../testing/bolt-image.ts";
import { imageSource, replicas, truths } from "../testing/golden.ts";
import { listedHash } from "../testing/listing.ts";
import { type Sample, sample } from "../testing/sample.ts";
import { openArchive } from "./archive-open.ts";
import { planFromArchive } from "./archive-reader.ts";
import { logicalHash } from "./bolt/logical-hash.ts";
import { getValue, listBucket } from "./bucket-walk.ts";
import { isPageferryError, PageferryError } from "./errors.ts";
import { seeded } from "./fixtures.ts";
import { parseGeneration } from "./names.ts";
import { directoryReader } from "./node/file-reader.ts";
import { openPointPages, type PointPages } from "./point-pages.ts";
import { parseTxId } from "./txid.ts";

const golden = join(import.meta.dirname, "../../../test/golden");

/** Every so manieth point of the long history: one takes a tenth of a second. */
const every: Readonly<Record<string, number>> = {
  replica: 25,
  "replica-nofreelist": 8,
  "replica-16k-none": 1,
};

suite("a listing of everything, part by part", () => {
  for (const replica of replicas) {
    test(`is what the live database held, at the points that the Go implementation wrote: ${replica}`, async () => {
      const archive = await openArchive([directoryReader(join(golden, replica, "data"))]);
      const truth = truths(replica);
      const wanted = truth.filter((_, at) => (truth.length - 1 - at) % (every[replica] ?? 1) === 0);
      for (const [at, { generation, txId, logicalSha256 }] of wanted.entries()) {
        const target = { generation: parseGeneration(generation), txId: parseTxId(txId) };
        const pages = await openPointPages(await planFromArchive(archive, target), archive.readers);

        assert.equal(await listedHash(pages, 1 + (at % 7)), logicalSha256, `${generation} ${txId}`);
      }
      assert.ok(wanted.length >= 5, `${wanted.length} points`);
    });
  }
});

/** An image in memory as the pages of a point, which counts what is asked for. */
function pagesOf(
  image: Pick<BoltImage, "bytes" | "pageSize" | "meta">,
): PointPages & { readonly asked: number[] } {
  const { bytes, pageSize, meta } = image;
  const asked: number[] = [];
  return {
    ...{ pageSize, highWaterMark: meta.highWaterMark, root: meta.root, asked },
    heldBytes: () => 0,
    fetched: () => ({ reads: asked.length, bytes: asked.length * pageSize }),
    async page(id, { signal } = {}) {
      signal?.throwIfAborted();
      asked.push(id);
      if (id < 2 || (id + 1) * pageSize > bytes.length)
        throw new PageferryError("corrupt", `page ${id}: no such page`);
      return { bytes: bytes.subarray(id * pageSize, (id + 1) * pageSize), object: "image" };
    },
  };
}

const utf8 = (text: string): Uint8Array => Buffer.from(text);

function numbered(count: number, bytes = 20): BucketTree {
  return new Map(
    Array.from({ length: count }, (_, at) => [`k${String(at).padStart(7, "0")}`, new Uint8Array(bytes)]),
  );
}

const names = fc.string({
  unit: fc.integer({ min: 0, max: 255 }).map((at) => String.fromCharCode(at)),
  minLength: 1,
  maxLength: 12,
});
const values = fc.oneof(
  fc.uint8Array({ maxLength: 40 }),
  fc.integer({ min: 100, max: 9000 }).map((length) => new Uint8Array(length).fill(length)),
);
const leafBucket: fc.Arbitrary<BucketTree> = bucketOf(values, 60);
const inner = bucketOf(fc.oneof({ arbitrary: values, weight: 5 }, leafBucket), 8);
const outer: fc.Arbitrary<BucketTree> = bucketOf(fc.oneof(values, leafBucket, inner), 12);

function bucketOf(entry: fc.Arbitrary<Uint8Array | BucketTree>, maxLength: number): fc.Arbitrary<BucketTree> {
  return fc.array(fc.tuple(names, entry), { maxLength }).map((entries) => new Map(entries));
}

suite("a walk", () => {
  test("finds all there is, of any content, whatever its limit", async () => {
    const sizes = fc.constantFrom(512, 4096, 16_384);
    await fc.assert(
      fc.asyncProperty(outer, sizes, fc.integer({ min: 1, max: 30 }), async (tree, pageSize, limit) => {
        const image = boltImage(tree, { pageSize });
        const expected = logicalHash(imageSource(image.bytes, pageSize), image.meta);

        assert.equal(await listedHash(pagesOf(image), limit), expected);
      }),
      { numRuns: 60 },
    );
  });

  test("to one key of 200,000 touches the pages on its way", async () => {
    const pages = pagesOf(boltImage(new Map([["b", numbered(200_000)]])));

    const value = await getValue(pages, [utf8("b")], utf8("k0123456"));

    assert.ok(value !== undefined && value !== "bucket");
    assert.ok(pages.asked.length <= 4, `${pages.asked.length} pages`);
  });

  test("for a listing of 100 keys reads the leaves that hold them", async () => {
    const pages = pagesOf(boltImage(new Map([["b", numbered(200_000)]])));

    const listing = await listBucket(pages, [utf8("b")], { limit: 100, after: utf8("k0123456") });

    assert.equal(listing?.entries.length, 100);
    assert.deepEqual(listing?.entries[0]?.key, new Uint8Array(utf8("k0123457")));
    assert.ok(pages.asked.length <= 7, `${pages.asked.length} pages`);
  });

  test("of a value reads the blocks that hold what was asked for of it", async () => {
    const large = new Uint8Array(5_000_000).map((_, at) => at % 251);
    const pages = pagesOf(boltImage(new Map([["b", new Map([["large", large]])]])));
    const value = await getValue(pages, [utf8("b")], utf8("large"));
    assert.ok(value !== undefined && value !== "bucket");
    const before = pages.asked.length;

    const part = Buffer.concat(await Array.fromAsync(value.read(4_000_000, 4_010_000)));

    assert.deepEqual(new Uint8Array(part), large.subarray(4_000_000, 4_010_000));
    assert.ok(pages.asked.length - before <= 4);
  });

  test("tells what is not there from what is a bucket", async () => {
    const pages = pagesOf(boltImage(new Map([["b", new Map([["key", utf8("value")]])]])));

    assert.equal(await getValue(pages, [utf8("b")], utf8("kez")), undefined);
    assert.equal(await getValue(pages, [utf8("b"), utf8("key")], utf8("kez")), undefined);
    assert.equal(await getValue(pages, [], utf8("b")), "bucket");
    assert.equal(await listBucket(pages, [utf8("b"), utf8("key")], { limit: 1 }), undefined);
    assert.equal(await listBucket(pages, [utf8("c")], { limit: 1 }), undefined);
  });

  test("lists what begins with a prefix, and goes on after its last key", async () => {
    const pages = pagesOf(boltImage(numbered(2000)));
    const prefix = utf8("k00012");

    const first = await listBucket(pages, [], { limit: 60, prefix });
    const second = await listBucket(pages, [], { limit: 60, prefix, after: first?.next });

    assert.deepEqual([first?.entries.length, second?.entries.length, second?.next], [60, 40, undefined]);
    assert.deepEqual(second?.entries.at(-1)?.key, new Uint8Array(utf8("k0001299")));
  });

  test("ends a part where its keys are long, though not without one entry", async () => {
    const keys = ["a", "b", "c"].map((letter) => [letter.repeat(3000), new Uint8Array(1)] as const);
    const pages = pagesOf(boltImage(new Map(keys)));

    const listing = await listBucket(pages, [], { limit: 100, keyBytesMax: 10 });

    assert.equal(listing?.entries.length, 1);
    assert.equal(listing?.next?.length, 3000);
  });

  test("can be given up", async () => {
    const leave = AbortSignal.abort(new Error("enough"));

    await assert.rejects(listBucket(pagesOf(boltImage(numbered(10))), [], { limit: 1, signal: leave }), {
      message: "enough",
    });
  });
});

/** Each has 2 in its way to the bucket `71`, or to its keys. */
const breaks: readonly (readonly [name: string, edit: (database: Sample) => void, problem: RegExp])[] = [
  ["a page that names another", ({ u32 }) => u32(49, 0, 50), /^image: page 49: its header says page 50/],
  ["a tree page of another kind", ({ u8 }) => u8(49, 8, 0x10), /^image: page 49: flags 0x10/],
  [
    "a child beyond the high-water mark",
    ({ u32 }) => u32(71, 24, 189),
    /^image: page 71: element 0 refers to page 189/,
  ],
  [
    "a child that is a meta page",
    ({ u32 }) => u32(71, 24, 1),
    /^image: page 71: element 0 refers to page 1,/,
  ],
  ["a child above 2^32", ({ u32 }) => u32(71, 28, 1), /^image: page 71: element 0 refers to page 4294967298/],
  ["a page that is referred to twice", ({ u32 }) => u32(71, 40, 2), /page 2: referred to twice/],
  ["a branch that is its own child", ({ u32 }) => u32(71, 24, 71), /page 71: referred to twice/],
  ["a branch without children", ({ u8 }) => u8(71, 10, 0), /^image: page 71: a branch without children/],
  [
    "overflow beyond the high-water mark",
    ({ u32 }) => u32(49, 12, 140),
    /^image: page 49: 140 overflow blocks end/,
  ],
  [
    "overflow of 2^32-1 blocks",
    ({ u32 }) => u32(49, 12, 2 ** 32 - 1),
    /^image: page 49: 4294967295 overflow/,
  ],
  [
    "more elements than the page holds",
    ({ u8 }) => u8(49, 11, 1),
    /^image: page 49: 273 elements do not fit/,
  ],
  ["an element beyond its page", ({ u32 }) => u32(49, 28, 5000), /^image: page 49: element 0 ends beyond/],
  ["a key of 2^32-1 bytes", ({ u32 }) => u32(49, 24, 2 ** 32 - 1), /^image: page 49: element 0 ends beyond/],
  ["an empty key", ({ u32 }) => u32(49, 24, 0), /^image: page 49: key 0 has 0 bytes/],
  ["two keys swapped", (database) => database.swapElements(49, 3), /^image: page 49: key 4 is not above/],
  [
    "two children swapped",
    (database) => database.swapChildren(71, 3),
    /^image: page \d+: key 0 is not above/,
  ],
];

suite("a broken point is corrupt, naming object and page:", () => {
  for (const [name, edit, problem] of breaks) {
    test(name, async () => {
      const database = sample();
      edit(database);

      await assert.rejects(listedHash(pagesOf(database), 20), (error) => {
        assert.ok(isPageferryError(error, "corrupt"), String(error));
        assert.match(error.message, problem);
        return true;
      });
    });
  }

  test("or is listed, but ends, whatever 150 seeds do to its pages", async () => {
    const database = sample();
    const sound = database.bytes.slice();
    const random = seeded(7);
    let noticed = 0;
    for (let round = 0; round < 150; round += 1) {
      for (let count = random() % 8; count >= 0; count -= 1)
        database.bytes[(2 + (random() % 187)) * 4096 + (random() % (random() % 2 === 0 ? 64 : 4096))] =
          random();
      const pages = pagesOf(database);
      try {
        await listBounded(pages, []);
      } catch (error) {
        if (!isPageferryError(error, "corrupt")) throw error;
        noticed += 1;
      }
      database.bytes.set(sound);
    }

    assert.ok(noticed > 20 && noticed < 150, `${noticed} noticed`);
  });
});

/** Every bucket, its keys alone. */
async function listBounded(pages: PointPages, path: readonly Uint8Array[]): Promise<void> {
  let after: Uint8Array | undefined;
  do {
    const listing = await listBucket(pages, path, { limit: 1000, after });
    for (const { kind, key } of listing?.entries ?? [])
      if (kind === "bucket" && path.length < 8) await listBounded(pages, [...path, key]);
    after = listing?.next;
  } while (after !== undefined);
}
