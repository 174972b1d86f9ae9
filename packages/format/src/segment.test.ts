import { strict as assert } from "node:assert";
import { suite, test } from "node:test";
import fc from "fast-check";
import { crc64 } from "./crc64.ts";
import { chunked, frameOf, seeded, segmentOf } from "./fixtures.ts";
import { largePayloadBytes, seekFrameBytes } from "./limits.ts";
import { findPageIndex, findSeekTable } from "./seekable.ts";
import {
  decodeSegment,
  decodeSegmentAsync,
  decodeSegmentStream,
  encodeSegment,
  encodeSegmentAsync,
  type Segment,
  type SegmentInput,
} from "./segment.ts";
import { decodeSegmentFile, encodeSegmentFile, withReceived } from "./segment-file.ts";
import { decodeSegmentHeader, encodeSegmentHeader, segmentAttrs, segmentState } from "./segment-header.ts";
import { encodeSegmentPayload } from "./segment-payload.ts";
import { txId } from "./txid.ts";
import { zstdCompressSync } from "./zstd.ts";

const none = { codec: "none", level: 0, window: 0 };

/** Frames that ascend, some of them touching, some with gaps between. */
const anyPages = fc
  .array(fc.record({ gap: fc.nat(3), pages: fc.integer({ min: 1, max: 4 }), fill: fc.nat(255) }), {
    maxLength: 12,
  })
  .map((runs) => {
    let next = 2;
    return runs.map(({ gap, pages, fill }) => {
      const frame = frameOf(next + gap, pages, fill, 512);
      next += gap + pages;
      return frame;
    });
  });

const anySegment: fc.Arbitrary<SegmentInput> = fc
  .record({
    txId: fc.bigInt({ min: 1n, max: 2n ** 64n - 1n }),
    pages: anyPages,
    createdAt: fc.option(fc.integer({ min: -(2 ** 40), max: 2 ** 40 })),
    attrs: fc.dictionary(fc.string(), fc.string(), { maxKeys: 3, noNullPrototype: true }),
    highWaterMark: fc.bigInt({ min: 100n, max: 2n ** 32n }),
  })
  .map((parts) => segmentOf({ ...parts, pageSize: 512 }));

function assertHolds(segment: Segment, input: SegmentInput): void {
  const { txId, parentTxId, pageSize, highWaterMark, createdAt, attrs, pageCount } = segment.header;
  const pages = segment.pages.map(({ id, overflow, data }) => ({ id, overflow, data: new Uint8Array(data) }));
  assert.deepEqual({ txId, parentTxId, pageSize, highWaterMark, createdAt, attrs, pages }, input);
  assert.equal(pageCount, BigInt(input.pages.length));
}

suite("a segment", () => {
  test("decodes to what was encoded, packed or not, on this thread or others", async () => {
    await fc.assert(
      fc.asyncProperty(
        anySegment,
        fc.constantFrom(none, { codec: "zstd", level: 0, window: 0 }),
        async (input, compression) => {
          const bytes = encodeSegment(input, { compression });

          assertHolds(decodeSegment(bytes), input);
          assertHolds(await decodeSegmentAsync(await encodeSegmentAsync(input, { compression })), input);
        },
      ),
      { numRuns: 60 },
    );
  });

  test("is the same read in chunks of any size", async () => {
    const input = segmentOf({ txId: 9, pages: [frameOf(1), frameOf(3, 5), frameOf(77)] });
    const bytes = encodeSegment(input);
    const random = seeded(3);

    for (const next of [() => bytes.length, () => 1, () => random() % 90]) {
      assertHolds(await decodeSegmentStream(chunked(bytes, next)), input);
    }
  });

  test("has the level in its header that Go would write, and none for the default", () => {
    const header = (level: number) =>
      decodeSegmentFile(
        encodeSegment(segmentOf({ txId: 9 }), { compression: { codec: "zstd", level, window: 0 } }),
      ).header;

    assert.deepEqual(
      [header(0).compressionLevel, header(1).compressionLevel, header(11).compressionLevel],
      [0, -5, 22],
    );
    assert.throws(() => encodeSegment(segmentOf({ txId: 9 }), { compression: { ...none, codec: "lz4" } }), {
      code: "bad-config",
    });
  });

  test("gives page data as views of one buffer", () => {
    const { pages } = decodeSegment(encodeSegment(segmentOf({ txId: 9, pages: [frameOf(3), frameOf(5)] })));

    assert.equal(pages[0]?.data.buffer, pages[1]?.data.buffer);
  });

  test("drops the fraction of a second, down also before 1970", () => {
    const createdAt = (seconds: number) =>
      decodeSegment(encodeSegment(segmentOf({ txId: 9, createdAt: seconds }))).header.createdAt;

    assert.deepEqual([createdAt(7.9), createdAt(-1.5)], [7, -2]);
  });

  for (const [what, pages] of [
    ["overlapping frames", [frameOf(10, 4), frameOf(12)]],
    ["descending frames", [frameOf(12), frameOf(10)]],
    ["a frame short of its pages", [{ ...frameOf(10), overflow: 1 }]],
  ] as const) {
    test(`is not made of ${what}: that is a mistake of the program`, () => {
      assert.throws(() => encodeSegment(segmentOf({ txId: 9, pages, highWaterMark: 20n })), {
        code: "ERR_ASSERTION",
      });
    });
  }

  test("is not made of more runs than Go can read", () => {
    const data = new Uint8Array(0);
    const pages = Array.from({ length: 131_073 }, (_, index) => ({ id: BigInt(index), overflow: -1, data }));

    assert.throws(() => encodeSegment(segmentOf({ txId: 9, pages })), { code: "too-large" });
  });
});

