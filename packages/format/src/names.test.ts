import { strict as assert } from "node:assert";
import { suite, test } from "node:test";
import fc from "fast-check";
import { stampMsMax } from "./limits.ts";
import {
  checkObjectName,
  compareObjectNames,
  generationJsonName,
  generationOf,
  type ObjectName,
  packName,
  parseDatabaseName,
  parseGeneration,
  parseObjectName,
  segmentName,
  snapshotName,
} from "./names.ts";
import { txId } from "./txid.ts";

const anyGeneration = fc.uint8Array({ minLength: 8, maxLength: 8 }).map(generationOf);
const anyStamp = fc.integer({ min: 0, max: stampMsMax });
const u64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
const anyRange = fc
  .record({
    generation: anyGeneration,
    parentTxId: fc.bigInt({ min: 0n, max: 2n ** 63n }).map(txId),
    count: fc.bigInt({ min: 1n, max: 2n ** 62n }),
    stampMs: anyStamp,
  })
  .map(({ count, ...rest }) => ({ ...rest, txId: txId(rest.parentTxId + count) }));

function parsed(name: string): ObjectName {
  const found = parseObjectName(name);
  assert.ok(found !== undefined, `${name} is read`);
  return found;
}

suite("a segment's name", () => {
  test("says what it was made of", () => {
    const generation = parseGeneration("45c401b6d4ba52fe");
    const name = segmentName({ generation, parentTxId: txId(377), txId: txId(451), stampMs: 0x01a203b02866 });

    assert.equal(
      name,
      "45c401b6d4ba52fe/segments/000000000000017a-00000000000001c3-01a203b02866.segment.cbor",
    );
    assert.deepEqual(parseObjectName(name), {
      kind: "segment",
      name,
      generation,
      firstTxId: 378n,
      lastTxId: 451n,
      stampMs: 0x01a203b02866,
    });
  });

  test("reads back to what it was made of, and so does a pack's", () => {
    fc.assert(
      fc.property(anyRange, (range) => {
        for (const [kind, name] of [
          ["segment", segmentName(range)],
          ["pack", packName(range)],
        ] as const) {
          const found = parsed(name);
          assert.ok(found.kind === kind);
          assert.deepEqual(
            [found.generation, found.firstTxId, found.lastTxId, found.stampMs],
            [range.generation, range.parentTxId + 1n, range.txId, range.stampMs],
          );
        }
      }),
    );
  });

  test("with any other character in any place is one exactly where its pattern says so", () => {
    const pattern =
      /^[0-9a-f]{16}\/segments\/([0-9a-f]{16})-([0-9a-f]{16})-[0-9a-f]{12}\.(segment|pack)\.cbor$/;
    const character = fc.constantFrom(..."09afgAF-./:`@ é\u0660");
    fc.assert(
      fc.property(anyRange, fc.boolean(), fc.nat(90), character, (range, isPack, at, other) => {
        const whole = isPack ? packName(range) : segmentName(range);
        const name = whole.slice(0, at) + other + whole.slice(at + 1);
        const [, first = "", last = ""] = pattern.exec(name) ?? [];
        const isRange =
          first !== "" && BigInt(`0x${first}`) > 0n && BigInt(`0x${first}`) <= BigInt(`0x${last}`);

        const parsed = parseObjectName(name);

        assert.equal(parsed?.kind === "segment" || parsed?.kind === "pack", isRange, name);
        if (parsed === undefined || !("firstTxId" in parsed)) return;
        assert.deepEqual([parsed.firstTxId, parsed.lastTxId], [BigInt(`0x${first}`), BigInt(`0x${last}`)]);
      }),
      { numRuns: 2000 },
    );
  });

  test("in Go's form holds one transaction and no time", () => {
    const found = parsed("45c401b6d4ba52fe/segments/0000000000000016.segment.cbor");

    assert.ok(found.kind === "segment");
    assert.deepEqual([found.firstTxId, found.lastTxId, found.stampMs], [0x16n, 0x16n, null]);
  });

  test("is not made of a range that leads nowhere", () => {
    const generation = parseGeneration("45c401b6d4ba52fe");

    assert.throws(() => segmentName({ generation, parentTxId: txId(7), txId: txId(7), stampMs: 0 }), {
      code: "bad-name",
    });
    assert.throws(() => segmentName({ generation, parentTxId: txId(7), txId: txId(8), stampMs: -1 }), {
      code: "bad-name",
    });
  });
});

suite("a snapshot's name", () => {
  test("has nine fraction digits and reads back to its time and transaction", () => {
    fc.assert(
      fc.property(anyGeneration, u64, anyStamp, (generation, id, stampMs) => {
        const name = snapshotName({ generation, txId: txId(id), stampMs });

        const found = parsed(name);
        assert.match(name, /\.\d{9}Z-[0-9a-f]{16}\.snapshot\.cbor$/);
        assert.ok(found.kind === "snapshot");
        assert.deepEqual([found.generation, found.txId, found.createdAtMs], [generation, id, stampMs]);
      }),
    );
  });

  for (const [time, ms] of [
    ["2025-10-09T08:07:06Z", 1759997226000],
    ["2025-10-09T08:07:06.123456789Z", 1759997226123],
    ["2025-01-02T03:04:05.12Z", 1735787045120],
    ["2025-01-02T03:04:05-05:30", 1735806845000],
    ["0001-01-01T00:00:00Z", -62135596800000],
  ] as const) {
    test(`in Go's form ${time} is read as ${ms} ms`, () => {
      const found = parsed(`45c401b6d4ba52fe/snapshots/${time}-0000000000000051.snapshot.cbor`);

      assert.ok(found.kind === "snapshot");
      assert.deepEqual([found.createdAtMs, found.createdAt], [ms, time]);
    });
  }
});

