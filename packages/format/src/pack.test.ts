import { strict as assert } from "node:assert";
import { suite, test } from "node:test";
import fc from "fast-check";
import { flipped } from "../testing/broken.ts";
import { decodeCbor, encodeCbor } from "./cbor.ts";
import { frameOf, segmentOf } from "./fixtures.ts";
import { decodePack, decodePackIndex, encodePack } from "./pack.ts";
import { decodeSegment, encodeSegment } from "./segment.ts";
import { withReceived } from "./segment-file.ts";
import { segmentAttrs } from "./segment-header.ts";

function segment(txId: number, parentTxId = txId - 1): Uint8Array {
  const attrs = segmentAttrs({
    pre: BigInt(parentTxId),
    post: BigInt(txId),
    stampMs: 1000 * txId,
    source: "bolt-file",
  });
  return withReceived(
    encodeSegment(segmentOf({ txId, parentTxId, attrs, pages: [frameOf(3, 1, txId)] })),
    1000 * txId + 7,
  );
}

const items = [segment(7), segment(8), segment(12, 8)].map((bytes) => ({ bytes }));
const pack = encodePack(items);

suite("a pack", () => {
  test("is a canonical CBOR map whose segments are whole files", () => {
    const map = decodeCbor(pack) as Map<string, unknown>;

    assert.deepEqual([...map.keys()], ["index", "magic", "version", "segments"]);
    assert.deepEqual([map.get("magic"), map.get("version")], ["PFPK", 1]);
    assert.deepEqual((map.get("index") as unknown[])[2], [
      8,
      12,
      12_000,
      12_007,
      (items[0]?.bytes.length ?? 0) + (items[1]?.bytes.length ?? 0),
      items[2]?.bytes.length,
      "00000000000000000000000000000008",
      "0000000000000000000000000000000c",
    ]);
    assert.deepEqual(encodeCbor(map), Buffer.from(pack));
  });

  test("splits into what was packed, each readable by itself", () => {
    const found = decodePack(pack);

    assert.deepEqual(
      found.map(({ bytes }) => Buffer.from(bytes)),
      items.map(({ bytes }) => Buffer.from(bytes)),
    );
    for (const { entry, bytes } of found) {
      assert.equal(decodeSegment(bytes).header.txId, entry.txId);
    }
  });

  test("has an index that tells what each segment says, and where it lies in the object", () => {
    const [first, , last] = decodePackIndex(pack);

    assert.deepEqual(
      { ...first, offset: 0 },
      {
        parentTxId: 6n,
        txId: 7n,
        stampMs: 7000,
        receivedMs: 7007,
        offset: 0,
        length: items[0]?.bytes.length,
        pre: 6n,
        post: 7n,
      },
    );
    assert.ok(last !== undefined);
    assert.deepEqual(
      Buffer.from(pack.subarray(last.offset, last.offset + last.length)),
      Buffer.from(items[2]?.bytes ?? []),
    );
  });

  test("gives its index from any prefix that holds it, and an error from a shorter one", () => {
    const whole = decodePackIndex(pack);
    const end = whole[0]?.offset ?? 0;

    for (let length = 0; length < pack.length; length += 1) {
      if (length < end) {
        assert.throws(() => decodePackIndex(pack.subarray(0, length)), { code: "corrupt" });
      } else {
        assert.deepEqual(decodePackIndex(pack.subarray(0, length)), whole);
        assert.throws(() => decodePack(pack.subarray(0, length)), { code: "corrupt" });
      }
    }
  });

  test("holds what a Go-made segment says, which is less", () => {
    const [entry] = decodePackIndex(encodePack([{ bytes: encodeSegment(segmentOf({ txId: 7 })) }]));

    assert.deepEqual(Object.keys(entry ?? {}).sort(), ["length", "offset", "parentTxId", "txId"]);
  });

  test("packs and splits any chain", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 30 }), (steps) => {
        let reached = 0;
        const chain = steps.map((step) => {
          reached += step;
          return { bytes: segment(reached, reached - step) };
        });

        assert.deepEqual(
          decodePack(encodePack(chain)).map(({ bytes }) => Buffer.from(bytes)),
          chain.map(({ bytes }) => Buffer.from(bytes)),
        );
      }),
      { numRuns: 20 },
    );
  });

  test("is not made of nothing, of a gap, or of a broken segment", () => {
    assert.throws(() => encodePack([]), { code: "too-large" });
    assert.throws(() => encodePack([{ bytes: segment(7) }, { bytes: segment(9) }]), { code: "gap" });
    assert.throws(() => encodePack([{ bytes: flipped(segment(7), 300) }]), { code: "corrupt" });
  });

  const rebuilt = (change: (map: Map<string, unknown>) => void): Uint8Array => {
    const map = decodeCbor(pack) as Map<string, unknown>;
    change(map);
    return encodeCbor(map);
  };
  const entry = (position: number, field: number, value: unknown) =>
    rebuilt((map) => {
      ((map.get("index") as unknown[][])[position] as unknown[])[field] = value;
    });

  for (const [what, bytes, code] of [
    ["another magic", rebuilt((map) => map.set("magic", "PFPX")), "corrupt"],
    ["a newer version", rebuilt((map) => map.set("version", 2)), "unsupported-version"],
    ["a much newer version", rebuilt((map) => map.set("version", 70_000)), "unsupported-version"],
    ["version 0", rebuilt((map) => map.set("version", 0)), "corrupt"],
    ["an empty index", rebuilt((map) => map.set("index", [])), "corrupt"],
    ["a gap in its index", entry(1, 0, 5), "corrupt"],
    ["a segment that leads back", entry(0, 1, 6), "corrupt"],
    ["overlapping segments", entry(1, 4, 3), "corrupt"],
    ["a segment beyond its end", entry(2, 5, 1_000_000), "corrupt"],
    ["a negative length", entry(0, 5, -1), "corrupt"],
    ["a text where a number belongs", entry(0, 2, "x"), "corrupt"],
    ["an entry that is too short", rebuilt((map) => map.set("index", [[1, 2]])), "corrupt"],
    ["bytes behind its end", Buffer.concat([pack, Buffer.alloc(1)]), "corrupt"],
    ["40 levels of nesting", rebuilt((map) => map.set("index", nest(40))), "corrupt"],
    ["a length of 2^62", hugeLength(), "too-large"],
  ] as const) {
    test(`with ${what} is ${code}`, () => {
      assert.throws(() => decodePack(bytes), { code });
    });
  }
});

function nest(levels: number): unknown {
  return levels === 0 ? 0 : [nest(levels - 1)];
}

function hugeLength(): Uint8Array {
  const key = Buffer.from("\x68segments", "latin1");
  const at = Buffer.from(pack).indexOf(key) + key.length;
  return Buffer.concat([pack.subarray(0, at), Buffer.from("5b4000000000000000", "hex")]);
}