suite("the attribute `received`", () => {
  const bytes = encodeSegment(segmentOf({ txId: 9, attrs: segmentAttrs({ post: 7n, stampMs: 5 }) }));

  test("is set outside only, and leaves the data as it is", () => {
    const received = withReceived(bytes, 1_760_000_000_123);

    const { header } = decodeSegment(received);
    assert.deepEqual(segmentState(header), { post: 7n, stampMs: 5, receivedMs: 1_760_000_000_123 });
    assert.deepEqual(decodeSegmentFile(received).data, decodeSegmentFile(bytes).data);
  });

  test("is the only one that may differ from the inside", () => {
    const { header, data } = decodeSegmentFile(bytes);
    const changed = encodeSegmentFile({
      data,
      header: { ...header, attrs: { ...header.attrs, stamp: "6" } },
    });
    const missing = encodeSegmentFile({ data, header: { ...header, attrs: {} } });

    assert.throws(() => decodeSegment(changed), { code: "corrupt" });
    assert.throws(() => decodeSegment(missing), { code: "corrupt" });
  });
});

suite("attributes", () => {
  test("say what they were made of", () => {
    fc.assert(
      fc.property(
        fc.record(
          {
            pre: fc.bigInt({ min: 0n, max: 2n ** 128n - 1n }),
            post: fc.bigInt({ min: 0n, max: 2n ** 128n - 1n }),
            stampMs: fc.nat(),
            source: fc.constantFrom("bolt-file", "shadow", "observer"),
            receivedMs: fc.nat(),
          },
          { requiredKeys: [], noNullPrototype: true },
        ),
        (state) => assert.deepEqual(segmentState({ attrs: segmentAttrs(state) }), state),
      ),
    );
  });

  test("that are ill-formed count as absent", () => {
    assert.deepEqual(
      segmentState({ attrs: { pre: "aa", post: "0".repeat(31), stamp: "-1", received: "1e3" } }),
      {},
    );
  });
});

suite("a header by itself", () => {
  test("decodes to what was encoded", () => {
    fc.assert(
      fc.property(anySegment, (input) => {
        const { header } = decodeSegmentFile(encodeSegment(input));

        assert.deepEqual(decodeSegmentHeader(encodeSegmentHeader(header)), header);
      }),
    );
  });
});

suite("a large segment", () => {
  const random = seeded(5);
  const pages = [
    frameOf(1),
    ...Array.from({ length: 300 }, (_, index) => frameOf(10 + index * 20, 8, random() & 0xff)),
  ];
  const input = segmentOf({ txId: 500, parentTxId: 400, pages });

  test("is many frames of 1 MiB with a page index and a seek table, and reads as any other", async () => {
    const bytes = encodeSegment(input);
    const { data } = decodeSegmentFile(bytes);
    const table = findSeekTable(data, "x");

    assert.ok(300 * 8 * 4096 > largePayloadBytes);
    assert.equal(table?.entries[0]?.decodedBytes, seekFrameBytes);
    assert.equal(findPageIndex(data, "x")?.length, pages.length);
    assertHolds(decodeSegment(bytes), input);
    assertHolds(await decodeSegmentAsync(bytes), input);
    assertHolds(decodeSegment(await encodeSegmentAsync(input)), input);
  });

  test("has an index that tells where each run lies in the payload", () => {
    const { header, data } = decodeSegmentFile(encodeSegment(input));
    const payload = encodeSegmentPayload(header, pages).bytes;

    for (const { pageId, count, offset } of findPageIndex(data, "x") ?? []) {
      const page = pages.find(({ id }) => id === pageId);
      assert.equal(count, BigInt(page?.overflow ?? -1) + 1n);
      assert.deepEqual(payload[Number(offset)], page?.data[0]);
    }
  });

  test("whose page index lies is corrupt", () => {
    const bytes = encodeSegment(input);
    const { header, data } = decodeSegmentFile(bytes);
    const index = Buffer.from(data).indexOf(Buffer.from("5d2a4d18", "hex"));
    const lying = new Uint8Array(data);
    lying[index + 8 + 24 + 16] = (lying[index + 8 + 24 + 16] ?? 0) ^ 1;

    const file = encodeSegment({ ...header, pages }, { compression: none });
    assert.doesNotThrow(() => decodeSegment(file));
    assert.throws(() => decodeSegment(resealed(bytes, lying)), { code: "corrupt" });
  });
});

/** The file with other data and a true checksum. */
function resealed(bytes: Uint8Array, data: Uint8Array): Uint8Array {
  const { header } = decodeSegmentFile(bytes);
  return encodeSegmentFile({ data, header: { ...header, checksum: crc64(data) } });
}

suite("a segment of many frames of zstd", () => {
  test("that is not ours is read as a whole, too", () => {
    const input = segmentOf({ txId: 9, pages: [frameOf(3, 100)] });
    const { header } = decodeSegmentFile(encodeSegment(input));
    const payload = encodeSegmentPayload(header, input.pages).bytes;
    const data = Buffer.concat([
      zstdCompressSync(payload.subarray(0, 1000), 1),
      zstdCompressSync(payload.subarray(1000), 9),
    ]);

    assertHolds(decodeSegment(resealed(encodeSegment(input), data)), input);
  });
});

test("the header of txid 0 is decoded, though no chain takes it", () => {
  const bytes = encodeSegment(segmentOf({ txId: 0, parentTxId: 0 }));

  assert.equal(decodeSegment(bytes).header.txId, txId(0));
});
