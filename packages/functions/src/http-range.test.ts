import assert from "node:assert/strict";
import { suite, test } from "node:test";
import fc from "fast-check";
import { type AskedRange, askedRange, contentRange } from "./http-range.ts";

const etag = '"app-1"';
const asked = (range: string | undefined, size = 100, ifRange?: string): AskedRange =>
  askedRange({ range, ifRange }, size, etag);

suite("a Range header", () => {
  const cases: Record<string, AskedRange> = {
    "bytes=0-0": { offset: 0, length: 1 },
    "bytes=5-24": { offset: 5, length: 20 },
    "bytes=90-": { offset: 90, length: 10 },
    "bytes=-10": { offset: 90, length: 10 },
    "bytes=-1000": { offset: 0, length: 100 },
    "bytes=90-1000": { offset: 90, length: 10 },
    "Bytes = 1-2": { offset: 1, length: 2 },
    "bytes=100-": "unsatisfiable",
    "bytes=100-200": "unsatisfiable",
    "bytes=-0": "unsatisfiable",
    "bytes=0-1,5-6": undefined,
    "lines=1-2": undefined,
    "": undefined,
  };
  for (const [range, expected] of Object.entries(cases)) {
    test(`${range || "absent"} of 100 bytes`, () => {
      assert.deepEqual(asked(range === "" ? undefined : range), expected);
    });
  }

  for (const range of [
    "bytes=",
    "bytes=-",
    "bytes=5-4",
    "bytes=a-b",
    "bytes=1-2-3",
    "bytes=9999999999999999-",
  ]) {
    test(`${range} is a bad request`, () => assert.throws(() => asked(range), { code: "bad-request" }));
  }

  test("counts only with the ETag that its If-Range names", () => {
    assert.deepEqual(asked("bytes=5-", 100, etag), { offset: 5, length: 95 });
    assert.equal(asked("bytes=5-", 100, '"app-2"'), undefined);
    assert.equal(asked("bytes=5-", 100, `W/${etag}`), undefined);
    assert.equal(asked("bytes=5-", 100, "Sat, 28 Nov 2026 08:00:00 GMT"), undefined);
  });

  test("of nothing is never satisfied", () => {
    for (const range of ["bytes=0-", "bytes=-5", "bytes=0-0"]) assert.equal(asked(range, 0), "unsatisfiable");
  });

  test("gives what slicing would, whatever it is", () => {
    const size = fc.nat(50);
    const number = fc.option(fc.nat(60), { nil: undefined });
    fc.assert(
      fc.property(size, number, number, (length, first, last) => {
        fc.pre(first !== undefined || last !== undefined);
        fc.pre(first === undefined || last === undefined || first <= last);
        const bytes = Array.from({ length }, (_, at) => at);

        const found = asked(`bytes=${first ?? ""}-${last ?? ""}`, length);

        const sliced =
          first === undefined
            ? bytes.slice(Math.max(0, length - (last ?? 0)))
            : bytes.slice(first, last === undefined ? undefined : last + 1);
        if (found === undefined || found === "unsatisfiable")
          assert.deepEqual([found, sliced], ["unsatisfiable", []]);
        else assert.deepEqual(bytes.slice(found.offset, found.offset + found.length), sliced);
      }),
    );
  });

  test("is answered with the bytes that came, and how many there are", () => {
    assert.equal(contentRange({ offset: 5, length: 20 }, 100), "bytes 5-24/100");
  });
});
