import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { type BoltImage, type BucketTree, boltImage } from "../testing/bolt-image.ts";
import { imageSource } from "../testing/golden.ts";
import { generation, type LayerOptions, layersOf, memoryReader } from "../testing/layers.ts";
import { listedHash } from "../testing/listing.ts";
import { openArchive } from "./archive-open.ts";
import { type ArchiveReader, planFromArchive } from "./archive-reader.ts";
import { checkDatabase } from "./bolt/check.ts";
import { logicalHash } from "./bolt/logical-hash.ts";
import { getValue, listBucket } from "./bucket-walk.ts";
import { createByteCache } from "./byte-cache.ts";
import { seeded } from "./fixtures.ts";
import { type OpenPointOptions, openPointPages, type PointPages } from "./point-pages.ts";

const mib = 2 ** 20;
const none = { codec: "none", level: 0, window: 0 };

async function openNewest(
  readers: readonly ArchiveReader[],
  options: OpenPointOptions = {},
): Promise<PointPages> {
  const archive = await openArchive(readers);
  return openPointPages(await planFromArchive(archive, {}), archive.readers, options);
}

/** Bytes that compress to nothing less. */
function noise(length: number, seed: number): Uint8Array {
  const words = new Uint32Array(Math.ceil(length / 4));
  const random = seeded(seed);
  for (let at = 0; at < words.length; at += 1) words[at] = random();
  return new Uint8Array(words.buffer, 0, length);
}

function keysOf(count: number, value: (at: number) => Uint8Array): BucketTree {
  return new Map(Array.from({ length: count }, (_, at) => [`key ${String(at).padStart(8, "0")}`, value(at)]));
}

const small: BucketTree = new Map<string, Uint8Array | BucketTree>([
  ["empty", new Map()],
  ["inline", keysOf(5, (at) => Buffer.from(`value ${at}`))],
  ["large", keysOf(4, (at) => noise(30_000 + at, at))],
  ["many", keysOf(3000, (at) => Buffer.from(`value ${at}`))],
  ["nested", new Map([["inner", new Map([["innermost", keysOf(300, () => Buffer.alloc(60))]])]])],
]);
const image = boltImage(small);
const truth = logicalHash(imageSource(image.bytes, image.pageSize), image.meta);

suite("the pages of a point", () => {
  test("are made up by a test that makes sound databases", () => {
    const { problems } = checkDatabase(imageSource(image.bytes, image.pageSize), { mode: "full" });

    assert.deepEqual(problems, []);
  });

  const spreads: Readonly<Record<string, LayerOptions>> = {
    "a snapshot alone": {},
    "a snapshot that is not compressed": { compression: none },
    "a snapshot and segments": { steps: 5 },
    "a snapshot, segments and a pack": { steps: 6, isPacked: true, seed: 3 },
    "segments that are not compressed": { steps: 4, compression: none, seed: 4 },
    "segments that hold everything": { steps: 3, stepOf: () => 2 },
  };
  for (const [name, options] of Object.entries(spreads)) {
    test(`come from the newest object that holds each: ${name}`, async () => {
      const pages = await openNewest([memoryReader(await layersOf(image, options))]);

      assert.equal(await listedHash(pages, 50), truth);
    });
  }

  test("are the same through a cache that holds hardly anything", async () => {
    const cache = createByteCache(1);
    const pages = await openNewest([memoryReader(await layersOf(image, { steps: 2 }))], { cache });

    const listing = await listBucket(pages, [Buffer.from("many")], { limit: 1000 });

    assert.equal(listing?.entries.length, 1000);
  });

  test("that nobody asks for are not fetched: the newest segment is enough where it holds the way", async () => {
    const asked = new Set<string>();
    const objects = await layersOf(image, { steps: 3, stepOf: () => 3 });
    const reader = memoryReader(objects, { onGet: (name) => void asked.add(name) });

    const pages = await openNewest([reader]);
    await listBucket(pages, [], { limit: 10 });

    assert.deepEqual([...asked], [objects.at(-1)?.name]);
  });

  test("come from another reader where the first one's copy is broken, or gone", async () => {
    const objects = await layersOf(image, { steps: 2 });
    const broken = objects.map(({ name, bytes }) => {
      const bad = Uint8Array.from(bytes);
      bad[bytes.length >> 1] = (bad[bytes.length >> 1] as number) ^ 1;
      return { name, bytes: bad };
    });
    const pages = await openNewest([
      memoryReader(broken, { name: "broken" }),
      memoryReader(objects.slice(0, 1), { name: "half" }),
      memoryReader(objects, { name: "whole" }),
    ]);

    assert.equal(await listedHash(pages, 100), truth);
  });

  test("are not a mixture: a segment that begins at another state is corrupt, and both are named", async () => {
    const objects = await layersOf(image, { steps: 2, pre: 99n, stepOf: () => 1 });

    const pages = openNewest([memoryReader(objects)]).then((opened) => listBucket(opened, [], { limit: 1 }));

    await assert.rejects(pages, (error: Error & { code?: string }) => {
      assert.equal(error.code, "corrupt");
      for (const { name } of objects.slice(1)) assert.ok(error.message.includes(name), error.message);
      return true;
    });
  });

  test("are asked for by several at once, and each object is fetched once", async () => {
    const gets = new Map<string, number>();
    const objects = await layersOf(image, { steps: 6, stepOf: () => 0 });
    const count = (name: string): void => void gets.set(name, (gets.get(name) ?? 0) + 1);
    const pages = await openNewest([memoryReader(objects, { onGet: count })]);

    const ways = [["many"], ["large"], ["nested", "inner"], ["inline"]];
    const listings = await Promise.all(
      ways.map((way) =>
        listBucket(
          pages,
          way.map((name) => Buffer.from(name)),
          { limit: 1000 },
        ),
      ),
    );

    assert.deepEqual(
      listings.map((listing) => listing?.entries.length),
      [1000, 4, 1, 5],
    );
    for (const { name } of objects.slice(1)) assert.equal(gets.get(name), 1, name);
  });

  test("go on for the others when the one who fetches gives up", async () => {
    const pages = await openNewest([memoryReader(await layersOf(image, { steps: 6, stepOf: () => 0 }))]);
    const leave = new AbortController();

    const given = listBucket(pages, [Buffer.from("many")], { limit: 9, signal: leave.signal });
    const other = listBucket(pages, [Buffer.from("many")], { limit: 9 });
    leave.abort(new Error("enough"));

    await assert.rejects(given, { message: "enough" });
    assert.equal((await other)?.entries.length, 9);
  });
});

