import { strict as assert } from "node:assert";
import { createHash } from "node:crypto";
import { suite, test } from "node:test";
import fc from "fast-check";
import { flipped, putTogether, takeApart, withHeader, zstdBomb } from "../testing/broken.ts";
import { encodeMetaPage, metaPagesFor } from "./bolt/meta.ts";
import { chunked, collect, memoryReader, memorySpool, seeded } from "./fixtures.ts";
import {
  decodeSnapshot,
  decodeSnapshotFile,
  decodeSnapshotHeader,
  encodeSnapshot,
  encodeSnapshotHeader,
  openSnapshot,
  readSnapshotHeader,
  readSnapshotRange,
  type SnapshotInput,
} from "./snapshot.ts";
import { txId } from "./txid.ts";
import { zstdCompressSync } from "./zstd.ts";

const pageSize = 4096;
const none = { codec: "none", level: 0, window: 0 };

/** A database image as far as snapshots look: two true meta pages, and pages of noise, half of it compressible. */
function imageOf(pages: number, seed = 1): Uint8Array {
  const random = seeded(seed);
  const image = new Uint8Array(pages * pageSize);
  for (let at = 2 * pageSize; at < image.length; at += 2) {
    image[at] = random() & 0xff;
  }
  const meta = {
    pageSize,
    flags: 0,
    root: 3,
    sequence: 0n,
    freelist: 2,
    highWaterMark: pages,
    txId: txId(7),
  };
  const [page0, page1] = metaPagesFor(encodeMetaPage(meta, 1));
  image.set(page0, 0);
  image.set(page1, pageSize);
  return image;
}

function inputOf(pages: number): SnapshotInput {
  return {
    txId: txId(7),
    pageSize,
    createdAt: 1_760_000_000,
    pageCount: BigInt(pages),
    stateHash: 99n,
    stampMs: 1_760_000_000_123,
    receivedMs: 1_760_000_000_456,
  };
}

async function encoded(image: Uint8Array, compression?: typeof none): Promise<Uint8Array> {
  const options = { spool: memorySpool(), ...(compression && { compression }) };
  const snapshot = await encodeSnapshot(
    chunked(image, () => 100_000),
    inputOf(image.length / pageSize),
    options,
  );
  return collect(snapshot.open());
}

const image = imageOf(700);
const bytes = await encoded(image);
const plain = await encoded(image, none);

suite("a snapshot", () => {
  for (const [how, file] of [
    ["packed", bytes],
    ["not packed", plain],
  ] as const) {
    test(`that is ${how} decodes to what was encoded, in chunks of any size`, async () => {
      const random = seeded(9);
      for (const next of [() => file.length, () => 65_536, () => random() % 5000]) {
        const { raw, header } = decodeSnapshot(chunked(file, next));

        assert.deepEqual(Buffer.from(await collect(raw)), Buffer.from(image));
        const { checksum, ...rest } = await header;
        assert.ok(checksum !== undefined);
        assert.deepEqual(rest, {
          ...inputOf(700),
          version: 1,
          compression: how === "packed" ? "zstd" : "none",
          compressionLevel: 0,
          compressionWindow: 0,
        });
      }
    });

    test(`that is ${how} gives any range, reading little more than it`, async () => {
      await fc.assert(
        fc.asyncProperty(fc.nat(image.length), fc.nat(300_000), async (offset, count) => {
          const length = Math.min(count, image.length - offset);
          const reader = memoryReader(file);

          const range = await readSnapshotRange(reader, offset, length);

          assert.deepEqual(Buffer.from(range), Buffer.from(image.subarray(offset, offset + length)));
          const readBytes = reader.reads.reduce((sum, [, read]) => sum + read, 0);
          assert.ok(readBytes <= length + 2 * 1024 * 1024 + 10_000);
        }),
        { numRuns: 40 },
      );
    });

    test(`that is ${how} has no range beyond its end`, async () => {
      const ranges = await openSnapshot(memoryReader(file));

      assert.deepEqual([ranges.rawBytes, ranges.isSeekable], [image.length, true]);
      for (const [offset, length] of [
        [image.length, 1],
        [-1, 1],
        [0, image.length + 1],
        [Number.NaN, 1],
      ] as const) {
        await assert.rejects(ranges.read(offset, length), { code: "bad-request" });
      }
    });
  }

  test("tells its size and digest before it is stored, and may be read again", async () => {
    const spool = memorySpool();
    const snapshot = await encodeSnapshot(
      chunked(image, () => 4096),
      inputOf(700),
      { spool, parallelism: 1 },
    );

    const first = await collect(snapshot.open());

    assert.equal(first.length, snapshot.size);
    assert.equal(createHash("sha256").update(first).digest("hex"), snapshot.sha256);
    assert.deepEqual(await collect(snapshot.open()), first);
  });

  test("is the same however many frames are packed at a time", async () => {
    for (const parallelism of [1, 2, 7]) {
      const snapshot = await encodeSnapshot(
        chunked(image, () => 3000),
        inputOf(700),
        { spool: memorySpool(), parallelism },
      );

      assert.deepEqual(await collect(snapshot.open()), bytes);
    }
  });

  test("takes its chunks' bytes before it asks for the next: a source may use its buffer again", async () => {
    async function* reusing(): AsyncGenerator<Uint8Array> {
      const buffer = new Uint8Array(10_000);
      for (let at = 0; at < image.length; at += buffer.length) {
        const part = image.subarray(at, at + buffer.length);
        buffer.set(part);
        yield buffer.subarray(0, part.length);
      }
    }
    const snapshot = await encodeSnapshot(reusing(), inputOf(700), { spool: memorySpool() });

    assert.equal(Buffer.compare(await collect(snapshot.open()), bytes), 0);
  });

  test("of a source that is shorter or longer than it should be is not made", async () => {
    for (const pages of [699, 701]) {
      const making = encodeSnapshot(
        chunked(image, () => 4096),
        inputOf(pages),
        { spool: memorySpool() },
      );

      await assert.rejects(making, { code: "corrupt" });
    }
  });

  test("being made ends with the signal's reason, or the source's own failure", async () => {
    const reason = new Error("stop");
    async function* failing(): AsyncGenerator<Uint8Array> {
      yield image;
      throw reason;
    }

    const aborted = encodeSnapshot(
      chunked(image, () => 4096),
      inputOf(700),
      {
        spool: memorySpool(),
        signal: AbortSignal.abort(reason),
      },
    );

    await assert.rejects(aborted, reason);
    await assert.rejects(encodeSnapshot(failing(), inputOf(700), { spool: memorySpool() }), reason);
  });
});

