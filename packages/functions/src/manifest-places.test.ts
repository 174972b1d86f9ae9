import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { choosePresigned, type UrlKind } from "./manifest-places.ts";

/** Readers whose names begin with s3 give URLs. */
const canPresign = (reader: string): boolean => reader.startsWith("s3");
const chosen = (kind: UrlKind, holders: readonly string[]) =>
  choosePresigned([{ name: "object", size: 1, holders }], kind, canPresign).get("object");

suite("the place of an object", () => {
  const cases: readonly [UrlKind, holders: readonly string[], expected: string | undefined][] = [
    ["auto", ["s3-a", "file"], "s3-a"],
    ["auto", ["file", "s3-a"], undefined],
    ["auto", ["file"], undefined],
    ["auto", [], undefined],
    ["presigned", ["file", "s3-a", "s3-b"], "s3-a"],
    ["presigned", ["file"], undefined],
    ["proxied", ["s3-a"], undefined],
  ];
  for (const [kind, holders, expected] of cases) {
    test(`${kind}, held by ${holders.join(" and ") || "nobody"}: ${expected ?? "the host"}`, () => {
      assert.equal(chosen(kind, holders), expected);
    });
  }

  test("is a URL of its own for the largest objects only, where there are many", () => {
    const objects = [1, 9, 5, 7].map((size) => ({ name: `object-${size}`, size, holders: ["s3"] }));

    assert.deepEqual([...choosePresigned(objects, "auto", canPresign, 2).keys()], ["object-9", "object-7"]);
  });
});