suite("what cannot be read by parts", () => {
  /** As the Go implementation's S3 replica holds it: one frame, without a header. */
  async function goMade(made: BoltImage): Promise<ArchiveReader> {
    const { zstdCompressSync } = await import("./zstd.ts");
    const [snapshot] = await layersOf(made);
    return memoryReader([{ name: snapshot?.name ?? "", bytes: zstdCompressSync(made.bytes, 1) }]);
  }

  test("is decoded whole", async () => {
    const pages = await openNewest([await goMade(image)]);

    assert.equal(await listedHash(pages, 100), truth);
  });

  test("is too large above its bound, and the hint is to restore", async () => {
    const opening = openNewest([await goMade(image)], { wholeBytesMax: image.bytes.length - 1 });

    await assert.rejects(opening, { code: "too-large", hint: /pageferry restore/ });
  });

  test("is too large as a segment too, however well it is compressed", async () => {
    const objects = await layersOf(image, { steps: 1, stepOf: () => 1 });

    const opening = openNewest([memoryReader(objects)], { wholeBytesMax: mib / 4 });

    await assert.rejects(opening, { code: "too-large" });
  });
});

suite("what is fetched", { concurrency: false }, () => {
  const count = 130_000;
  const keyAt = (at: number): Uint8Array => Buffer.from(`key ${String(at).padStart(8, "0")}`);
  const half = (at: number): Uint8Array => Buffer.concat([noise(400, at), Buffer.alloc(400)]);
  const large = boltImage(new Map([["accounts", keysOf(count, half)]]));

  for (const [name, options] of Object.entries({
    "a snapshot of more than 100 MB": {},
    "a large segment above it": { steps: 1, stepOf: () => 1 },
  })) {
    test(`for one key out of ${name} is at most 4 MiB, and for the next one hardly more`, async () => {
      assert.ok(large.bytes.length > 100 * mib, `${large.bytes.length} bytes`);
      const reader = memoryReader(await layersOf(large, options));
      const pages = await openNewest([reader]);

      const value = await getValue(pages, [Buffer.from("accounts")], keyAt(54_321));

      assert.ok(value !== undefined && value !== "bucket");
      assert.deepEqual(Buffer.concat(await Array.fromAsync(value.read(0, value.bytes))), half(54_321));
      const first = pages.fetched();
      assert.ok(first.reads >= 6, `${first.reads} reads`);
      assert.ok(first.bytes <= 4 * mib, `${first.bytes} bytes in ${first.reads} reads`);
      await getValue(pages, [Buffer.from("accounts")], keyAt(54_330));
      assert.deepEqual(pages.fetched(), first);
    });
  }

  test("of noise, which nothing makes smaller, is a frame for each page on the way", async () => {
    const made = boltImage(new Map([["noise", keysOf(26_000, (at) => noise(4000, at))]]));
    const pages = await openNewest([memoryReader(await layersOf(made))]);

    const listing = await listBucket(pages, [Buffer.from("noise")], { limit: 100, after: keyAt(20_000) });

    assert.equal(listing?.entries.length, 100);
    assert.ok(made.bytes.length > 100 * mib);
    assert.ok(pages.fetched().bytes <= 5 * mib, `${pages.fetched().bytes} bytes`);
  });
});

test("the archive of these tests has one generation", async () => {
  const { links, objects } = await openArchive([memoryReader(await layersOf(image))]);

  assert.equal(links.size, 0);
  assert.ok(objects.every(({ name }) => name.startsWith(generation)));
});
