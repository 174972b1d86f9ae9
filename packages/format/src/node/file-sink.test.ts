import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite, type TestContext, test } from "node:test";
import { fileSink } from "./file-sink.ts";

/** Locks the file that is its $0 as bolt does, says so, and waits. */
const holdLocked = 'exec flock --exclusive --no-fork "$0" sh -c "echo held; exec sleep 60"';

async function place(t: TestContext): Promise<{ readonly directory: string; readonly target: string }> {
  const directory = await mkdtemp(join(tmpdir(), "pageferry-sink-"));
  t.after(() => rm(directory, { recursive: true, force: true }));
  return { directory, target: join(directory, "app.db") };
}

const bytes = (text: string): Uint8Array => Buffer.from(text);

suite("a restored file", () => {
  for (const isScratch of [false, true]) {
    test(`has its name only once it is whole, as long as it was said, and is private${isScratch ? ", in scratch too" : ""}`, async (t) => {
      const { directory, target } = await place(t);
      const sink = await fileSink(target, { isScratch });
      await sink.begin(10);
      await sink.write(4, [bytes("ab"), bytes("cd")]);
      const before = await readdir(directory);

      await sink.publish();

      assert.ok(!before.includes("app.db"));
      assert.equal(await readFile(target, "latin1"), "\0\0\0\0abcd\0\0");
      assert.equal((await stat(target)).mode & 0o777, 0o600);
      assert.deepEqual(await readdir(directory), ["app.db"]);
    });
  }

  test("is shown before it gets its name, and refused there leaves the target as it was", async (t) => {
    const { directory, target } = await place(t);
    await writeFile(target, "before");
    const shown: string[] = [];
    const sink = await fileSink(target, {
      force: true,
      async beforePublish(path) {
        shown.push(await readFile(path, "utf8"), await readFile(target, "utf8"));
        throw new RangeError("refused");
      },
    });
    await sink.begin(3);
    await sink.write(0, [bytes("new")]);

    await assert.rejects(sink.publish(), { message: "refused" });
    await sink.discard();

    assert.deepEqual(shown, ["new", "before"]);
    assert.equal(await readFile(target, "utf8"), "before");
    assert.deepEqual(await readdir(directory), ["app.db"]);
  });

  test("that is begun anew holds nothing of before", async (t) => {
    const { target } = await place(t);
    const sink = await fileSink(target);
    await sink.begin(8);
    await sink.write(0, [bytes("12345678")]);

    await sink.begin(4);
    await sink.publish();

    assert.equal(await readFile(target, "latin1"), "\0\0\0\0");
  });

  test("that is discarded leaves nothing, and discarding after publishing is nothing", async (t) => {
    const { directory, target } = await place(t);
    const first = await fileSink(target);
    await first.begin(4);
    await first.discard();
    assert.deepEqual(await readdir(directory), []);

    const second = await fileSink(target);
    await second.begin(4);
    await second.publish();
    await second.discard();

    assert.deepEqual(await readdir(directory), ["app.db"]);
  });

  test("may be written in another directory, and on another file system", async (t) => {
    const { target, directory } = await place(t);
    const elsewhere = await mkdtemp("/dev/shm/pageferry-sink-").catch(() => undefined);
    const tempDirs = [join(directory, "tmp")];
    await mkdir(join(directory, "tmp"));
    if (elsewhere !== undefined) {
      t.after(() => rm(elsewhere, { recursive: true, force: true }));
      tempDirs.push(elsewhere);
    }
    for (const tempDir of tempDirs) {
      const sink = await fileSink(target, { tempDir, force: true });
      await sink.begin(3);
      await sink.write(0, [bytes("abc")]);

      await sink.publish();

      assert.equal(await readFile(target, "latin1"), "abc");
      assert.deepEqual(await readdir(tempDir), []);
    }
  });
});

suite("a target", () => {
  test("that is there is refused, unless it is empty or forced", async (t) => {
    const { target } = await place(t);
    await writeFile(target, "old");
    await assert.rejects(fileSink(target), { code: "exists" });

    const forced = await fileSink(target, { force: true });
    await forced.begin(1);
    await forced.publish();
    assert.equal((await stat(target)).size, 1);

    await writeFile(target, "");
    const empty = await fileSink(target);
    await empty.begin(2);
    await empty.publish();
    assert.equal((await stat(target)).size, 2);
  });

  test("that appears while the restore runs is not overwritten", async (t) => {
    const { directory, target } = await place(t);
    const sink = await fileSink(target);
    await sink.begin(1);
    await writeFile(target, "new");

    await assert.rejects(sink.publish(), { code: "exists" });

    await sink.discard();
    assert.equal(await readFile(target, "utf8"), "new");
    assert.deepEqual(await readdir(directory), ["app.db"]);
  });

  test("that is replaced by force gives its mode to what replaces it", async (t) => {
    const { target } = await place(t);
    await writeFile(target, "old");
    await chmod(target, 0o640);
    const sink = await fileSink(target, { force: true });
    await sink.begin(1);

    await sink.publish();

    assert.equal((await stat(target)).mode & 0o777, 0o640);
  });

  test("that a process holds locked is refused, also by force, also when it comes late", async (t) => {
    const { target } = await place(t);
    await writeFile(target, "in use");
    const early = await fileSink(target, { force: true });
    await early.begin(1);
    const holder = spawn("sh", ["-c", holdLocked, target]);
    t.after(() => holder.kill("SIGKILL"));
    await once(holder.stdout, "data");

    await assert.rejects(fileSink(target, { force: true }), {
      code: "locked",
      message: new RegExp(`process ${holder.pid}`),
    });
    await assert.rejects(early.publish(), { code: "locked" });

    await early.discard();
    assert.equal(await readFile(target, "utf8"), "in use");
  });

  test("that is a directory, or lies in none, says so", async (t) => {
    const { directory } = await place(t);

    await assert.rejects(fileSink(directory, { force: true }), { code: "exists" });
    await assert.rejects(fileSink(join(directory, "none", "app.db")), { code: "not-found" });
  });
});
