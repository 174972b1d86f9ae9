import assert from "node:assert/strict";
import { suite, test } from "node:test";
import fc from "fast-check";
import { bytesOfName, nameOfBytes, parseBucketPath } from "./bucket-path.ts";

const hex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, "hex"));
const utf8 = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, "utf8"));

/** Bytes, and how they are written. */
const written: readonly (readonly [bytes: Uint8Array, name: string])[] = [
  [utf8("users"), "users"],
  [utf8("größe 大"), "größe 大"],
  [utf8(".."), ".."],
  [utf8("<script>"), "<script>"],
  [utf8("%2e%2e&a=b#c?"), "%2e%2e&a=b#c?"],
  [utf8("a/b"), "hex:612f62"],
  [utf8("hex:00"), "hex:6865783a3030"],
  [utf8("\0"), "hex:00"],
  [utf8("a\nb"), "hex:610a62"],
  [utf8("\u001b[31m"), "hex:1b5b33316d"],
  [utf8("\u009b31m"), "hex:c29b33316d"],
  [utf8("\u202ereverse"), "hex:e280ae72657665727365"],
  [utf8("\u2028"), "hex:e280a8"],
  [utf8("\ufeffbom"), "hex:efbbbf626f6d"],
  [hex("ff"), "hex:ff"],
  [hex("c0af"), "hex:c0af"],
  [hex("eda080"), "hex:eda080"],
];

suite("a name of a bucket or key", () => {
  for (const [bytes, name] of written) {
    test(`is text where that is safe: ${name}`, () => {
      assert.equal(nameOfBytes(bytes), name);
      assert.deepEqual(bytesOfName(name), bytes);
    });
  }

  test("comes back as it went, through a URL too, for any bytes", () => {
    const bytes = fc.uint8Array({ minLength: 1, maxLength: 40 });
    fc.assert(
      fc.property(
        fc.oneof(
          bytes,
          fc.string({ unit: "binary", minLength: 1 }).map((text) => utf8(text)),
        ),
        (name) => {
          const query = new URLSearchParams({ key: nameOfBytes(name) }).toString();

          assert.deepEqual(bytesOfName(new URLSearchParams(query).get("key") ?? ""), name);
        },
      ),
    );
  });

  test("comes back in a path, between slashes", () => {
    const names = fc.array(fc.uint8Array({ minLength: 1, maxLength: 12 }), { maxLength: 6 });
    fc.assert(
      fc.property(names, (path) => assert.deepEqual(parseBucketPath(path.map(nameOfBytes).join("/")), path)),
    );
  });

  test("is refused where it is none, and is not repeated in the message", () => {
    for (const name of [
      "",
      "hex:",
      "hex:0",
      "hex:secret",
      `hex:${"00".repeat(40_000)}`,
      "a".repeat(40_000),
    ]) {
      assert.throws(
        () => bytesOfName(name),
        (error: Error & { code?: string }) => {
          assert.equal(error.code, "bad-request");
          assert.ok(!error.message.includes("secret"));
          return true;
        },
      );
    }
    for (const path of ["/", "a//b", "a/", Array(65).fill("a").join("/")])
      assert.throws(() => parseBucketPath(path), { code: "bad-request" });
  });
});