suite("decoding a snapshot", () => {
  test("notices a flipped bit anywhere in its data", async () => {
    const random = seeded(11);
    for (let count = 0; count < 60; count += 1) {
      const { raw, header } = decodeSnapshot([
        flipped(count % 2 ? bytes : plain, 100 * 8 + (random() % (8 * 1_000_000))),
      ]);

      await assert.rejects(collect(raw), { code: "corrupt" });
      await assert.rejects(header, { code: "corrupt" });
    }
  });

  test("stops at the length its own meta page tells of", async () => {
    const { header } = takeApart(plain);
    const longer = Buffer.concat([image, new Uint8Array(64 * 1024 * 1024)]);
    const data = zstdCompressSync(longer, 1);
    let rawBytes = 0;

    const { raw } = decodeSnapshot([putTogether(data, new Map([...header, ["compression", "zstd"]]))]);
    await assert.rejects(
      async () => {
        for await (const part of raw) rawBytes += part.length;
      },
      { code: "corrupt" },
    );

    assert.ok(rawBytes <= image.length);
  });

  test("stops at a bomb by the limit it is given", async () => {
    const { header } = takeApart(bytes);
    const { raw } = decodeSnapshot([putTogether(zstdBomb(), header)], { rawBytesMax: 1024 * 1024 });

    await assert.rejects(collect(raw), { code: "too-large" });
  });

  for (const [what, file] of [
    ["another page count than it holds", withHeader(bytes, { pageCount: 699 })],
    ["another page size than it holds", withHeader(bytes, { pageSize: 8192 })],
    ["another checksum", withHeader(bytes, { checksum: 7 })],
    ["another codec than its data shows", withHeader(bytes, { compression: "none" })],
  ] as const) {
    test(`refuses a header with ${what}`, async () => {
      await assert.rejects(collect(decodeSnapshot([file]).raw), { code: "corrupt" });
    });
  }

  test("rejects the header of one that was not read to its end, and closes its source", async () => {
    let isClosed = false;
    async function* source(): AsyncGenerator<Uint8Array> {
      try {
        yield* chunked(bytes, () => 65_536);
      } finally {
        isClosed = true;
      }
    }
    const { raw, header } = decodeSnapshot(source());

    for await (const part of raw) {
      assert.ok(part.length > 0);
      break;
    }

    await assert.rejects(header, { code: "unavailable" });
    assert.ok(isClosed);
  });

  test("ends with the signal's reason", async () => {
    const reason = new Error("stop");
    const { raw } = decodeSnapshot([bytes], { signal: AbortSignal.abort(reason) });

    await assert.rejects(collect(raw), reason);
  });

  test("gives the source's own failure, not one of ours", async () => {
    const reason = new Error("connection reset");
    async function* failing(): AsyncGenerator<Uint8Array> {
      yield bytes.subarray(0, 500_000);
      throw reason;
    }

    await assert.rejects(collect(decodeSnapshot(failing()).raw), reason);
  });
});

suite("a snapshot's header", () => {
  test("is read from the tail, and decodes to what was encoded", async () => {
    const header = await readSnapshotHeader(memoryReader(bytes));

    assert.deepEqual(header, decodeSnapshotFile(bytes).header);
    assert.deepEqual(decodeSnapshotHeader(encodeSnapshotHeader(header)), header);
  });

  test("of a cut file is corrupt", async () => {
    for (const length of [0, 5, 8, 1000, bytes.length - 1]) {
      await assert.rejects(readSnapshotHeader(memoryReader(bytes.subarray(0, length))), { code: "corrupt" });
    }
  });
});

suite("ranges of a snapshot", () => {
  test("are not given where there is no seek table", async () => {
    const { header } = takeApart(bytes);
    const ranges = await openSnapshot(memoryReader(putTogether(zstdCompressSync(image, 1), header)));

    assert.equal(ranges.isSeekable, false);
    await assert.rejects(ranges.read(0, 4096), { code: "bad-request" });
  });

  test("of a broken frame are corrupt, by its own checksum", async () => {
    const ranges = await openSnapshot(memoryReader(flipped(bytes, 8 * 100_000)));

    await assert.rejects(ranges.read(0, 4096), { code: "corrupt" });
    assert.equal((await ranges.read(2 * 1024 * 1024, 4096)).length, 4096);
  });
});
