import assert from "node:assert/strict";
import { mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileSpool } from "./file-spool.ts";

test("a spool gives back what was written, as often as it is asked, and is gone after", async (t) => {
  const directory = await mkdtemp(join(tmpdir(), "pageferry-spool-"));
  t.after(() => rm(directory, { recursive: true, force: true }));
  const path = join(directory, "spool");
  const spool = fileSpool(path);
  const reused = new Uint8Array(700_000);

  for (const value of [1, 2, 3]) await spool.write(reused.fill(value));

  assert.equal(spool.size(), 2_100_000);
  assert.equal((await stat(path)).mode & 0o777, 0o600);
  for (let again = 0; again < 2; again += 1) {
    const bytes = Buffer.concat(await Array.fromAsync(spool.open()));
    assert.deepEqual(
      [bytes.length, bytes[0], bytes[699_999], bytes[700_000], bytes.at(-1)],
      [2_100_000, 1, 1, 2, 3],
    );
  }
  await spool.remove();
  await spool.remove();
  assert.deepEqual(await readdir(directory), []);
});

test("a spool that nothing was written to is empty, and leaves no file", async (t) => {
  const directory = await mkdtemp(join(tmpdir(), "pageferry-spool-"));
  t.after(() => rm(directory, { recursive: true, force: true }));
  const spool = fileSpool(join(directory, "spool"));

  assert.deepEqual(await Array.fromAsync(spool.open()), []);
  await spool.remove();

  assert.deepEqual(await readdir(directory), []);
});

test("a spool does not write over a file that is there", async (t) => {
  const directory = await mkdtemp(join(tmpdir(), "pageferry-spool-"));
  t.after(() => rm(directory, { recursive: true, force: true }));
  const first = fileSpool(join(directory, "spool"));
  await first.write(new Uint8Array(1));

  await assert.rejects(fileSpool(join(directory, "spool")).write(new Uint8Array(1)), { code: "exists" });

  await first.remove();
});
