// Objects as the Go implementation's S3 and NATS replicas hold them: made here from its files by taking the map around the data away.
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { flipped, takeApart } from "../testing/broken.ts";
import { makeHistory } from "../testing/history.ts";
import { vectors as vectorsOf } from "../testing/vectors.ts";
import { decodeCbor, encodeCbor } from "./cbor.ts";
import { isPageferryError, PageferryError } from "./errors.ts";
import { chunked, collect, memoryReader } from "./fixtures.ts";
import { parseGeneration } from "./names.ts";
import { decodeSegment, decodeSegmentAsync, decodeSegmentStream } from "./segment.ts";
import { decodeSegmentFile, encodeSegmentFile } from "./segment-file.ts";
import { openSegment, readSegmentHeader } from "./segment-range.ts";
import { verifySegmentStream } from "./segment-verify.ts";
import { decodeSnapshot, decodeSnapshotFile, openSnapshot, readSnapshotHeader } from "./snapshot.ts";
import { zstdCompressSync } from "./zstd.ts";

const history = makeHistory(parseGeneration("00000000000000a1"), 20, [[0, 1], [2], [3, 4, 5]]);
const none = { codec: "none", level: 0, window: 0 } as const;

/** What is left of a file without its envelope. */
const bare = (bytes: Uint8Array): Uint8Array => takeApart(bytes).data;

/** Asserts that something fails, with one of our codes. */
async function fails(work: () => unknown, codes: readonly string[], what: string): Promise<void> {
  try {
    await work();
  } catch (error) {
    assert.ok(isPageferryError(error), `${what}: ${error}`);
    assert.ok(codes.includes(error.code), `${what}: ${error.code}`);
    return;
  }
  assert.fail(`${what}: it was taken`);
}

suite("a segment without its envelope", () => {
  const vectors = vectorsOf("segment").filter(({ truth }) => (truth.decodeError ?? null) === null);

  test("is known by its first four bytes, and is decoded to what its file is", async () => {
    assert.ok(vectors.length >= 15);
    for (const { name, bytes } of vectors) {
      const data = bare(bytes);

      assert.deepEqual(decodeSegment(data), decodeSegment(bytes), name);
      assert.deepEqual(await decodeSegmentAsync(data), decodeSegment(bytes), name);
    }
  });

  test("gives back the file that it was, byte for byte", () => {
    for (const { name, bytes } of vectors) {
      const file = encodeSegmentFile(decodeSegmentFile(bare(bytes)));

      assert.ok(Buffer.from(bytes).equals(file), name);
    }
  });

  test("comes byte by byte as well as whole, and is verified as it passes", async () => {
    for (const { name, bytes } of vectors.filter((vector) => vector.bytes.length < 20_000)) {
      const data = bare(bytes);

      assert.deepEqual(await decodeSegmentStream(chunked(data, () => 1)), decodeSegment(bytes), name);
      const header = await verifySegmentStream(chunked(data, () => 7));
      assert.deepEqual(header, decodeSegment(bytes).header, name);
    }
  });

  test("tells its header through ranged reads, and has no page index", async () => {
    for (const { name, bytes } of vectors) {
      const reader = memoryReader(bare(bytes));

      assert.deepEqual(await readSegmentHeader(reader), decodeSegment(bytes).header, name);
      if (decodeSegment(bytes).header.pageSize >= 512)
        assert.equal(await openSegment(reader), undefined, name);
    }
  });

  test("is corrupt when it is cut, or a bit of its zstd is turned", async () => {
    const { bytes } = history.segment(2, 3);
    const data = bare(bytes);

    for (let length = 0; length < data.length; length += 7) {
      await fails(() => decodeSegment(data.subarray(0, length)), ["corrupt", "too-large"], `${length} bytes`);
    }
    for (let bit = 0; bit < data.length * 8; bit += 13) {
      const decode = () => {
        // Some bits of zstd mean nothing: then it is the same segment, as its content checksum says.
        assert.deepEqual(decodeSegment(flipped(data, bit)).pages, decodeSegment(bytes).pages);
        throw new PageferryError("corrupt", "the same");
      };
      await fails(decode, ["corrupt", "too-large"], `bit ${bit}`);
    }
  });

  test("is corrupt when it is followed by something, or says another codec than it has", async () => {
    const plain = bare(history.segment(2, 3, { compression: none }).bytes);
    const packed = bare(history.segment(2, 3).bytes);

    await fails(() => decodeSegment(Buffer.concat([plain, Buffer.from([0])])), ["corrupt"], "trailing byte");
    await fails(() => decodeSegment(zstdCompressSync(plain, 3)), ["corrupt"], "compressed twice");
    await fails(
      () => decodeSegment(Buffer.concat([packed, Buffer.from("more")])),
      ["corrupt"],
      "trailing text",
    );
  });

  test("of a later version is refused as such", async () => {
    const payload = decodeCbor(bare(history.segment(2, 3, { compression: none }).bytes)) as Map<
      string,
      unknown
    >;
    const header = payload.get("header") as Map<string, unknown>;
    const later = encodeCbor(new Map([...payload, ["header", new Map([...header, ["version", 2]])]]));

    await fails(() => decodeSegment(later), ["unsupported-version"], "version 2");
  });
});

