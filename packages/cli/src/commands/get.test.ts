import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite, test } from "node:test";
import { capturedIo } from "../../testing/captured-io.ts";
import { run } from "../main.ts";

const replica = new URL("../../../../test/golden/replica/data", import.meta.url).pathname;

async function call(args: readonly string[], isOutTerminal = false) {
  const io = { ...capturedIo(), isOutTerminal };
  const code = await run(args, io);
  return { code, ...io.said };
}

/** Some key of the recorded application, and its size. */
async function someKey(bucket: string) {
  const { out } = await call(["ls", replica, `data/${bucket}`, "--json", "--limit", "1"]);
  const [{ key, bytes }] = (JSON.parse(out) as { entries: [{ key: string; bytes: number }] }).entries;
  return { path: `data/${bucket}/${key}`, bytes };
}

suite("get", () => {
  test("prints a value byte for byte, and writes the same to a file that is new", async (t) => {
    const directory = await mkdtemp(join(tmpdir(), "pageferry-get-"));
    t.after(() => rm(directory, { recursive: true, force: true }));
    const { path, bytes } = await someKey("blobs");
    const file = join(directory, "value");

    const piped = await call(["get", replica, path]);
    const written = await call(["get", replica, path, "-o", file]);
    const again = await call(["get", replica, path, "-o", file]);

    assert.deepEqual([piped.code, written.code, again.code], [0, 0, 5]);
    assert.equal(piped.out.length, bytes);
    assert.equal(await readFile(file, "latin1"), piped.out);
  });

  test("ends with a line end on a terminal, where it is text", async () => {
    const { path, bytes } = await someKey("blobs");

    const { code, out } = await call(["get", replica, path], true);

    assert.deepEqual([code, out.length, out.at(-1)], [0, bytes + 1, "\n"]);
  });

  test("says what is not there by exit code 3, and what is a bucket by 2", async () => {
    const codes = [];
    for (const path of ["data/users/nobody", "data/nothing/at/all", "data/users", "data"])
      codes.push((await call(["get", replica, path])).code);

    assert.deepEqual(codes, [3, 3, 2, 2]);
  });
});

suite("ls", () => {
  test("goes on after the last name that it showed, and says that there is more", async () => {
    const all = await call(["ls", replica, "data/users"]);
    const first = await call(["ls", replica, "data/users", "--limit", "2"]);
    const after = /--after (\S+)/.exec(first.err)?.[1] ?? "";
    const rest = await call(["ls", replica, "data/users", "--after", after]);

    assert.equal(first.out + rest.out, all.out);
    assert.equal(first.out.split("\n").length, 3);
  });

  test("shows buckets with a slash, which may be typed", async () => {
    assert.equal((await call(["ls", replica, "data"])).out, "blobs/\nusers/\n");
    assert.equal((await call(["ls", replica, "data/users/", "--limit", "1"])).code, 0);
  });

  test("refuses what makes no sense", async () => {
    for (const args of [["/users"], ["data//x"], ["data", "--limit", "0"], ["data/hex:0"]])
      assert.equal((await call(["ls", replica, ...args])).code, 2, args.join(" "));
  });
});
