import assert from "node:assert/strict";
import fs from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { mock, suite, type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

/** Syncs that were asked for and not let go yet. The real thing is replaced before the queue is loaded. */
const held: ((error?: Error) => void)[] = [];
mock.method(fs, "fdatasync", (_fd: number, done: (error: Error | null) => void) => {
  held.push((error) => done(error ?? null));
});
syncBuiltinESMExports();
const { openQueue } = await import("./queue.ts");

const message = (word: string) => ({ database: "app", body: Buffer.from(word), receivedAtMs: 0 });
const bounds = { messagesMax: 10, bytesMax: 1000, visibilityMs: 1000 };

async function openTemporary(t: TestContext) {
  const directory = await mkdtemp(join(tmpdir(), "pageferry-queue-log-"));
  const path = join(directory, "queue.db");
  const queue = openQueue({ path, now: () => 0 });
  t.after(async () => {
    for (const letGo of held.splice(0)) letGo();
    await queue.close();
    await rm(directory, { recursive: true, force: true });
  });
  const answered: string[] = [];
  const send = (word: string) => {
    queue.send("in", message(word)).then(
      () => answered.push(word),
      (error: { code: string }) => answered.push(`${word}: ${error.code}`),
    );
    return sleep(20);
  };
  return { path, queue, answered, send };
}

suite("a sender", () => {
  test("is answered when the log is synced, not before", async (t) => {
    const { answered, send } = await openTemporary(t);

    await send("one");
    assert.deepEqual(answered, []);
    held.shift()?.();
    await sleep(20);

    assert.deepEqual(answered, ["one"]);
  });

  test("that comes while a sync runs shares the next with all who came meanwhile: that one may not have seen it", async (t) => {
    const { answered, send } = await openTemporary(t);
    await send("one");
    await send("two");
    await send("three");
    assert.equal(held.length, 1);

    held.shift()?.();
    await sleep(20);
    assert.deepEqual(answered, ["one"]);
    assert.equal(held.length, 1);
    held.shift()?.();
    await sleep(20);

    assert.deepEqual(answered, ["one", "two", "three"]);
  });

  test("is told when the sync fails, and those after it are not", async (t) => {
    const { path, queue, answered, send } = await openTemporary(t);
    await send("one");
    await send("two");
    assert.ok(fs.statSync(`${path}-wal`).size > 0);

    held.shift()?.(Object.assign(new Error("full"), { code: "ENOSPC" }));
    await sleep(20);
    // What the system may have dropped from the log is in the database file before anybody else is answered.
    assert.equal(fs.statSync(`${path}-wal`).size, 0);
    held.shift()?.();
    await sleep(20);

    assert.deepEqual(answered, ["one: disk-full", "two"]);
    assert.equal(queue.receive("in", bounds).length, 2);
  });

  test("does not hold up who takes its message", async (t) => {
    const { queue, answered, send } = await openTemporary(t);

    await send("one");

    assert.equal(queue.receive("in", bounds).length, 1);
    assert.deepEqual(answered, []);
  });
});
