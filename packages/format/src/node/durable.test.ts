import assert from "node:assert/strict";
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite, type TestContext, test } from "node:test";
import { isPageferryError } from "../errors.ts";
import {
  fromFileSystem,
  isTemporaryPath,
  makeDirectoryDurable,
  temporaryPath,
  writeFileDurable,
} from "./durable.ts";

async function temporaryDirectory(t: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "pageferry-durable-"));
  t.after(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

suite("a durable file", () => {
  test("holds all bytes, is private, and leaves no temporary file", async (t) => {
    const directory = await temporaryDirectory(t);
    const path = join(directory, "a");

    await writeFileDurable(path, bytes("whole"));

    assert.equal(await readFile(path, "utf8"), "whole");
    assert.equal((await stat(path)).mode & 0o777, 0o600);
    assert.deepEqual(await readdir(directory), ["a"]);
  });

  test("is not replaced unless asked, and the refusal leaves nothing behind", async (t) => {
    const directory = await temporaryDirectory(t);
    const path = join(directory, "a");
    await writeFileDurable(path, bytes("first"));

    await assert.rejects(writeFileDurable(path, bytes("second")), { code: "exists" });

    assert.equal(await readFile(path, "utf8"), "first");
    assert.deepEqual(await readdir(directory), ["a"]);
    await writeFileDurable(path, bytes("third"), { overwrite: true });
    assert.equal(await readFile(path, "utf8"), "third");
  });

  test("whose stream fails half-way is never seen", async (t) => {
    const directory = await temporaryDirectory(t);
    async function* broken(): AsyncGenerator<Uint8Array> {
      yield bytes("half");
      throw new Error("cut");
    }

    await assert.rejects(writeFileDurable(join(directory, "a"), broken()), /cut/);

    assert.deepEqual(await readdir(directory), []);
  });

  test("in a directory that is not there is not-found", async (t) => {
    const directory = await temporaryDirectory(t);

    await assert.rejects(writeFileDurable(join(directory, "none", "a"), bytes("x")), { code: "not-found" });
  });
});

suite("publishing", () => {
  test("of one of two writers of a name succeeds, the other is told that it exists", async (t) => {
    const directory = await temporaryDirectory(t);
    const path = join(directory, "name");

    const outcomes = await Promise.allSettled(
      ["x", "y", "z"].map((text) => writeFileDurable(path, bytes(text))),
    );

    assert.equal(outcomes.filter((outcome) => outcome.status === "fulfilled").length, 1);
    assert.deepEqual(await readdir(directory), ["name"]);
  });

  test("takes a temporary name that listings can recognise", () => {
    assert.ok(isTemporaryPath(temporaryPath("/x")));
    assert.ok(!isTemporaryPath("/x/0000000000000003.segment.cbor"));
  });
});

test("missing parents of a directory are made, and made again is nothing", async (t) => {
  const directory = join(await temporaryDirectory(t), "a", "b", "c");

  await makeDirectoryDurable(directory);
  await makeDirectoryDurable(directory);

  assert.ok((await stat(directory)).isDirectory());
});

test("a directory that cannot be made is an error, also where the file system says only that it is not there", async (t) => {
  const root = await temporaryDirectory(t);
  await writeFile(join(root, "file"), "");
  const refused = (directory: string, code: string) =>
    assert.rejects(makeDirectoryDurable(directory), {
      code,
      message: new RegExp(`^making directory ${directory}`),
    });

  await refused(join(root, "file"), "exists");
  await refused(join(root, "file", "a", "b"), "not-found");
  if (process.platform === "linux") await refused("/proc/pageferry/a/b", "not-found");
});

suite("what the file system refuses", () => {
  const told = (code: string) => {
    const error = fromFileSystem(Object.assign(new Error(), { code }), "writing /srv/app.db");
    assert.ok(isPageferryError(error));
    return error;
  };

  test("has a hint for a path, and none for a token or a point", () => {
    for (const errno of ["EACCES", "EPERM", "EROFS"]) {
      const { code, message, hint } = told(errno);
      assert.deepEqual([code, message], ["unauthorized", `writing /srv/app.db: ${errno}`]);
      assert.doesNotMatch(hint, /token/i);
    }
    assert.doesNotMatch(told("ENOENT").hint, /points/);
    assert.match(told("EACCES").hint, /owner and mode/);
    assert.match(told("EROFS").hint, /ReadWritePaths=.*:ro/);
  });
});
