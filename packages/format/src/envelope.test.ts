import { strict as assert } from "node:assert";
import { suite, test } from "node:test";
import fc from "fast-check";
import { nested } from "../testing/broken.ts";
import { decodeCbor, encodeCbor } from "./cbor.ts";
import { decodeEnvelope, type Envelope, encodeEnvelope } from "./envelope.ts";
import { generationOf, parseDatabaseName } from "./names.ts";
import { txId } from "./txid.ts";

const u64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map(txId);
const anyGeneration = fc.uint8Array({ minLength: 8, maxLength: 8 }).map(generationOf);
const stamp = fc.integer({ min: 0, max: 253_402_300_799_999 });
const anyName = fc.constantFrom("a", "0123456789abcdef/segments/0000000000000009.segment.cbor", "ü/b c");
const plain = { noNullPrototype: true } as const;

const anyEnvelope: fc.Arbitrary<Envelope> = fc.record(
  {
    database: fc.constantFrom("app", "A.b-c_1").map(parseDatabaseName),
    begin: fc.record(
      {
        generation: anyGeneration,
        parent: fc.option(fc.record({ generation: anyGeneration, txId: u64 }, plain)),
        reason: fc.constantFrom("first", "restored", "replaced", "unprovable", "fork"),
        epoch: fc.nat(),
        host: fc.string({ maxLength: 40 }),
        pageSize: fc.constantFrom(512, 4096, 65_536),
        parentStateHash: fc.bigInt({ min: 0n, max: 2n ** 128n - 1n }),
      },
      { ...plain, requiredKeys: ["generation", "parent", "reason", "epoch", "host", "pageSize"] },
    ),
    sentAtMs: stamp,
    newestTxId: fc.option(u64),
    newestStampMs: fc.option(stamp),
    items: fc.array(
      fc.oneof(
        fc.record({ name: anyName, bytes: fc.uint8Array() }, plain),
        fc.record({ name: anyName, digest: fc.constant("0a".repeat(32)), size: fc.nat() }, plain),
      ),
      { maxLength: 5 },
    ),
  },
  plain,
);

const sample: Envelope = {
  database: parseDatabaseName("app"),
  begin: {
    generation: generationOf(new Uint8Array(8)),
    parent: { generation: generationOf(new Uint8Array(8).fill(1)), txId: txId(41) },
    reason: "restored",
    epoch: 3,
    host: "db-1",
    pageSize: 4096,
  },
  sentAtMs: 1_760_000_000_000,
  newestTxId: txId(42),
  newestStampMs: 1_760_000_000_000,
  items: [{ name: "a/b", bytes: Uint8Array.of(1, 2, 3) }],
};

