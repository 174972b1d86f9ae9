import assert from "node:assert/strict";
import { test } from "node:test";
import { counted } from "./counted.ts";

test("one is said in the singular, none and more in the plural", () => {
  assert.deepEqual(
    [0, 1, 2].map((count) => counted(count, "object")),
    ["0 objects", "1 object", "2 objects"],
  );
  assert.equal(counted(1, "object is", "objects are"), "1 object is");
  assert.equal(counted(2, "object is", "objects are"), "2 objects are");
});
