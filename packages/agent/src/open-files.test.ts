import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { databasesMax, requireOpenFiles } from "./open-files.ts";

suite("open files", () => {
  test("are enough for a third as many databases, with some to spare, and for one in any case", () => {
    assert.deepEqual(
      [64, 256, 1024, 20_000, 65_536, Number.POSITIVE_INFINITY].map((files) => databasesMax(files)),
      [1, 42, 298, 6333, 20_753, Number.POSITIVE_INFINITY],
    );
  });

  test("are counted before there are too few, with words that say what to do", () => {
    requireOpenFiles(298, 1024);
    assert.throws(() => requireOpenFiles(299, 1024), {
      code: "bad-config",
      message: "databases: 299 of them, and 1024 open files are enough for 298",
      hint: /LimitNOFILE/,
    });
  });
});