suite("an envelope", () => {
  test("decodes to what was encoded", () => {
    fc.assert(
      fc.property(anyEnvelope, (envelope) => {
        const found = decodeEnvelope(encodeEnvelope(envelope));

        const items = found.items.map((item) =>
          "bytes" in item ? { ...item, bytes: new Uint8Array(item.bytes) } : item,
        );
        assert.deepEqual({ ...found, items }, envelope);
      }),
    );
  });

  test("says the state of the parent's point where a host that does not know that passes over it", () => {
    const begun = { ...sample, begin: { ...sample.begin, parentStateHash: 7n } };

    const map = decodeCbor(encodeEnvelope(begun), "envelope") as Map<string, unknown>;

    assert.equal(map.get("parentStateHash"), `${"0".repeat(31)}7`);
    assert.deepEqual(
      map.get("begin"),
      (decodeCbor(encodeEnvelope(sample), "envelope") as typeof map).get("begin"),
    );
  });

  test("without items is a heartbeat", () => {
    assert.deepEqual(decodeEnvelope(encodeEnvelope({ ...sample, items: [] })).items, []);
  });

  test("may be the last one, and says why; that is no key of any other", () => {
    const last = decodeEnvelope(encodeEnvelope({ ...sample, items: [], farewell: "unregistered" }));

    assert.equal(last.farewell, "unregistered");
    assert.equal("farewell" in decodeEnvelope(encodeEnvelope(sample)), false);
  });

  test("is taken with a key that is not known, as a newer agent may send", () => {
    const map = decodeCbor(encodeEnvelope(sample)) as Map<string, unknown>;

    assert.deepEqual(
      decodeEnvelope(encodeCbor(map.set("novelty", "x"))),
      decodeEnvelope(encodeEnvelope(sample)),
    );
  });

  test("has the keys of the contract", () => {
    const map = decodeCbor(encodeEnvelope(sample)) as Map<string, unknown>;

    assert.deepEqual([...map.keys()].sort(), [
      "begin",
      "database",
      "items",
      "newestStamp",
      "newestTxId",
      "sentAtMs",
      "version",
    ]);
    assert.deepEqual(
      [...((map.get("begin") as Map<string, unknown>).get("parent") as Map<string, unknown>)],
      [
        ["txId", "0000000000000029"],
        ["generation", "0101010101010101"],
      ],
    );
  });

  test("gives bytes as views of what came", () => {
    const bytes = encodeEnvelope(sample);
    const [item] = decodeEnvelope(bytes).items;

    assert.equal(item && "bytes" in item && item.bytes.buffer, bytes.buffer);
  });

  test("over its bound is neither made nor taken", () => {
    const items = [{ name: "a", bytes: new Uint8Array(33 * 1024 * 1024) }];

    assert.throws(() => encodeEnvelope({ ...sample, items }), { code: "too-large" });
    assert.throws(() => decodeEnvelope(new Uint8Array(33 * 1024 * 1024)), { code: "too-large" });
  });

  const broken = (change: (map: Map<string, unknown>) => void): Uint8Array => {
    const map = decodeCbor(encodeEnvelope(sample)) as Map<string, unknown>;
    change(map);
    return encodeCbor(map);
  };
  const itemNamed = (name: unknown): Uint8Array =>
    broken((map) => map.set("items", [{ name, bytes: Uint8Array.of(1) }]));
  const beginWith = (key: string, value: unknown): Uint8Array =>
    broken((map) => (map.get("begin") as Map<string, unknown>).set(key, value));

  for (const [what, bytes, code] of [
    ["a newer version", broken((map) => map.set("version", 2)), "unsupported-version"],
    ["no version", broken((map) => map.delete("version")), "corrupt"],
    ["no beginning", broken((map) => map.delete("begin")), "corrupt"],
    ["another kind of beginning", beginWith("reason", "whim"), "corrupt"],
    ["a page size that is no power of two", beginWith("pageSize", 5000), "corrupt"],
    ["a generation that is none", beginWith("generation", "x"), "corrupt"],
    [
      "a parent that is no transaction",
      beginWith("parent", { generation: "0".repeat(16), txId: "x" }),
      "corrupt",
    ],
    ["a database that is no name", broken((map) => map.set("database", "../x")), "corrupt"],
    ["an item named ..", itemNamed("a/../b"), "corrupt"],
    ["an item with an absolute name", itemNamed("/etc/passwd"), "corrupt"],
    ["an item with a NUL in its name", itemNamed("a\0"), "corrupt"],
    ["an item named by a number", itemNamed(7), "corrupt"],
    [
      "an item of bytes and digest",
      broken((map) =>
        map.set("items", [{ name: "a", bytes: Uint8Array.of(1), digest: "0".repeat(64), size: 1 }]),
      ),
      "corrupt",
    ],
    ["an item of nothing", broken((map) => map.set("items", [{ name: "a" }])), "corrupt"],
    [
      "a digest that is none",
      broken((map) => map.set("items", [{ name: "a", digest: "x", size: 1 }])),
      "corrupt",
    ],
    ["a farewell that is no reason", broken((map) => map.set("farewell", "Good-bye!")), "corrupt"],
    ["a negative time", broken((map) => map.set("sentAtMs", -1)), "corrupt"],
    ["a time beyond all", broken((map) => map.set("sentAtMs", 2n ** 63n)), "corrupt"],
    [
      "too many items",
      broken((map) =>
        map.set(
          "items",
          Array.from({ length: 5000 }, () => ({ name: "a", bytes: Uint8Array.of(1) })),
        ),
      ),
      "corrupt",
    ],
    ["bytes behind its end", Buffer.concat([encodeEnvelope(sample), Buffer.alloc(1)]), "corrupt"],
    ["its last byte cut", encodeEnvelope(sample).subarray(0, -1), "corrupt"],
    ["no map in it", encodeCbor([1]), "corrupt"],
    ["40 levels of nesting", nested(40), "corrupt"],
  ] as const) {
    test(`with ${what} is ${code}`, () => {
      assert.throws(() => decodeEnvelope(bytes), { code });
    });
  }
});
