import { strict as assert } from "node:assert";
import { suite, test } from "node:test";
import {
  flipped,
  nested,
  putTogether,
  takeApart,
  withData,
  withHeader,
  withPair,
  zstdBomb,
} from "../testing/broken.ts";
import { deliveries, type Vector, vectors } from "../testing/vectors.ts";
import { cborHead, cborMajor, decodeCbor, encodeCbor } from "./cbor.ts";
import { crc64 } from "./crc64.ts";
import { type ErrorCode, PageferryError } from "./errors.ts";
import { collect } from "./fixtures.ts";
import { decodeSegment, decodeSegmentStream, encodeSegment, type Segment } from "./segment.ts";
import { dataPrefix } from "./segment-file.ts";
import { decodeSegmentHeader } from "./segment-header.ts";
import { decodeSnapshot, decodeSnapshotHeader, type SnapshotHeader } from "./snapshot.ts";

type Sister = readonly [how: string, bytes: Uint8Array, code: ErrorCode];

/** What breaks segments and snapshots alike. */
function sisters({ bytes, truth }: Vector): Sister[] {
  const { data, header } = takeApart(bytes);
  const dataHead = dataPrefix.length + cborHead(cborMajor.bytes, data.length).length;
  const middle = (dataHead + (data.length >> 1)) * 8;
  const checked = data.length === 0 ? bytes : withHeader(bytes, { checksum: crc64(data) });
  const huge = Buffer.concat([
    dataPrefix,
    Buffer.from("5b4000000000000000", "hex"),
    bytes.subarray(dataHead),
  ]);
  return [
    [
      "with a flipped bit in its header's length",
      flipped(bytes, (bytes.length - encodeCbor(header).length) * 8),
      "corrupt",
    ],
    ...(data.length === 0
      ? []
      : [["with a flipped bit in its data", flipped(checked, middle), "corrupt"] satisfies Sister]),
    ["without its last byte", bytes.subarray(0, -1), "corrupt"],
    ["cut in the middle", bytes.subarray(0, bytes.length >> 1), "corrupt"],
    ["cut in its first bytes", bytes.subarray(0, 6), "corrupt"],
    ["with a byte behind its end", Buffer.concat([bytes, Buffer.alloc(1)]), "corrupt"],
    [
      "with itself behind its end",
      Buffer.concat([bytes, bytes]),
      truth.dataLength > 65_000 ? "too-large" : "corrupt",
    ],
    ["with another magic", withHeader(bytes, { magic: "BTLX" }), "corrupt"],
    ["without a magic", withHeader(bytes, { magic: "" }), "corrupt"],
    ["of a newer version", withHeader(bytes, { version: 2 }), "unsupported-version"],
    ["of version 0", withHeader(bytes, { version: 0 }), "corrupt"],
    [
      "packed with a codec of later days",
      withHeader(bytes, { compression: "brotli" }),
      "unsupported-version",
    ],
    ["with a length of 2^62", huge, "too-large"],
    ["with 40 levels of nesting", withPair(bytes, "deep", nested(40)), "corrupt"],
    ["with a key twice", withPair(bytes, "txId", encodeCbor(1)), "corrupt"],
    ["with a key twice, in another case", withPair(bytes, "TXID", encodeCbor(1)), "corrupt"],
    ["with a negative transaction id", withHeader(bytes, { txId: -1 }), "corrupt"],
    ["with a text that is not UTF-8", withPair(bytes, "note", Buffer.from("61ff", "hex")), "corrupt"],
    ["with a tag that means nothing", withPair(bytes, "note", Buffer.from("d81c00", "hex")), "corrupt"],
    ["with a header of 100,000 bytes", withHeader(bytes, { note: "x".repeat(100_000) }), "too-large"],
    ["whose header is no map", putTogether(data, encodeCbor(7)), "corrupt"],
    ["whose header is missing", bytes.subarray(0, dataHead + data.length), "corrupt"],
  ];
}

/** Byte by byte only where that is quick. */
function fewDeliveries(bytes: Uint8Array): ReturnType<typeof deliveries> {
  return bytes.length > 2000 ? deliveries(bytes).slice(0, 2) : deliveries(bytes);
}

interface Page {
  readonly ID: number | bigint;
  readonly Overflow: number;
  readonly Data: Uint8Array;
}

/** The segment with other pages, its checksum true, uncompressed. */
function withPages(bytes: Uint8Array, pages: readonly Page[]): Uint8Array {
  const { header } = takeApart(bytes);
  const inner = new Map([...header, ["checksum", 0], ["compression", "none"]]);
  return withData(bytes, encodeCbor({ pages, header: inner }), { compression: "none" });
}

function pageOf(id: number, pages: number, pageSize: number): Page {
  return { ID: id, Overflow: pages - 1, Data: new Uint8Array(pages * pageSize) };
}

