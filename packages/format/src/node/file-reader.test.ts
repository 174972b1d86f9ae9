import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite, type TestContext, test } from "node:test";
import { readObject } from "../archive-reader.ts";
import { temporaryPath } from "./durable.ts";
import { directoryReader } from "./file-reader.ts";

async function archive(t: TestContext, files: Record<string, string | Uint8Array>): Promise<string> {
  const root = await mkdtemp(join(tmpdir(), "pageferry-reader-"));
  t.after(() => rm(root, { recursive: true, force: true }));
  for (const [name, content] of Object.entries(files)) {
    await mkdir(join(root, name, ".."), { recursive: true });
    await writeFile(join(root, name), content);
  }
  return root;
}

suite("a directory as an archive", () => {
  test("lists every file below it with its size, but not what is being written", async (t) => {
    const root = await archive(t, { "b/c": "123", a: "", "b/d/e": "12" });
    await writeFile(temporaryPath(join(root, "b")), "half");

    const listed = await Array.fromAsync(directoryReader(root).list());

    assert.deepEqual(
      listed.toSorted((x, y) => (x.name < y.name ? -1 : 1)),
      [
        { name: "a", size: 0 },
        { name: "b/c", size: 3 },
        { name: "b/d/e", size: 2 },
      ],
    );
  });

  test("that is not there is not-found, and one that is a file is as well", async (t) => {
    const root = await archive(t, { file: "x" });

    await assert.rejects(Array.fromAsync(directoryReader(join(root, "none")).list()), { code: "not-found" });
    await assert.rejects(Array.fromAsync(directoryReader(join(root, "file")).list()), { code: "not-found" });
  });

  test("follows a link to a file and leaves a broken one out", async (t) => {
    const root = await archive(t, { real: "123" });
    await symlink(join(root, "real"), join(root, "link"));
    await symlink(join(root, "gone"), join(root, "broken"));

    const names = (await Array.fromAsync(directoryReader(root).list())).map((object) => object.name);

    assert.deepEqual(names.toSorted(), ["link", "real"]);
  });

  test("gives an object, or a part of it, in memory or as a stream", async (t) => {
    const large = new Uint8Array(9 * 1024 * 1024).map((_, at) => at % 251);
    const root = await archive(t, { "x/small": "0123456789", large });
    const reader = directoryReader(root);
    const text = async (options: object): Promise<string> =>
      Buffer.from(await readObject(reader, "x/small", { bytesMax: 100, ...options })).toString();

    assert.equal(await text({}), "0123456789");
    assert.equal(await text({ offset: 3 }), "3456789");
    assert.equal(await text({ offset: 3, length: 2 }), "34");
    assert.ok(Buffer.from(large).equals(await readObject(reader, "large", { bytesMax: 1e8 })));
    await assert.rejects(text({ bytesMax: 5 }), { code: "too-large" });
  });

  test("says that an object is not there before the first byte, and that a range past the end is corrupt", async (t) => {
    const reader = directoryReader(await archive(t, { a: "123" }));

    await assert.rejects(reader.get("b"), { code: "not-found" });
    await assert.rejects(reader.get("a", { offset: 2, length: 2 }), { code: "corrupt" });
  });

  test("gives no name that leads out of it", async (t) => {
    const reader = directoryReader(await archive(t, { a: "123" }));

    for (const name of ["../a", "/etc/passwd", "a/../../b", "a\0"]) {
      await assert.rejects(reader.get(name), { code: "bad-name" });
      assert.throws(() => reader.pathOf?.(name), { code: "bad-name" });
    }
  });

  test("ends when its signal does", async (t) => {
    const reader = directoryReader(await archive(t, { a: "123" }));
    const signal = AbortSignal.abort(new Error("enough"));

    await assert.rejects(reader.get("a", { signal }), /enough/);
    await assert.rejects(Array.fromAsync(reader.list({ signal })), /enough/);
  });
});
