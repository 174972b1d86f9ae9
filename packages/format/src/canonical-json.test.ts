import assert from "node:assert/strict";
import { suite, test } from "node:test";
import fc from "fast-check";
import { canonicalJson } from "./canonical-json.ts";

/** The same value with the keys of every object in another order. */
function shuffled(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(shuffled);
  if (value === null || typeof value !== "object") return value;
  const entries = Object.entries(value).map(([key, field]) => [key, shuffled(field)] as const);
  return Object.fromEntries(entries.reverse());
}

suite("canonical JSON", () => {
  test("is one text for one value, whatever the order of its keys and however it was sent", () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 5 }), (value) => {
        const text = canonicalJson(value);

        assert.equal(canonicalJson(shuffled(value)), text);
        assert.equal(canonicalJson(JSON.parse(JSON.stringify(value, null, 2))), text);
        assert.equal(canonicalJson(JSON.parse(text)), text);
        assert.deepEqual(JSON.parse(text), JSON.parse(JSON.stringify(value)));
      }),
    );
  });

  test("is another text for another value", () => {
    const texts = [{}, [], null, "", 0, "0", { a: 1 }, { a: "1" }, { a: [1] }, { b: 1 }, [1, 2], [2, 1]];

    assert.equal(new Set(texts.map((value) => canonicalJson(value))).size, texts.length);
  });

  test("writes keys by their UTF-16 units, and without spaces", () => {
    const value = { "\u20ac": 1, "\r": 2, a: [true, null, "\u00f6"], "1": 4.5, "\ud83d\ude00": 5 };

    assert.equal(
      canonicalJson(value),
      '{"\\r":2,"1":4.5,"a":[true,null,"\u00f6"],"\u20ac":1,"\ud83d\ude00":5}',
    );
  });

  test("leaves out what is undefined, and refuses what JSON has no word for", () => {
    assert.equal(canonicalJson({ a: undefined, b: 1 }), '{"b":1}');
    assert.throws(() => canonicalJson([Number.NaN]), { code: "bad-request" });
    let deep: unknown = 1;
    for (let level = 0; level < 100; level += 1) deep = [deep];
    assert.throws(() => canonicalJson(deep), { code: "bad-request" });
  });
});
