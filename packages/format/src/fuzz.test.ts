// A hundred thousand mutations of good files: each ends in a value or a coded error, in bounded time and memory.
// A failure prints the mutation's number; `mutation(number)` makes it again.
import { strict as assert } from "node:assert";
import { suite, test } from "node:test";
import { takeApart, withData } from "../testing/broken.ts";
import { vectors } from "../testing/vectors.ts";
import { cborHead, cborMajor } from "./cbor.ts";
import { parseRestoreState } from "./descriptors.ts";
import { decodeEnvelope, encodeEnvelope } from "./envelope.ts";
import { PageferryError } from "./errors.ts";
import { collect, frameOf, seeded, segmentOf } from "./fixtures.ts";
import { formatGenerationJson, parseGenerationJson } from "./generation-json.ts";
import { type Generation, parseDatabaseName, parseObjectName } from "./names.ts";
import { formatNeeds, parseNeeds } from "./needs.ts";
import { decodePack, encodePack } from "./pack.ts";
import { decodeSegment, encodeSegment } from "./segment.ts";
import { decodeSegmentHeader } from "./segment-header.ts";
import { decodeSnapshot, decodeSnapshotHeader } from "./snapshot.ts";
import { txId } from "./txid.ts";
import { zstdCompressSync } from "./zstd.ts";
import { fallbackDecompress } from "./zstd-fallback.ts";

type Random = () => number;

interface Target {
  readonly name: string;
  readonly seeds: readonly Uint8Array[];
  readonly mutations: number;
  readonly decode: (bytes: Uint8Array) => unknown;
  /** Mutates inside a file, where a checksum or a compression is to be got past. Default: `mutate`. */
  readonly make?: (file: Uint8Array, random: Random) => Uint8Array;
}

/** Numbers that lengths and counts break at. */
const edges = [
  0,
  1,
  23,
  24,
  0xff,
  0x100,
  0xffff,
  0x1_0000,
  131_072,
  131_073,
  2 ** 31,
  2 ** 32,
  2 ** 53,
  2n ** 62n,
  2n ** 64n - 1n,
];

function mutate(bytes: Uint8Array, random: Random): Uint8Array {
  let result = Buffer.from(bytes);
  for (let count = 1 + (random() % 4); count > 0; count -= 1) {
    const at = random() % (result.length + 1);
    const to = Math.min(result.length, at + (random() % 40));
    switch (random() % 7) {
      case 0:
      case 1:
        result[at] = (result[at] ?? 0) ^ (1 << (random() % 8));
        break;
      case 2:
        result[at] = random() & 0xff;
        break;
      case 3:
        result = Buffer.concat([result.subarray(0, at), result.subarray(to)]);
        break;
      case 4:
        result = Buffer.concat([result.subarray(0, to), result.subarray(at, to), result.subarray(to)]);
        break;
      case 5:
        result = result.subarray(0, at);
        break;
      default: {
        const edge = edges[random() % edges.length] ?? 0;
        const head = cborHead(
          [cborMajor.bytes, cborMajor.array, cborMajor.map, cborMajor.text][random() % 4] ?? 0,
          edge,
        );
        result = Buffer.concat([result.subarray(0, at), head, result.subarray(at + 1)]);
      }
    }
  }
  return result;
}

const segments = vectors("segment").map(({ bytes }) => bytes);
const small = segments.filter((bytes) => bytes.length < 5000);
const snapshots = vectors("snapshot").map(({ bytes }) => bytes);
const own = encodeSegment(
  segmentOf({ txId: 9, pages: [frameOf(1), frameOf(3, 2), frameOf(9)], attrs: { stamp: "7" } }),
);
const pack = encodePack([
  { bytes: encodeSegment(segmentOf({ txId: 8, pages: [] })) },
  { bytes: encodeSegment(segmentOf({ txId: 9, pages: [] })) },
]);
const generation = "0123456789abcdef" as Generation;
const begin = {
  generation,
  parent: { generation, txId: txId(7) },
  reason: "restored",
  epoch: 3,
  host: "db-1",
  pageSize: 4096,
} as const;
const envelope = encodeEnvelope({
  database: parseDatabaseName("app"),
  begin,
  sentAtMs: 1_760_000_000_000,
  newestTxId: txId(9),
  newestStampMs: 1_760_000_000_000,
  items: [
    { name: "0123456789abcdef/segments/0000000000000009.segment.cbor", bytes: own },
    { name: "a", digest: "0".repeat(64), size: 7 },
  ],
});

