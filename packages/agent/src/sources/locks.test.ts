import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite, test } from "node:test";
import { createLockTable, parseHeldLocks } from "./locks.ts";

const text = `1: FLOCK  ADVISORY  WRITE 812 fe:01:1704030 0 EOF
1: -> FLOCK  ADVISORY  WRITE 900 fe:01:1704031 0 EOF
2: FLOCK  ADVISORY  READ  813 fe:01:1704032 0 EOF
3: POSIX  ADVISORY  WRITE 814 00:1a:77 0 EOF
4: FLOCK  ADVISORY  WRITE 815 103:02:88 0 EOF
`;

function fakeProc(context: { after(undo: () => void): void }): string {
  const proc = mkdtempSync(join(tmpdir(), "proc-"));
  context.after(() => rmSync(proc, { recursive: true }));
  mkdirSync(join(proc, "self"));
  writeFileSync(join(proc, "locks"), text);
  writeFileSync(
    join(proc, "self/mountinfo"),
    "30 1 254:1 / / rw - ext4 /dev/vda rw\n31 1 259:2 / /data rw - btrfs x rw\n",
  );
  for (const processId of ["812", "815"]) mkdirSync(join(proc, processId, "fd"), { recursive: true });
  symlinkSync("/data/app.db (deleted)", join(proc, "812/fd/7"));
  return proc;
}

suite("locks", () => {
  test("are the exclusive ones of flock(2), without those who wait", () => {
    assert.deepEqual(parseHeldLocks(text), [
      { processId: 812, file: "fe:01:1704030" },
      { processId: 815, file: "103:02:88" },
    ]);
  });

  test("are found by the device and inode that stat tells", (context) => {
    const locks = createLockTable(() => 0, fakeProc(context));
    const device = (BigInt(0xfe) << 8n) | 1n;

    assert.equal(locks.isHeld("/x/app.db", device.toString(), "1704030"), true);
    assert.equal(locks.isHeld("/x/app.db", device.toString(), "1704031"), false);
  });

  test("are found by the mount's device, where stat tells another one", (context) => {
    const locks = createLockTable(() => 0, fakeProc(context));

    assert.equal(locks.isHeld("/data/app.db", "55", "88"), true);
    assert.equal(locks.isHeld("/elsewhere/app.db", "55", "88"), false);
  });

  test("tell whether their holders have the path open as an unlinked file", (context) => {
    const locks = createLockTable(() => 0, fakeProc(context));

    assert.equal(locks.isHeldUnlinked("/data/app.db"), true);
    assert.equal(locks.isHeldUnlinked("/data/other.db"), false);
  });

  test("are none where there is no /proc", () => {
    const locks = createLockTable(() => 0, "/nowhere");

    assert.equal(locks.isHeld("/data/app.db", "55", "88"), false);
    assert.equal(locks.isHeldUnlinked("/data/app.db"), false);
  });
});
