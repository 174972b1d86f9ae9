import { strict as assert } from "node:assert";
import { suite, test } from "node:test";
import fc from "fast-check";
import { cborHead, cborHeadLength, cborMajor, decodeCbor, encodeCbor, readCborHead } from "./cbor.ts";
import { cborFields } from "./cbor-fields.ts";

function hex(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, "hex"));
}

suite("canonical CBOR", () => {
  // RFC 8949, appendix A, as far as our dialect goes.
  for (const [value, expected] of [
    [0, "00"],
    [23, "17"],
    [24, "1818"],
    [1000, "1903e8"],
    [1_000_000, "1a000f4240"],
    [2 ** 32, "1b0000000100000000"],
    [1_000_000_000_000, "1b000000e8d4a51000"],
    [5n, "05"],
    [2n ** 64n - 1n, "1bffffffffffffffff"],
    [-1, "20"],
    [-1000, "3903e7"],
    [-(2 ** 31) - 1, "3a80000000"],
    [-(2n ** 32n), "3affffffff"],
    [1.5, "fb3ff8000000000000"],
    [false, "f4"],
    [true, "f5"],
    [null, "f6"],
    ["ü", "62c3bc"],
    [hex("01020304"), "4401020304"],
    [[1, [2, 3]], "8201820203"],
    [{ bb: 1, a: 2, c: 3, none: undefined }, "a3616102616303626262" + "01"],
    [
      new Map([
        ["ü", 1],
        ["zz", 2],
        ["a", 3],
      ]),
      "a36161036" + "27a7a0262c3bc01",
    ],
  ] as const) {
    test(`of ${typeof value === "bigint" ? `${value}n` : JSON.stringify(value)} is ${expected}`, () => {
      assert.equal(Buffer.from(encodeCbor(value)).toString("hex"), expected);
    });
  }

  test("has the shortest head for every length", () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), (argument) => {
        const head = cborHead(cborMajor.uint, argument);

        assert.equal(head.length, cborHeadLength(argument));
        assert.equal(BigInt(decodeCbor(head) as number), argument);
      }),
    );
  });

  const json = fc.letrec((tie) => ({
    value: fc.oneof(
      fc.integer(),
      fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n }),
      fc.string({ unit: "grapheme" }),
      fc.boolean(),
      fc.constant(null),
      fc.uint8Array(),
      fc.double().filter((number) => !Number.isInteger(number) && !Number.isNaN(number)),
      fc.array(tie("value"), { maxLength: 5 }),
      fc
        .uniqueArray(fc.tuple(fc.string(), tie("value")), { selector: ([key]) => key, maxLength: 5 })
        .map((pairs) => new Map(pairs)),
    ),
  }));

  /** Numbers of either kind as bigint, views as arrays: what a value is, however it came. */
  function plain(value: unknown): unknown {
    if (typeof value === "number") {
      return Number.isInteger(value) ? BigInt(value) : value;
    }
    if (value instanceof Uint8Array) {
      return [...value];
    }
    if (value instanceof Map) {
      return [...value]
        .map(([key, entry]) => [key, plain(entry)])
        .sort(([a], [b]) => (String(a) < String(b) ? -1 : 1));
    }
    return Array.isArray(value) ? value.map(plain) : value;
  }

  test("decodes to what was encoded, and encodes to the same bytes again", () => {
    fc.assert(
      fc.property(json.value, (value) => {
        const bytes = encodeCbor(value);

        const decoded = decodeCbor(bytes);

        assert.deepEqual(plain(decoded), plain(value));
        assert.deepEqual(encodeCbor(decoded), bytes);
      }),
    );
  });
});