/** What breaks segments only. */
function segmentSisters({ name, bytes, truth }: Vector): Sister[] {
  const { pageSize } = truth.header;
  const page = (id: number, pages = 1): Page => pageOf(id, pages, pageSize);
  const payload = encodeCbor({ pages: [], header: takeApart(bytes).header });
  // With a high-water mark of 2^64-1 the bomb is not too large for such a database: its zeros are no CBOR.
  const bombCode = name === "seg-none-maxu64" ? "corrupt" : "too-large";
  return [
    ["that is a zstd bomb", withData(bytes, zstdBomb(), { compression: "zstd" }), bombCode],
    ["with overlapping frames", withPages(bytes, [page(10, 4), page(12)]), "corrupt"],
    ["with the same page twice", withPages(bytes, [page(10), page(10)]), "corrupt"],
    ["with descending frames", withPages(bytes, [page(12), page(10)]), "corrupt"],
    ["with a frame short of its pages", withPages(bytes, [{ ...page(10), Overflow: 1 }]), "corrupt"],
    ["with a run beyond all page ids", withPages(bytes, [{ ...page(0, 2), ID: 2n ** 64n - 1n }]), "corrupt"],
    ["with a negative page id", withPages(bytes, [{ ...page(10), ID: -10 }]), "corrupt"],
    [
      "with 40 levels of nesting in its payload",
      withData(bytes, nested(40), { compression: "none" }),
      "corrupt",
    ],
    [
      "with bytes behind its payload",
      withData(bytes, Buffer.concat([payload, payload]), { compression: "none" }),
      "corrupt",
    ],
    [
      "with another high-water mark outside than inside",
      withHeader(bytes, { highWaterMark: 7777 }),
      "corrupt",
    ],
    ["with another time outside than inside", withHeader(bytes, { createdAt: 7 }), "corrupt"],
    ["with an attribute outside alone", withHeader(bytes, { additionalAttrs: { post: "00" } }), "corrupt"],
    ["with another checksum", withHeader(bytes, { checksum: 7 }), "corrupt"],
    ["with an attribute that is no text", withHeader(bytes, { additionalAttrs: { stamp: 7 } }), "corrupt"],
  ];
}

suite("a broken segment", () => {
  for (const vector of vectors("segment")) {
    for (const [how, bytes, code] of [...sisters(vector), ...segmentSisters(vector)]) {
      test(`${vector.name} ${how} is ${code}`, async () => {
        assert.throws(() => decodeSegment(bytes), { code });
        for (const [, chunks] of fewDeliveries(bytes)) {
          await assert.rejects(decodeSegmentStream(chunks), { code });
        }
      });
    }
  }
});

async function decodeWholeSnapshot(chunks: AsyncIterable<Uint8Array>): Promise<SnapshotHeader> {
  // Nothing that a vector holds is a megabyte; a limit of its own is what stops a bomb before the header is known.
  const { raw, header } = decodeSnapshot(chunks, { checkLength: false, rawBytesMax: 1024 * 1024 });
  await collect(raw);
  return header;
}

suite("a broken snapshot", () => {
  for (const vector of vectors("snapshot")) {
    const bomb: Sister = [
      "that is a zstd bomb",
      withData(vector.bytes, zstdBomb(), { compression: "zstd" }),
      "too-large",
    ];
    const other: Sister = [
      "with another codec than its header says",
      withHeader(vector.bytes, { compression: vector.truth.header.compression === "zstd" ? "none" : "zstd" }),
      "corrupt",
    ];
    const own = vector.truth.dataLength === 0 ? [bomb] : [bomb, other];
    for (const [how, bytes, code] of [...sisters(vector), ...own]) {
      test(`${vector.name} ${how} is ${code}`, async () => {
        for (const [, chunks] of fewDeliveries(bytes)) {
          await assert.rejects(decodeWholeSnapshot(chunks), { code });
        }
      });
    }
  }
});

/** Runs a decoder; a value, or the code of the error it gave. Any other error is a failure. */
function outcome<Value>(decode: () => Value): Value | ErrorCode {
  try {
    return decode();
  } catch (error) {
    assert.ok(error instanceof PageferryError, `not a coded error: ${error}`);
    return error.code;
  }
}

suite("a single flipped bit", () => {
  const small = vectors("segment").filter(
    ({ name, bytes }) => bytes.length < 320 || name === "seg-zstd-cfg04",
  );
  for (const { name, bytes } of small) {
    test(`anywhere in ${name} gives an error, or the very same segment`, () => {
      const truth = decodeSegment(bytes);
      const different: number[] = [];

      for (let bit = 0; bit < bytes.length * 8; bit += 1) {
        const found = outcome(() => decodeSegment(flipped(bytes, bit)));
        if (typeof found !== "string" && !isSame(found, truth)) {
          different.push(bit);
        }
      }

      assert.deepEqual(different, []);
    });
  }

  test("anywhere in a header by itself gives a header or an error", () => {
    for (const [kind, decode] of [
      ["segmentHeader", decodeSegmentHeader],
      ["snapshotHeader", decodeSnapshotHeader],
    ] as const) {
      for (const { bytes } of vectors(kind)) {
        for (let bit = 0; bit < bytes.length * 8; bit += 1) {
          outcome<object>(() => decode(flipped(bytes, bit)));
        }
      }
    }
  });
});

function isSame(a: Segment, b: Segment): boolean {
  const none = { codec: "none", level: 0, window: 0 };
  const encode = ({ header, pages }: Segment): Uint8Array =>
    encodeSegment({ ...header, pages }, { compression: none });
  return Buffer.compare(encode(a), encode(b)) === 0;
}

suite("the builders of broken files", () => {
  test("leave a file whole that they do not break", () => {
    for (const { bytes } of vectors("segment")) {
      const { data } = takeApart(bytes);

      decodeSegment(withData(bytes, data));
      decodeSegment(withPages(bytes, []));
      decodeSegment(withPages(bytes, [pageOf(10, 2, decodeSegment(bytes).header.pageSize)]));
      assert.deepEqual(decodeCbor(nested(3)), [[[0]]]);
    }
  });
});
