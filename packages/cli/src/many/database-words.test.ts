import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { type Config, type DatabaseConfig, parseDatabaseName } from "@pageferry/format";
import { databaseWords } from "./database-words.ts";

const named = (count: number): DatabaseConfig[] =>
  Array.from({ length: count }, (_, at) => ({ name: parseDatabaseName(`db${at}`), path: `/d/${at}.db` }));

const wordsOf = (count: number): string =>
  databaseWords({ databases: named(count), directories: [] } as unknown as Config, []);

suite("what is said of databases at the start", () => {
  test("names them, and the first of many", () => {
    assert.equal(wordsOf(1), "db0 (/d/0.db)");
    assert.equal(wordsOf(6).split(", ").length, 6, "one more is no shorter than its name");
    assert.equal(
      wordsOf(1000),
      "db0 (/d/0.db), db1 (/d/1.db), db2 (/d/2.db), db3 (/d/3.db), db4 (/d/4.db), 995 more",
    );
  });
});
