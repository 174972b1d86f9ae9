import assert from "node:assert/strict";
import { link, mkdir, mkdtemp, rename, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, suite, test } from "node:test";
import type { DirectoryConfig } from "@pageferry/format";
import { boltImage } from "../../../format/testing/bolt-image.ts";
import { findDatabases, type LookOptions } from "./find-databases.ts";

const bolt = boltImage(new Map([["bucket", new Map([["key", Buffer.from("value")]])]])).bytes;

suite("a look for databases", () => {
  let root: string;
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), "pageferry-find-"));
  });
  afterEach(() => rm(root, { recursive: true }));

  const write = async (path: string, bytes: Uint8Array = bolt) => {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), bytes);
  };
  const look = (entry: Partial<DirectoryConfig> = {}, options: LookOptions = {}) =>
    findDatabases({ dir: root, pattern: "*.db", recursive: true, watch: false, ...entry }, options);
  const names = async (...args: Parameters<typeof look>) =>
    (await look(...args)).files.map(({ name }) => name);

  test("finds bolt files that match, below only where it is told to", async () => {
    for (const path of ["app.db", "a/app.db", "a/b/other.db", "a/app.bolt", ".hidden.db", ".cache/app.db"])
      await write(path);

    assert.deepEqual(await names(), ["a.app", "a.b.other", "app"]);
    assert.deepEqual(await names({ recursive: false }), ["app"]);
    assert.deepEqual(await names({ pattern: "*.{db,bolt}", name: "eu" }), [
      ...["eu.a.app.bolt", "eu.a.app.db", "eu.a.b.other.db", "eu.app.db"],
    ]);
  });

  test("says where a name is none that it can be found under", async () => {
    await write("app.db");
    await writeFile(
      Buffer.concat([Buffer.from(`${root}/caf`), Buffer.from([0xe9]), Buffer.from(".db")]),
      bolt,
    );

    const { files, problem } = await look();

    assert.deepEqual(
      files.map(({ name }) => name),
      ["app"],
    );
    assert.match(problem?.message ?? "", /caf\uFFFD\.db: its name is not UTF-8/);
    assert.equal(problem?.code, "unreadable");
  });

  test("passes over what is no database, and says so", async () => {
    await write("empty", new Uint8Array());
    await write("short", bolt.subarray(0, 50));
    await write("text", Buffer.from("SQLite format 3\0".repeat(9000)));
    for (const name of [
      "app.db.invalid-20261122T130711Z",
      "app.db.invalid-20261122T130711Z-2",
      "app.db.lock",
    ])
      await write(name);
    // Its first meta page is being written.
    await write("torn", Buffer.concat([new Uint8Array(4096), bolt.subarray(4096)]));
    await mkdir(join(root, "directory.db"));
    const skipped: string[] = [];

    const { files, others, problem } = await look(
      { pattern: "*" },
      { onSkipped: (path) => skipped.push(path) },
    );

    assert.deepEqual(
      files.map(({ name }) => name),
      ["torn"],
    );
    assert.deepEqual(others.map((path) => path.slice(root.length + 1)).sort(), ["empty", "short", "text"]);
    assert.deepEqual(skipped.sort(), others.toSorted());
    assert.equal(problem, undefined);
  });

  test("follows links to what lies within, once, and to nothing else", async () => {
    const elsewhere = await mkdtemp(join(tmpdir(), "pageferry-find-"));
    await writeFile(join(elsewhere, "secret.db"), bolt);
    await write("app.db");
    await write("versions/v7");
    await symlink(join(elsewhere, "secret.db"), join(root, "secret.db"));
    await symlink(elsewhere, join(root, "directory"));
    await symlink(root, join(root, "loop"));
    await symlink("loop.db", join(root, "loop.db"));
    await symlink("versions/v7", join(root, "current.db"));
    await symlink("app.db", join(root, "aaa.db"));
    await link(join(root, "app.db"), join(root, "same.db"));

    const { files, problem } = await look();
    await rm(elsewhere, { recursive: true });

    assert.deepEqual(
      files.map(({ name }) => name),
      ["app", "current"],
    );
    assert.equal(problem, undefined);
  });

  test("looks into none of our own directories", async () => {
    await write("app.db");
    await write("data/shadow/app/scratch/base.db");

    assert.deepEqual(await names({}, { excluded: [join(root, "data/shadow"), join(root, "missing")] }), [
      "app",
    ]);
  });

  test("does not read again what it knows, unless it is another file", async () => {
    await write("app.db");
    await write("b.db");
    const { files } = await look();
    const known = new Map(files.map(({ path, id }) => [path, id]));
    await writeFile(join(root, "app.db"), "damaged, and the same file");
    await write("new", Buffer.from("another file"));
    await rename(join(root, "new"), join(root, "b.db"));

    assert.deepEqual(await names({}, { known }), ["app"]);
  });

  test("has bounds, keeps what was there before, and says what it did not see", async () => {
    for (const path of ["a.db", "b.db", "c.db", "deep/er/d.db"]) await write(path);
    const known = new Map([[join(root, "c.db"), ""]]);

    const few = await look({ recursive: false }, { known, bounds: { filesMax: 2 } });
    const flat = await look({}, { bounds: { depthMax: 2 } });
    const slow = await look({}, { bounds: { timeMs: -1 } });
    const crowded = await look({}, { bounds: { entriesMax: 3 } });

    assert.deepEqual(
      few.files.map(({ name }) => name),
      ["a", "c"],
    );
    assert.match(few.problem?.message ?? "", /more than 2 databases match \*\.db/);
    assert.equal(flat.files.length, 3);
    assert.match(flat.problem?.message ?? "", /deep\/er: deeper than 2/);
    assert.match(slow.problem?.message ?? "", /not seen whole after/);
    assert.match(crowded.problem?.message ?? "", /not seen whole with 4 names/);
  });

  test("says that a directory is missing, or none, and throws nothing", async () => {
    await write("app.db");

    const missing = await look({ dir: join(root, "missing") });
    const file = await look({ dir: join(root, "app.db") });

    assert.deepEqual([...missing.files, ...file.files], []);
    assert.deepEqual([missing.problem?.code, file.problem?.code], ["not-found", "unreadable"]);
  });
});
