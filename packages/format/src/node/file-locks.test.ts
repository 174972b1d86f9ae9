import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileLocks, parseLocks } from "./file-locks.ts";

const text = `1: POSIX  ADVISORY  WRITE 812 fe:01:77 0 EOF
2: FLOCK  ADVISORY  WRITE 1234 fe:01:5678 0 EOF
2: -> FLOCK  ADVISORY  WRITE 1300 fe:01:5678 0 EOF
3: FLOCK  ADVISORY  READ  99 00:2f:5678 0 EOF
4: OFDLCK ADVISORY  READ  -1 fe:01:5678 100 200
`;

/** Locks the file that is its $0 as bolt does, says so, and waits. */
const holdLocked = 'exec flock --exclusive --no-fork "$0" sh -c "echo held; exec sleep 60"';

test("locks of one inode are picked out by inode and device, without those who wait", () => {
  assert.deepEqual(parseLocks(text, 5678n, new Set(["fe:01"])), [
    { pid: 1234, isExclusive: true },
    { pid: 0, isExclusive: false },
  ]);
  assert.deepEqual(parseLocks(text, 5678n, new Set(["00:2f"])), [{ pid: 99, isExclusive: false }]);
  assert.deepEqual(parseLocks(text, 567n, new Set(["fe:01"])), []);
});

test("a file that another process holds locked, as bolt does, shows its holder", async (t) => {
  const directory = await mkdtemp(join(tmpdir(), "pageferry-locks-"));
  t.after(() => rm(directory, { recursive: true, force: true }));
  const path = join(directory, "app.db");
  await writeFile(path, "x");
  assert.deepEqual(await fileLocks(path), []);

  const holder = spawn("sh", ["-c", holdLocked, path]);
  t.after(() => holder.kill("SIGKILL"));
  await once(holder.stdout, "data");

  assert.deepEqual(await fileLocks(path), [{ pid: holder.pid, isExclusive: true }]);
  assert.deepEqual(await fileLocks(join(directory, "other.db")), []);
});