suite("a snapshot without its envelope", () => {
  const image = history.image(3);
  const stored = { zstd: zstdCompressSync(image, 3), none: image };

  for (const [codec, data] of Object.entries(stored)) {
    test(`stored with ${codec} is the database, with what its meta pages say for a header`, async () => {
      const { raw, header } = decodeSnapshot(chunked(data, () => 1000));

      assert.ok(Buffer.from(image).equals(await collect(raw)));
      const { txId, pageSize, pageCount, compression: said } = await header;
      assert.deepEqual(
        { txId, pageSize, pageCount, said },
        { txId: 3n, pageSize: 512, pageCount: 23n, said: codec },
      );
      assert.deepEqual(await readSnapshotHeader(memoryReader(data)), await header);
      assert.deepEqual(decodeSnapshotFile(data).header, await header);
    });

    test(`stored with ${codec} is read in many frames as well as in one`, async () => {
      const file = await history.snapshot(3, codec === "none" ? { compression: none } : {});

      const { raw, header } = decodeSnapshot(chunked(bare(file.bytes), () => 100));

      assert.ok(Buffer.from(image).equals(await collect(raw)));
      assert.equal((await header).compression, codec);
    });

    test(`stored with ${codec} is corrupt when it is cut`, async () => {
      const read = async (bytes: Uint8Array): Promise<unknown> =>
        collect(decodeSnapshot(chunked(bytes, () => 4096)).raw);

      for (let length = 0; length < data.length; length += codec === "none" ? 97 : 7) {
        await fails(() => read(data.subarray(0, length)), ["corrupt"], `${length} of ${data.length} bytes`);
      }
    });

    test(`stored with ${codec} is corrupt when more follows than its meta pages tell of`, async () => {
      const more = Buffer.concat([data, codec === "none" ? Buffer.alloc(512) : Buffer.from(data)]);

      await fails(
        () => collect(decodeSnapshot(chunked(more, () => 4096)).raw),
        ["corrupt"],
        "twice the data",
      );
    });
  }

  test("that is not compressed can be read by ranges", async () => {
    const ranges = await openSnapshot(memoryReader(image));

    assert.equal(ranges.isSeekable, true);
    assert.ok(Buffer.from(image.subarray(1000, 3000)).equals(await ranges.read(1000, 2000)));
  });

  test("of zeros, or of a file that is no database, is corrupt", async () => {
    const texts = { zeros: new Uint8Array(8192), packed: zstdCompressSync(Buffer.from("no database"), 3) };
    for (const [what, bytes] of Object.entries(texts)) {
      await fails(() => collect(decodeSnapshot(chunked(bytes, () => 4096)).raw), ["corrupt"], what);
      await fails(() => readSnapshotHeader(memoryReader(bytes)), ["corrupt"], what);
    }
  });
});
