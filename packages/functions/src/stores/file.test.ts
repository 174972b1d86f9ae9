import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import {
  chmod,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  truncate,
  utimes,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite, type TestContext, test } from "node:test";
import { conformance } from "../conformance.ts";
import { fileStore } from "./file.ts";

async function temporaryDirectory(): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await mkdtemp(join(tmpdir(), "pageferry-file-store-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

conformance("file", {
  open: async () => {
    const directory = await temporaryDirectory();
    const store = fileStore({ directory: join(directory.path, "made", "on", "demand") });
    const dispose = () => directory[Symbol.asyncDispose]();
    return { ...store, [Symbol.asyncDispose]: dispose };
  },
});

const text = (words: string): Uint8Array => new TextEncoder().encode(words);

async function openInTemporary(t: TestContext) {
  const { path, [Symbol.asyncDispose]: dispose } = await temporaryDirectory();
  t.after(dispose);
  return { path, store: fileStore({ directory: path }) };
}

suite("peculiar to the file store:", () => {
  test("objects are files that only their owner reads", async (t) => {
    const { path, store } = await openInTemporary(t);

    await store.put("a/b", text("x"));

    assert.equal((await stat(join(path, "a/b"))).mode & 0o777, 0o600);
    assert.equal((await stat(join(path, "a"))).mode & 0o777, 0o700);
    assert.deepEqual(await readdir(join(path, "a")), ["b"]);
  });

  test("a symbolic link is not followed, neither as an object nor on the way to one", async (t) => {
    const { path, store } = await openInTemporary(t);
    await using outside = await temporaryDirectory();
    await writeFile(join(outside.path, "secret"), "secret");
    await symlink(outside.path, join(path, "way"));
    await symlink(join(outside.path, "secret"), join(path, "link"));

    await assert.rejects(store.get("way/secret"), { code: "bad-config" });
    await assert.rejects(store.get("link"), { code: "bad-config" });
    await assert.rejects(store.put("way/new", text("x")), { code: "bad-config" });
    await assert.rejects(store.put("link", text("x")), { code: "conflict" });
    await assert.rejects(store.remove(["way/secret"]), { code: "bad-config" });

    assert.deepEqual(await Array.fromAsync(store.list("")), []);
    assert.deepEqual(await readdir(outside.path), ["secret"]);
    assert.equal(await readFile(join(outside.path, "secret"), "utf8"), "secret");
  });

  test("what becomes shorter while it is compared is a conflict, and what comes is not called corrupt", async (t) => {
    const { path, store } = await openInTemporary(t);
    const bytes = new Uint8Array(600_000);
    await store.put("a", bytes);
    const body = {
      size: bytes.length,
      async *open() {
        await truncate(join(path, "a"), 256 * 1024);
        yield bytes;
      },
    };

    await assert.rejects(store.put("a", body), { code: "conflict" });
    await assert.rejects(store.put("b", { size: 2, open: async function* () {} }), { code: "corrupt" });
  });

  test("a root that is itself a symbolic link is the owner's choice and works", async (t) => {
    const { path } = await openInTemporary(t);
    await mkdir(join(path, "real"));
    await symlink(join(path, "real"), join(path, "root"));
    const store = fileStore({ directory: join(path, "root") });

    await store.put("a/b", text("x"));

    assert.equal(await readFile(join(path, "real/a/b"), "utf8"), "x");
    assert.deepEqual(await Array.fromAsync(store.list("")), [{ name: "a/b", size: 1 }]);
  });

  test("what a killed writer left is never listed, and swept once it is old", async (t) => {
    const { path, store } = await openInTemporary(t);
    await store.put("a/b", text("x"));
    const [old, young] = [join(path, "a/.pageferry-1-00.tmp"), join(path, "a/.pageferry-2-00.tmp")];
    for (const leftover of [old, young]) await writeFile(leftover, "half");
    await utimes(old, new Date(0), new Date(0));

    assert.deepEqual(await Array.fromAsync(store.list("")), [{ name: "a/b", size: 1 }]);
    await fileStore({ directory: path }).put("a/c", text("x"));

    assert.deepEqual((await readdir(join(path, "a"))).sort(), [".pageferry-2-00.tmp", "b", "c"]);
  });

  test("its owner's listing sweeps leftovers everywhere", async (t) => {
    const { path, store } = await openInTemporary(t);
    await store.put("a/b", text("x"));
    const leftover = join(path, "a/.pageferry-1-00.tmp");
    await writeFile(leftover, "half");
    await utimes(leftover, new Date(0), new Date(0));

    await Array.fromAsync(fileStore({ directory: path, sweep: true }).list(""));

    assert.deepEqual(await readdir(join(path, "a")), ["b"]);
  });

  test("a directory that somebody removed is made again", async (t) => {
    const { path, store } = await openInTemporary(t);
    await store.put("a/b/c", text("x"));
    await rm(join(path, "a"), { recursive: true });

    assert.equal(await store.put("a/b/d", text("x")), "stored");
    assert.deepEqual(await Array.fromAsync(store.list("")), [{ name: "a/b/d", size: 1 }]);
  });

  test("a directory that may not be written is unauthorized", async (t) => {
    const { path, store } = await openInTemporary(t);
    await mkdir(join(path, "a"));
    await chmod(join(path, "a"), 0o500);
    // Root may write everywhere: be nobody for the length of the call.
    const isRoot = process.geteuid?.() === 0;
    if (isRoot) process.seteuid?.(65_534);

    try {
      await assert.rejects(store.put("a/b", text("x")), { code: "unauthorized" });
    } finally {
      if (isRoot) process.seteuid?.(0);
    }
  });

  test("a part of a name that the file system has no room for is bad-name", async (t) => {
    const { store } = await openInTemporary(t);

    await assert.rejects(store.put(`a/${"n".repeat(300)}`, text("x")), { code: "bad-name" });
  });

  test("a body that is a file on the same disk is linked, not copied, once its digest is verified", async (t) => {
    const { path, store } = await openInTemporary(t);
    const from = join(path, "staged");
    await writeFile(from, "bytes", { mode: 0o600 });
    const open = () => createReadStream(from);
    const sha256 = createHash("sha256").update("bytes").digest("hex");

    const wrong = { size: 5, sha256: "0".repeat(64), path: from, open };
    await assert.rejects(store.put("a/wrong", wrong), { code: "corrupt" });
    assert.equal(await store.put("a/b", { size: 5, sha256, path: from, open }), "stored");
    assert.equal(await store.put("a/b", { size: 5, sha256, path: from, open }), "present");

    assert.equal((await stat(join(path, "a/b"))).ino, (await stat(from)).ino);
    assert.deepEqual(await readdir(join(path, "a")), ["b"]);
    await rm(from);
    assert.equal(await readFile(join(path, "a/b"), "utf8"), "bytes");
  });

  test("a body that is a file on another disk is copied", async (t) => {
    const { path, store } = await openInTemporary(t);
    const from = join("/dev/shm", `pageferry-staged-${process.pid}`);
    t.after(() => rm(from, { force: true }));
    await writeFile(from, "bytes");

    await store.put("a/b", { size: 5, path: from, open: () => createReadStream(from) });

    assert.equal((await stat(join(path, "a/b"))).nlink, 1);
    assert.equal(await readFile(join(path, "a/b"), "utf8"), "bytes");
  });

  test("descriptors of streams that are cancelled are given back", async (t) => {
    const { store } = await openInTemporary(t);
    await store.put("large", new Uint8Array(2_000_000));
    const openNow = async () => (await readdir("/proc/self/fd")).length;
    const before = await openNow();

    for (let round = 0; round < 50; round++) {
      const reader = (await store.get("large")).getReader();
      await reader.read();
      await reader.cancel();
    }

    assert.ok((await openNow()) <= before + 2);
  });
});