suite("names in an archive", () => {
  test("sort by transaction and never by clock", () => {
    const ordered = (names: readonly string[]): string[] =>
      names
        .map(parsed)
        .sort(compareObjectNames)
        .map(({ name }) => name);
    const generation = parseGeneration("45c401b6d4ba52fe");
    const early = segmentName({ generation, parentTxId: txId(9), txId: txId(10), stampMs: 9000 });
    const late = segmentName({ generation, parentTxId: txId(10), txId: txId(11), stampMs: 1 });
    const snapshot = snapshotName({ generation, txId: txId(10), stampMs: 99_999 });
    const go = `${generation}/segments/0000000000000009.segment.cbor`;

    assert.deepEqual(ordered([late, "_state.json", early, snapshot, go]), [
      go,
      snapshot,
      early,
      late,
      "_state.json",
    ]);
  });

  test("of one generation compare as their last transactions do", () => {
    const generation = parseGeneration("45c401b6d4ba52fe");
    fc.assert(
      fc.property(anyRange, anyRange, (a, b) => {
        const [left, right] = [a, b].map((range) => parsed(segmentName({ ...range, generation })));
        assert.ok(left !== undefined && right !== undefined);
        const sign = Math.sign(compareObjectNames(left, right));

        assert.equal(Math.sign(compareObjectNames(right, left)), -sign || 0);
        if (a.txId !== b.txId) {
          assert.equal(sign, a.txId < b.txId ? -1 : 1);
        }
      }),
    );
  });

  for (const [name, kind] of [
    ["45c401b6d4ba52fe/generation.json", "generation"],
    ["_state.json", "state"],
    ["needs.json", "needs"],
    ["leases/x.json", "lease"],
    ["marks/2026/a", "mark"],
    ["pins/a", "pin"],
    ["evidence/a.json", "evidence"],
    ["quarantine/45c401b6d4ba52fe/segments/x", "quarantine"],
  ] as const) {
    test(`${name} is a ${kind}`, () => {
      assert.equal(parseObjectName(name)?.kind, kind);
    });
  }

  test("a generation's document lies in it", () => {
    assert.equal(generationJsonName(parseGeneration("45c401b6d4ba52fe")), "45c401b6d4ba52fe/generation.json");
  });

  for (const name of [
    "",
    "x",
    "leases",
    "leases/../x",
    "45c401b6d4ba52fe",
    "45C401B6D4BA52FE/generation.json",
    "45c401b6d4ba52fe/segments/0000000000000016.segment.cbor.tmp",
    "45c401b6d4ba52fe/segments/a/0000000000000016.segment.cbor",
    "45c401b6d4ba52fe/segments/0000000000000017-0000000000000016-01a203b02866.segment.cbor",
    "45c401b6d4ba52fe/segments/0000000000000000-0000000000000016-01a203b02866.segment.cbor",
    "45c401b6d4ba52fe/snapshots/2025-13-09T08:07:06Z-0000000000000051.snapshot.cbor",
    "45c401b6d4ba52fe/snapshots/0000000000000051.snapshot.cbor",
  ]) {
    test(`"${name}" is none of ours`, () => {
      assert.equal(parseObjectName(name), undefined);
    });
  }
});

suite("a name used as a path", () => {
  for (const name of ["", "/a", "a//b", "../a", "a/..", "./a", "a\0b", "a\\b", "x".repeat(1025), "\ud800"]) {
    test(`may not be ${JSON.stringify(name.slice(0, 20))}`, () => {
      assert.throws(() => checkObjectName(name), { code: "bad-name" });
    });
  }

  test("may be any other", () => {
    assert.equal(checkObjectName("a/..b/c d/ü.json"), "a/..b/c d/ü.json");
  });
});

suite("a database's name", () => {
  for (const name of ["app", "A-1_2.db", "x".repeat(64)]) {
    test(`may be ${name}`, () => {
      assert.equal(parseDatabaseName(name), name);
    });
  }

  for (const name of ["", ".app", "-a", "a/b", "a b", "ä", "x".repeat(65), "..", "a\0"]) {
    test(`may not be ${JSON.stringify(name)}`, () => {
      assert.throws(() => parseDatabaseName(name), { code: "bad-name" });
    });
  }
});

suite("a generation", () => {
  test("is 16 lower-case hex digits", () => {
    assert.equal(generationOf(Uint8Array.of(0, 1, 2, 3, 4, 5, 6, 255)), "00010203040506ff");
    for (const text of ["", "45C401B6D4BA52FE", "45c401b6d4ba52f", "45c401b6d4ba52fe0"]) {
      assert.throws(() => parseGeneration(text), { code: "bad-name" });
    }
    assert.throws(() => generationOf(new Uint8Array(7)), { code: "bad-name" });
  });
});
