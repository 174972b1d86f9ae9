import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { parseConfig } from "./config.ts";

const entry = (fields: object) => parseConfig({ databases: ["app.db", { dir: "/srv/apps", ...fields }] });

const refused = (fields: object, pattern: RegExp) =>
  assert.throws(() => entry(fields), { code: "bad-config", message: pattern });

suite("an entry of databases with dir", () => {
  test("is a directory with its pattern, beside the databases that have a path", () => {
    const { databases, directories } = entry({ recursive: "true", name: "apps", profile: "own" });

    assert.deepEqual(databases, [{ path: "app.db", name: "app" }]);
    assert.deepEqual(directories, [
      { dir: "/srv/apps", pattern: "*.db", recursive: true, watch: false, name: "apps", profile: "own" },
    ]);
  });

  test("says what it does not take, and where", () => {
    refused({ pattern: "*/x.db" }, /databases\[1\]\.pattern: a pattern of the file's own name/);
    refused({ path: "x.db" }, /databases\[1\]\.path: it is for an entry with path; name a file or/);
    refused({ heartbeat: "https://x.example" }, /databases\[1\]\.heartbeat: .*alarms\.heartbeat/);
    refused({ files: ["*.yml"] }, /databases\[1\]\.files: it is for an entry with path/);
    refused({ shadowDirectory: "/s" }, /databases\[1\]\.shadowDirectory: /);
    refused({ recursiv: true }, /databases\[1\]: recursiv is not a known key; the nearest is recursive/);
    refused({ name: "x".repeat(33) }, /databases\[1\]\.name: .*32 at most/);
    refused({ watch: "often" }, /databases\[1\]\.watch/);
  });

  test("cannot be of one restore's target, nor listed twice", () => {
    const dir = { dir: "/srv/apps" };
    assert.throws(() => parseConfig({ databases: [dir], restore: { targetPath: "/x" } }), /targetPath/);
    assert.throws(() => parseConfig({ databases: [dir, dir] }), /\/srv\/apps .* is listed twice/);
    assert.equal(parseConfig({ databases: [dir, { ...dir, pattern: "*.bolt" }] }).directories.length, 2);
  });
});
