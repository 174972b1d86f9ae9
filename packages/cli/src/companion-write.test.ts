import assert from "node:assert/strict";
import { mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite, type TestContext, test } from "node:test";
import { type CompanionsVersion, parseGeneration, txId } from "@pageferry/format";
import { placesBelow, placesInPlace } from "./companion-places.ts";
import { checkEmptyDirectory, foreseeCompanions, writeCompanions } from "./companion-write.ts";

async function temporary(t: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "pageferry-companions-"));
  t.after(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

function version(texts: Record<string, string>, mode = 0o640): CompanionsVersion {
  const files = Object.entries(texts).map(([name, text]) => {
    return { name, mode, mtimeMs: 0, bytes: new Uint8Array(Buffer.from(text)) };
  });
  return { generation: parseGeneration("aaaaaaaaaaaaaaaa"), txId: txId(1), stampMs: 1, files, skipped: [] };
}

suite("restored companion files in a directory", () => {
  test("lie there under their names, with their permissions, and nothing else does", async (t) => {
    const root = join(await temporary(t), "out");
    const { placed } = placesBelow(version({ "tls/a.pem": "one", "_root/etc/key": "two" }), root);

    const { written } = await writeCompanions(placed, { overwrite: false, root });

    assert.deepEqual(written, [join(root, "tls/a.pem"), join(root, "_root/etc/key")]);
    assert.equal(await readFile(join(root, "tls/a.pem"), "utf8"), "one");
    assert.equal((await stat(join(root, "tls/a.pem"))).mode & 0o7777, 0o640 & ~process.umask());
    assert.deepEqual(await readdir(join(root, "tls")), ["a.pem"]);
  });

  test("never leave it, whatever a version says", async (t) => {
    const root = await temporary(t);
    for (const name of ["../x", "a/../../x", "/etc/x"]) {
      assert.throws(() => placesBelow(version({ [name]: "bad" }), root), { code: "bad-name" });
    }
  });

  test("are not written through a link, be it a directory's or a file's", async (t) => {
    const outside = await temporary(t);
    const root = await temporary(t);
    await symlink(outside, join(root, "tls"));
    await writeFile(join(outside, "target"), "kept");
    await symlink(join(outside, "target"), join(root, "key"));

    for (const name of ["tls/a.pem", "key"]) {
      const { placed } = placesBelow(version({ [name]: "bad" }), root);
      for (const deed of [foreseeCompanions, writeCompanions]) {
        const { written, left, failed } = await deed(placed, { overwrite: true, root });
        assert.deepEqual([written, left, failed.map(({ error }) => error.code)], [[], [], ["exists"]]);
      }
    }
    assert.deepEqual(await readdir(outside), ["target"]);
    assert.equal(await readFile(join(outside, "target"), "utf8"), "kept");
  });

  test("lie in a directory that is named by a link, too: whoever named it meant it", async (t) => {
    const real = await temporary(t);
    const root = join(await temporary(t), "link");
    await symlink(real, root);
    const { placed } = placesBelow(version({ a: "one", "tls/b": "two" }), root);

    await writeCompanions(placed, { overwrite: false, root });

    assert.deepEqual((await readdir(real)).sort(), ["a", "tls"]);
  });

  test("are not put among others unless that is asked for", async (t) => {
    const root = await temporary(t);
    await checkEmptyDirectory(root);
    await checkEmptyDirectory(join(root, "none"));
    await writeFile(join(root, "a"), "live");

    await assert.rejects(checkEmptyDirectory(root), { code: "exists" });
    const { placed } = placesBelow(version({ a: "restored" }), root);
    assert.deepEqual(await writeCompanions(placed, { overwrite: false, root }), {
      ...{ written: [], left: [join(root, "a")], failed: [] },
    });
    assert.equal(await readFile(join(root, "a"), "utf8"), "live");
    await writeCompanions(placed, { overwrite: true, root });
    assert.equal(await readFile(join(root, "a"), "utf8"), "restored");
  });

  test("of which one cannot be written are written all the same, and it is named", async (t) => {
    const root = await temporary(t);
    await writeFile(join(root, "tls"), "a file where a directory is to be");
    const { placed } = placesBelow(version({ a: "one", "tls/b": "two", z: "three" }), root);

    const foreseen = await foreseeCompanions(placed, { overwrite: false, root });
    assert.deepEqual(await readdir(root), ["tls"]);
    const done = await writeCompanions(placed, { overwrite: false, root });

    assert.deepEqual(done, foreseen);
    assert.deepEqual(done.written, [join(root, "a"), join(root, "z")]);
    assert.deepEqual(
      done.failed.map(({ path, error }) => [path, error.code]),
      [[join(root, "tls/b"), "exists"]],
    );
  });

  test("whose mode asks for more than permissions get permissions", async (t) => {
    const root = await temporary(t);
    const { placed } = placesBelow(version({ a: "x" }, 0o4755), root);

    await writeCompanions(placed, { overwrite: false, root });

    assert.equal((await stat(join(root, "a"))).mode & 0o7000, 0);
  });
});

suite("restored companion files in place", () => {
  test("go where the configuration names files, and nowhere else", async (t) => {
    const directory = await temporary(t);
    const database = {
      path: join(directory, "app.db"),
      files: [join(directory, "tls/*.pem"), "/etc/app/key"],
    };
    const all = version({
      ...{ "tls/a.pem": "", "tls/b.key": "", "_root/etc/app/key": "", "_root/etc/passwd": "", "app.db": "" },
    });

    const { placed, strange } = placesInPlace(all, database);

    assert.deepEqual(
      placed.map(({ path }) => path),
      [join(directory, "tls/a.pem"), "/etc/app/key"],
    );
    assert.deepEqual(strange, ["tls/b.key", "_root/etc/passwd", "app.db"]);
  });

  test("are never the database, though a pattern fits it", async (t) => {
    const directory = await temporary(t);
    const database = { path: join(directory, "app.db"), files: [join(directory, "*")] };

    assert.deepEqual(placesInPlace(version({ "app.db": "bad" }), database).placed, []);
  });

  test("that are there as a link, or as something else, stay as they are, and hinder no other", async (t) => {
    const directory = await temporary(t);
    await mkdir(join(directory, "tls/d.pem"), { recursive: true });
    await writeFile(join(directory, "real"), "live");
    await symlink(join(directory, "real"), join(directory, "tls/a.pem"));
    await symlink(join(directory, "nowhere"), join(directory, "tls/b.pem"));
    const database = { path: join(directory, "app.db"), files: [join(directory, "tls/*.pem")] };
    const names = ["a", "b", "c", "d"].map((name) => [`tls/${name}.pem`, "old"]);
    const { placed } = placesInPlace(version(Object.fromEntries(names)), database);

    const { written, left } = await writeCompanions(placed, { overwrite: false });

    assert.deepEqual(written, [join(directory, "tls/c.pem")]);
    assert.deepEqual(
      left,
      ["a", "b", "d"].map((name) => join(directory, `tls/${name}.pem`)),
    );
    assert.equal(await readFile(join(directory, "real"), "utf8"), "live");
    await assert.rejects(stat(join(directory, "nowhere")), { code: "ENOENT" });
  });

  test("that are there stay as they are", async (t) => {
    const directory = await temporary(t);
    await mkdir(join(directory, "tls"));
    await writeFile(join(directory, "tls/a.pem"), "live");
    const database = { path: join(directory, "app.db"), files: [join(directory, "tls/*.pem")] };
    const { placed } = placesInPlace(version({ "tls/a.pem": "old", "tls/b.pem": "back" }), database);

    await writeCompanions(placed, { overwrite: false });

    assert.equal(await readFile(join(directory, "tls/a.pem"), "utf8"), "live");
    assert.equal(await readFile(join(directory, "tls/b.pem"), "utf8"), "back");
  });
});
