import assert from "node:assert/strict";
import fs, { rm, writeFile } from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
import { join } from "node:path";
import { suite, test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { movableFile, temporary, until } from "../../testing/agent-bench.ts";
import {
  alarmCodes,
  count,
  startFor,
  textsOf,
  versionsAt,
  waitingIn,
} from "../../testing/companions-bench.ts";
import { startTinyHost } from "../../testing/tiny-host.ts";
import { createAgent } from "../agent.ts";
import { createHttpQueue } from "../queues/http.ts";

suite("companion files in trouble", () => {
  test("wait for a host that is away, every version of them, also over a restart", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    const path = join(directory.path, "key");
    await writeFile(path, "0");
    const file = movableFile();
    {
      await using _bench = await startFor(host, directory.path, { file });
      await until("the first", () => count(host) === 1);
      host.intercept = () => ({ status: 503, body: "{}" });
      for (const text of ["1", "2"]) {
        await writeFile(path, text);
        await until(`${text} waits`, () => waitingIn(directory.path).length === Number(text));
      }
    }
    assert.equal(count(host), 1);

    host.intercept = () => undefined;
    await using bench = await startFor(host, directory.path, { file });
    await until("all of them", () => count(host) === 3);

    assert.deepEqual((await versionsAt(host)).map(textsOf), [{ key: "0" }, { key: "1" }, { key: "2" }]);
    assert.deepEqual(alarmCodes(bench), []);
  });

  test("that could not be read for a moment are read again, though nothing about them changed", async (t) => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    const path = join(directory.path, "key");
    await writeFile(path, "secret");
    // What was changed within a second is read again anyway.
    await setTimeout(1200);
    const { open } = fs;
    const failing = t.mock.method(fs, "open", (name: string, ...more: unknown[]) => {
      if (name !== path) return Reflect.apply(open, fs, [name, ...more]);
      return Promise.reject(Object.assign(new Error("too many open files"), { code: "EMFILE" }));
    });
    syncBuiltinESMExports();
    await using bench = await startFor(host, directory.path);
    await until("a version without it", () => count(host) === 1);
    await until("an alarm", () => alarmCodes(bench).includes("unauthorized"));

    failing.mock.restore();
    syncBuiltinESMExports();
    await until("one with it", () => count(host) === 2);
    await until("no alarm", () => alarmCodes(bench).length === 0);

    assert.deepEqual((await versionsAt(host)).map(textsOf), [{}, { key: "secret" }]);
  });

  test("whose version the disk lost before it was sent are sent as they are now", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    const path = join(directory.path, "key");
    await writeFile(path, "0");
    const file = movableFile();
    await using bench = await startFor(host, directory.path, { file });
    const told: string[] = [];
    bench.agent.on("alarm", ({ alarm }) => void told.push(alarm.code));
    await until("the first", () => count(host) === 1);
    host.intercept = () => ({ status: 503, body: "{}" });
    await writeFile(path, "1");
    await until("it waits", () => waitingIn(directory.path).length > 0);
    for (const name of waitingIn(directory.path))
      await writeFile(join(directory.path, "shadow/app/files", name), "broken");
    host.intercept = () => undefined;
    await until("the second", () => count(host) === 2);

    assert.deepEqual((await versionsAt(host)).map(textsOf), [{ key: "0" }, { key: "1" }]);
    assert.ok(told.includes("corrupt"), told.join());
  });

  test("on a file system that does not answer hold the end up no longer than it may take", async (t) => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    const path = join(directory.path, "key");
    const file = movableFile();
    const bench = await startFor(host, directory.path, { file });
    const { stat } = fs;
    const hung = Promise.withResolvers<void>();
    const hanging = t.mock.method(fs, "stat", (name: string, ...more: unknown[]) => {
      if (name !== path) return Reflect.apply(stat, fs, [name, ...more]);
      hung.resolve();
      return new Promise(() => {});
    });
    syncBuiltinESMExports();
    try {
      await hung.promise;
      file.commit(1);
      await bench.settled();
      await until("an alarm", () => alarmCodes(bench).includes("unavailable"));

      await bench.agent.stop({ deadlineMs: 300 });
    } finally {
      hanging.mock.restore();
      syncBuiltinESMExports();
    }

    await using again = await startFor(host, directory.path, { file });
    await again.settled();
  });

  test("that wait are sent by an agent that only sends: what is restored is to be the newest there is", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    const path = join(directory.path, "key");
    await writeFile(path, "one");
    const file = movableFile();
    {
      await using _bench = await startFor(host, directory.path, { file });
      await until("a version", () => count(host) === 1);
      host.intercept = () => ({ status: 503, body: "{}" });
      await writeFile(path, "two");
      await until("it waits", () => waitingIn(directory.path).length === 1);
    }
    host.intercept = () => undefined;
    await rm(path);
    const agent = createAgent({
      databases: [{ path: join(directory.path, "app.db"), name: "app", files: [path] }],
      queue: createHttpQueue({ url: host.url }),
      shadowDir: join(directory.path, "shadow"),
      openSource: null,
    });
    await agent.start();
    await agent.stop({ deadlineMs: 10_000 });

    assert.deepEqual((await versionsAt(host)).map(textsOf), [{ key: "one" }, { key: "two" }]);
  });

  test("of a history that the host refuses wait, and those of the next one go on", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    const path = join(directory.path, "key");
    await writeFile(path, "0");
    const file = movableFile();
    await using bench = await startFor(host, directory.path, { file, refusedMs: 300 });
    await until("the first", () => count(host) === 1);
    const before = bench.generation();
    host.knows = (name) => (name.startsWith(`files/${before}`) ? "fork" : true);
    await writeFile(path, "1");
    await until("it is refused", () => alarmCodes(bench).length > 0);
    // Of the database itself nothing was refused.
    assert.deepEqual(alarmCodes(bench), ["conflict"]);

    file.inode = "2";
    file.commit(1);
    await until("another history", () => bench.generation() !== before);
    await bench.settled();
    await until("its first version", () => count(host) === 2);

    assert.ok(alarmCodes(bench).includes("conflict"));
    host.knows = () => true;
    await until("the one that was refused", () => count(host) === 3);
    await until("no alarm", () => alarmCodes(bench).length === 0);
    assert.deepEqual((await versionsAt(host)).map(textsOf), [{ key: "0" }, { key: "1" }, { key: "1" }]);
  });
});