suite("decoding CBOR", () => {
  test("gives byte strings as views, not copies", () => {
    const bytes = encodeCbor({ data: new Uint8Array(100) });

    const data = (decodeCbor(bytes) as Map<string, Uint8Array>).get("data");

    assert.equal(data?.buffer, bytes.buffer);
  });

  test("leaves nothing behind on the bytes it was given", () => {
    const bytes = encodeCbor([1]);

    decodeCbor(bytes);

    assert.deepEqual(Object.keys(bytes), ["0", "1"]);
  });

  test("takes a map of indefinite length, as Go does", () => {
    assert.deepEqual(decodeCbor(hex("bf616101ff")), new Map([["a", 1]]));
    assert.deepEqual(decodeCbor(hex("9f0102ff")), [1, 2]);
  });

  test("keeps a key that objects would not", () => {
    assert.deepEqual(decodeCbor(encodeCbor(new Map([["__proto__", 1]]))), new Map([["__proto__", 1]]));
  });

  for (const [why, bytes] of [
    ["is empty", ""],
    ["has bytes behind its end", "0000"],
    ["ends within a head", "19ff"],
    ["ends within a text", "6261"],
    ["has a length of 2^62", "5b4000000000000000"],
    ["has an array of 2^62", "9b4000000000000000"],
    ["has an array longer than its bytes", "9a0001ffff00"],
    ["has a map longer than its bytes", "b900ff616100"],
    ["has more elements than Go reads", "9a00020001"],
    ["is nested 33 deep", `${"81".repeat(33)}00`],
    ["has a key twice", "a2616101616102"],
    [
      "has a key twice among many",
      `b4${"616101".repeat(2)}${Array.from({ length: 18 }, (_, n) => `61${(0x62 + n).toString(16)}01`).join("")}`,
    ],
    ["has a key that is no text", "a10102"],
    ["has a key of bytes", "a1416102"],
    ["has a text of indefinite length", "7f6161ff"],
    ["has bytes of indefinite length", "5f4161ff"],
    ["has a key of indefinite length", "a17f6161ff01"],
    ["has an unended map of indefinite length", "bf616101"],
    ["has a break outside of one", "ff"],
    ["has a text that is not UTF-8", "61ff"],
    ["has a surrogate in UTF-8", "63eda080"],
    ["has a tag we do not know", "d81c81d81d00"],
    ["has a record, which the decoder itself would take", "d9dfff83183f81616101"],
    ["has a bignum", "c249010000000000000000"],
    ["has a time tag before an array", "c180"],
    ["has a simple value", "f8ff"],
    ["has a reserved head", "1c"],
  ] as const) {
    test(`refuses what ${why}`, () => {
      assert.throws(() => decodeCbor(hex(bytes)), { code: "corrupt" });
    });
  }

  test("takes what is nested 32 deep", () => {
    decodeCbor(hex(`${"81".repeat(32)}00`));
  });

  test("allocates nothing for a length that is not there", () => {
    const before = process.memoryUsage().arrayBuffers;

    for (let count = 0; count < 1000; count += 1) {
      assert.throws(() => decodeCbor(hex("9a0001ffff9a0001ffff9a0001ffff")), { code: "corrupt" });
    }

    assert.ok(process.memoryUsage().arrayBuffers - before < 8 * 1024 * 1024);
  });
});

suite("a head by itself", () => {
  test("is read, or more is asked for", () => {
    assert.deepEqual(readCborHead(hex("590100"), 0, "x"), { major: 2, argument: 256, end: 3 });
    assert.equal(readCborHead(hex("5901"), 0, "x"), undefined);
    assert.equal(readCborHead(hex(""), 0, "x"), undefined);
    assert.throws(() => readCborHead(hex("5f"), 0, "x"), { code: "corrupt" });
  });
});

suite("fields of a map", () => {
  const fields = cborFields(
    new Map<string, unknown>([
      ["TxId", 7],
      ["text", "a"],
      ["big", 2n ** 63n],
      ["null", null],
      ["minus", -3],
      ["bytes", Uint8Array.of(1)],
      ["list", [1]],
    ]),
    "thing",
  );

  test("match in any case; missing or null ones are zero", () => {
    assert.equal(fields.uint("txId"), 7n);
    assert.equal(fields.uint("big"), 2n ** 63n);
    assert.equal(fields.uint("absent"), 0n);
    assert.equal(fields.uint("null"), 0n);
    assert.equal(fields.text("absent"), "");
    assert.equal(fields.integer("minus"), -3);
    assert.equal(fields.map("absent").size, 0);
    assert.deepEqual([fields.has("txid"), fields.has("null")], [true, false]);
  });

  for (const [what, read] of [
    ["a text is a number", () => fields.text("txid")],
    ["a number is a text", () => fields.uint("text")],
    ["a count is negative", () => fields.count("minus")],
    ["a count is too large", () => fields.count("txid", 6)],
    ["an integer does not fit", () => fields.integer("big")],
    ["an array is missing", () => fields.array("absent")],
    ["bytes are a list", () => fields.bytes("list")],
    ["a map is a list", () => fields.map("list")],
    ["it is no map at all", () => cborFields([], "thing")],
    [
      "a key comes twice in two cases",
      () =>
        cborFields(
          new Map([
            ["a", 1],
            ["A", 2],
          ]),
          "thing",
        ),
    ],
  ] as const) {
    test(`are refused where ${what}`, () => {
      assert.throws(read, { code: "corrupt" });
    });
  }
});