async function decodeWholeSnapshot(bytes: Uint8Array): Promise<unknown> {
  const { raw, header } = decodeSnapshot([bytes], { checkLength: false, rawBytesMax: 16 * 1024 * 1024 });
  await collect(raw);
  return header;
}

const targets: readonly Target[] = [
  { name: "segments", seeds: [...segments, own], mutations: 20_000, decode: decodeSegment },
  {
    name: "segments whose stored data is mutated and whose checksum is true",
    seeds: [...small, own],
    mutations: 20_000,
    decode: decodeSegment,
    make: (file, random) => withData(file, mutate(takeApart(file).data, random)),
  },
  {
    name: "segments whose payload is mutated and then compressed",
    seeds: small.filter((bytes) => takeApart(bytes).header.get("compression") === "none"),
    mutations: 10_000,
    decode: decodeSegment,
    make: (file, random) => {
      const inner = mutate(takeApart(file).data, random);
      return withData(file, random() % 2 === 0 ? inner : zstdCompressSync(inner, 1));
    },
  },
  {
    name: "segment headers",
    seeds: vectors("segmentHeader").map(({ bytes }) => bytes),
    mutations: 15_000,
    decode: decodeSegmentHeader,
  },
  {
    name: "snapshot headers",
    seeds: vectors("snapshotHeader").map(({ bytes }) => bytes),
    mutations: 5_000,
    decode: decodeSnapshotHeader,
  },
  { name: "snapshots", seeds: snapshots, mutations: 10_000, decode: decodeWholeSnapshot },
  {
    name: "snapshots whose stored data is mutated",
    seeds: snapshots,
    mutations: 5_000,
    decode: decodeWholeSnapshot,
    make: (file, random) => withData(file, mutate(takeApart(file).data, random)),
  },
  { name: "packs", seeds: [pack], mutations: 5_000, decode: decodePack },
  { name: "envelopes", seeds: [envelope], mutations: 5_000, decode: decodeEnvelope },
  {
    name: "documents",
    seeds: [
      formatGenerationJson({ ...begin, version: 1, receivedAtMs: 7 }),
      formatNeeds({
        version: 1,
        newestEpoch: 3,
        generations: { [generation]: { storedTxId: txId(7), missing: [[txId(3), txId(5)]], snapshot: true } },
      }),
    ],
    mutations: 2_000,
    decode: (bytes) =>
      [parseGenerationJson, parseNeeds, parseRestoreState].map((parse) => settle(() => parse(bytes))),
  },
  {
    name: "names",
    seeds: [
      Buffer.from("0123456789abcdef/segments/0000000000000009-000000000000000a-01a203b02866.segment.cbor"),
    ],
    mutations: 2_000,
    decode: (bytes) => parseObjectName(Buffer.from(bytes).toString("latin1")),
  },
  {
    name: "zstd frames by the fallback",
    seeds: [takeApart(own).data],
    mutations: 1_000,
    decode: (bytes) => fallbackDecompress(bytes, 1024 * 1024),
  },
];

function settle<Value>(decode: () => Value): Value | PageferryError {
  try {
    return decode();
  } catch (error) {
    return refusal(error);
  }
}

function refusal(error: unknown): PageferryError {
  if (error instanceof PageferryError) {
    return error;
  }
  throw error;
}

const oneMutationMsMax = 10_000;
const memoryBytesMax = 400 * 1024 * 1024;

suite("a mutated file gives a value or a coded error", () => {
  const before = process.memoryUsage.rss();
  for (const [position, target] of targets.entries()) {
    test(`${target.mutations} ${target.name}`, async () => {
      let refused = 0;
      for (let number = 0; number < target.mutations; number += 1) {
        const random = seeded(position * 1_000_003 + number);
        const seed = target.seeds[random() % target.seeds.length] as Uint8Array;
        const bytes = (target.make ?? mutate)(seed, random);
        const startedAt = performance.now();
        try {
          await target.decode(bytes);
        } catch (error) {
          assert.ok(error instanceof PageferryError, `mutation ${number}: ${(error as Error)?.stack}`);
          refused += 1;
        }
        const tookMs = performance.now() - startedAt;
        assert.ok(tookMs < oneMutationMsMax, `mutation ${number} took ${tookMs} ms`);
      }
      const grown = process.memoryUsage.rss() - before;

      assert.ok(grown < memoryBytesMax, `grew by ${grown} bytes`);
      assert.ok(
        refused < target.mutations,
        "every mutation was refused: nothing was tried beyond the first check",
      );
    });
  }

  test("and there were a hundred thousand of them", () => {
    assert.ok(targets.reduce((sum, { mutations }) => sum + mutations, 0) >= 100_000);
  });
});
