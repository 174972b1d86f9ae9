import assert from "node:assert/strict";
import { suite, test } from "node:test";
import fc from "fast-check";
import { partAt, partBytes, shownPart } from "./value-view.ts";

const utf8 = (text: string): Uint8Array => Buffer.from(text, "utf8");

/** A whole value, part by part. */
function partsOf(bytes: Uint8Array, wantsHex = false) {
  const shown = [];
  for (let offset: number | undefined = 0; offset !== undefined; ) {
    const part = partAt(offset, bytes.length);
    shown.push(shownPart(bytes.subarray(part.offset, part.end), part, wantsHex));
    offset = part.next;
  }
  return shown;
}

suite("a value", () => {
  test("is shown as text where it is UTF-8 without controls, with its lines", () => {
    assert.deepEqual(partsOf(utf8('{"größe":\t1}\r\n')), [{ kind: "text", text: '{"größe":\t1}\n' }]);
  });

  for (const [what, bytes] of [
    ["a NUL", utf8("a\0")],
    ["an escape", utf8("\x1b[2J")],
    ["a C1 control", utf8("a\u009b")],
    ["no UTF-8", Uint8Array.of(0xff, 0xfe)],
    ["a cut character at its very end", utf8("ü").subarray(0, 1)],
    ["half a character at its beginning", utf8("ü").subarray(1)],
  ] as const) {
    test(`with ${what} is shown in hex`, () => {
      assert.equal(partsOf(bytes)[0]?.kind, "hex");
    });
  }

  test("in hex has sixteen bytes to a line, where they lie, and what is ASCII of them", () => {
    const [shown] = partsOf(utf8("<b>\0abcdefghijklmn"));

    assert.deepEqual(shown, {
      kind: "hex",
      lines: [
        {
          at: "00000000",
          groups: ["3c 62 3e 00 61 62 63 64", "65 66 67 68 69 6a 6b 6c"],
          text: "<b>.abcdefghijkl",
        },
        { at: "00000010", groups: ["6d 6e"], text: "mn" },
      ],
    });
  });

  test("is in hex where that is wanted, though it is text", () => {
    assert.equal(partsOf(utf8("text"), true)[0]?.kind, "hex");
  });

  test("that is text stays text where a part ends in a character, and shows each of its bytes", () => {
    for (const character of ["ü", "€", "😀"]) {
      const size = utf8(character).length;
      for (let cut = 1; cut < size; cut += 1) {
        const text = `${"x".repeat(partBytes - cut)}${character}y`;
        const [first, second] = partsOf(utf8(text));
        const bytes = [...utf8(character)].map((byte) => `\\x${byte.toString(16)}`);

        assert.ok(first?.kind === "text" && second?.kind === "text");
        assert.equal(first.text.slice(-4 * cut), bytes.slice(0, cut).join(""), character);
        assert.equal(second.text, `${bytes.slice(cut).join("")}y`, character);
      }
    }
  });

  test("loses no byte in hex, whatever it is and wherever parts end", () => {
    const bytesOf = fc.uint8Array({ maxLength: 3 * partBytes, size: "max" });

    fc.assert(
      fc.property(bytesOf, (bytes) => {
        const lines = partsOf(bytes, true).flatMap((shown) => (shown.kind === "hex" ? shown.lines : []));
        const digits = lines.flatMap(({ groups }) => groups.flatMap((group) => group.split(" "))).join("");
        assert.equal(digits, Buffer.from(bytes).toString("hex"));
        assert.ok(lines.every(({ at }, line) => Number.parseInt(at, 16) === line * 16));
      }),
      { numRuns: 30 },
    );
  });

  test("is shown from the part that holds what is asked for, and from its last where it is shorter", () => {
    assert.deepEqual(partAt(0, 0), { offset: 0, end: 0, before: undefined, next: undefined });
    assert.deepEqual(partAt(5000, 10_000), { offset: 4096, end: 8192, before: 0, next: 8192 });
    assert.deepEqual(partAt(1e15, 8192), { offset: 4096, end: 8192, before: 0, next: undefined });
  });
});
