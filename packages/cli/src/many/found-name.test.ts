import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { parseDatabaseName } from "@pageferry/format";
import { foundName } from "./found-name.ts";

const named = (path: string, pattern = "*.db", prefix?: string) => foundName(path, { pattern, prefix });

suite("the name of a database that was found", () => {
  test("is its path below the directory, joined by dots", () => {
    assert.equal(named("app.db"), "app");
    assert.equal(named("tenants/acme/app.db"), "tenants.acme.app");
    assert.equal(named("tenants/acme/app.db", "*.db", "eu"), "eu.tenants.acme.app");
    assert.equal(named("acme/app.db", "app.db"), "acme.app");
  });

  test("keeps the extension where the pattern does not tell it", () => {
    assert.equal(named("a/app.db", "*"), "a.app.db");
    assert.equal(named("a/app.bolt", "*.{db,bolt}"), "a.app.bolt");
    assert.equal(named("state", "*"), "state");
    // All of these end in `.db` and one does not.
    assert.notEqual(named("ab", "{ab,*.db}"), named("", "{ab,*.db}"));
  });

  test("has a hash of the path where it could be another's, or is none", () => {
    assert.match(named("a.b.db"), /^a-b-[0-9a-f]{12}$/);
    assert.match(named("my files/Übung.db"), /^my-files\.bung-[0-9a-f]{12}$/);
    assert.match(named("_x/app.db"), /^x\.app-[0-9a-f]{12}$/);
    assert.match(named("ü.db"), /^database-[0-9a-f]{12}$/);
    assert.match(named(`${"deep/".repeat(20)}app.db`), /^deep\.deep.{1,43}-[0-9a-f]{12}$/);
  });

  test("is one, and no two files have the same, whatever they are called", () => {
    const words = [
      "a",
      "b",
      "a.b",
      "a-b",
      "a_b",
      ".a",
      "-",
      "a b",
      "app",
      "app.db",
      "ä",
      "a-0123456789ab",
      "x".repeat(40),
    ];
    const paths = words.flatMap((first) =>
      words.flatMap((second) => [
        `${first}.db`,
        `${first}/${second}.db`,
        `${first}/${second}/${first}.db`,
        first,
        `${first}/${second}`,
      ]),
    );
    for (const [pattern, fits] of [
      ["*.db", (path: string) => path.endsWith(".db")],
      ["*", () => true],
    ] as const) {
      const known = new Map<string, string>();
      for (const path of new Set(paths.filter(fits))) {
        const name = named(path, pattern);
        assert.equal(parseDatabaseName(name), name);
        assert.equal(known.get(name), undefined, `${path} and ${known.get(name)} are both ${name}`);
        known.set(name, path);
      }
    }
  });
});
