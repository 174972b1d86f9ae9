import assert from "node:assert/strict";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { suite, test } from "node:test";
import { temporary } from "../../testing/agent-bench.ts";
import { lookAtSet, readSet } from "./read-set.ts";

suite("a look at companion files", () => {
  test("tells of names that no version can hold, instead of passing them over", async () => {
    await using directory = await temporary();
    const at = (name: string) => join(directory.path, name);
    await mkdir(at("tls"));
    await mkdir(at("more"));
    await writeFile(at("tls/a.pem"), "a");
    await writeFile(
      Buffer.concat([Buffer.from(`${at("tls")}/`), Buffer.from([0xe9]), Buffer.from(".pem")]),
      "latin",
    );
    await writeFile(at("more/b\\c.pem"), "backslash");

    const { files, skipped } = await readSet(
      await lookAtSet({ patterns: [at("*/*.pem")], databasePath: at("app.db") }),
    );

    assert.deepEqual(
      files.map(({ name }) => name),
      ["tls/a.pem"],
    );
    assert.deepEqual(skipped, [
      { name: "more", why: "unreadable" },
      { name: "tls", why: "unreadable" },
    ]);
  });

  test("tells where a pattern stands for more than is looked at", async () => {
    await using directory = await temporary();
    const at = (name: string) => join(directory.path, name);
    const names = Array.from({ length: 1100 }, (_, index) => `${index}`.padStart(4, "0"));
    for (const name of names) await mkdir(at(`sites/${name}`), { recursive: true });
    await writeFile(at("sites/0003/key"), "seen");
    await writeFile(at("sites/1099/key"), "beyond");

    const { files, skipped } = await readSet(
      await lookAtSet({ patterns: [at("sites/*/key")], databasePath: at("app.db") }),
    );

    assert.deepEqual(
      files.map(({ name }) => name),
      ["sites/0003/key"],
    );
    assert.deepEqual(skipped, [{ name: "sites", why: "too-many" }]);
  });
});
