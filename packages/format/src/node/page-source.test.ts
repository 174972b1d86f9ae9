import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmodSync, mkdtempSync, readdirSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, suite, test } from "node:test";
import { image } from "../../testing/golden.ts";
import { checkDatabase } from "../bolt/check.ts";
import { openPageSource } from "./page-source.ts";

const directory = mkdtempSync(join(tmpdir(), "page-source-"));
after(() => rmSync(directory, { recursive: true }));

suite("a bolt file", () => {
  for (const replica of ["replica", "replica-16k-none"]) {
    test(`is read page by page, and checked: ${replica}`, () => {
      const { bytes, pageSize } = image(replica);
      using source = openPageSource(fileOf(bytes));

      const run = source.read(3, 2);

      assert.deepEqual([source.pageSize, source.size], [pageSize, bytes.length]);
      assert.deepEqual(Buffer.from(run), Buffer.from(bytes.subarray(3 * pageSize, 5 * pageSize)));
      assert.deepEqual(checkDatabase(source, { mode: "full" }).problems, []);
    });
  }

  test("is read into the memory that is given, when it fits", () => {
    const { bytes, pageSize } = image("replica");
    using source = openPageSource(fileOf(bytes));
    const [fitting, other] = [new Uint8Array(2 * pageSize), new Uint8Array(pageSize)];

    assert.equal(source.read(3, 2, fitting), fitting);
    assert.equal(source.read(3, 2, other).length, 2 * pageSize);
    assert.ok(other.every((byte) => byte === 0));
  });

  test("opens with a torn meta 0", () => {
    const { bytes, pageSize } = image("replica-16k-none");
    bytes[70] = (bytes[70] as number) ^ 1;
    using source = openPageSource(fileOf(bytes));

    assert.equal(source.pageSize, pageSize);
  });

  test("is corrupt beyond its end, also when it is cut while it is read", () => {
    const { bytes, pageSize } = image("replica");
    const path = fileOf(bytes);
    using source = openPageSource(path);

    assert.throws(() => source.read(187, 3), { code: "corrupt", message: /^page 189: beyond the end/ });
    assert.throws(() => source.read(2, 2 ** 32), { code: "corrupt" });
    truncateSync(path, 100 * pageSize);
    assert.throws(() => source.read(99, 3), { code: "corrupt", message: /^page 100: .* became shorter/ });
  });

  test("is closed once, also when it is closed twice", () => {
    const descriptors = readdirSync("/proc/self/fd").length;

    const source = openPageSource(fileOf(image("replica").bytes));
    source.close();
    source.close();

    assert.equal(readdirSync("/proc/self/fd").length, descriptors);
  });
});

suite("what is no bolt file", () => {
  test("is refused: nothing, empty, text, a directory, a device", () => {
    const descriptors = readdirSync("/proc/self/fd").length;

    assert.throws(() => openPageSource(join(directory, "absent.db")), { code: "not-found" });
    assert.throws(() => openPageSource(join(fileOf(Buffer.from("x")), "below.db")), { code: "not-found" });
    assert.throws(() => openPageSource(fileOf(new Uint8Array(0))), { code: "not-bolt" });
    assert.throws(() => openPageSource(fileOf(Buffer.from("no database\n"))), { code: "not-bolt" });
    assert.throws(() => openPageSource(fileOf(new Uint8Array(100_000))), { code: "not-bolt" });
    assert.throws(() => openPageSource(directory), { code: "not-bolt" });
    assert.throws(() => openPageSource("/dev/null"), { code: "not-bolt" });
    assert.equal(readdirSync("/proc/self/fd").length, descriptors);
  });

  test("is unreadable when another user owns it alone", () => {
    const path = fileOf(image("replica").bytes);
    chmodSync(path, 0o000);

    // Root may read anything, so it asks as nobody.
    const script = `
      const { openPageSource } = await import(${JSON.stringify(new URL("./page-source.ts", import.meta.url).href)});
      if (process.getuid() === 0) { process.setgroups([]); process.setgid(65534); process.setuid(65534); }
      try { openPageSource(${JSON.stringify(path)}); } catch (error) { process.stdout.write(error.code); }
    `;
    chmodSync(directory, 0o755);
    const code = execFileSync(process.execPath, ["--input-type=module", "-e", script], { encoding: "utf8" });

    assert.equal(code, "unreadable");
  });
});

let files = 0;

function fileOf(bytes: Uint8Array): string {
  files += 1;
  const path = join(directory, `${files}.db`);
  writeFileSync(path, bytes);
  return path;
}
