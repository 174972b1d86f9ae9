import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { chmod, mkdir, rename, rm, symlink, truncate, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { suite, test } from "node:test";
import { type CompanionsVersion, companionBytesMax } from "@pageferry/format";
import { movableFile, temporary, until } from "../../testing/agent-bench.ts";
import {
  alarmCodes,
  count,
  filesMs,
  someLooks,
  startFor,
  textsOf,
  versionsAt,
} from "../../testing/companions-bench.ts";
import { startTinyHost } from "../../testing/tiny-host.ts";
import { createAgent } from "../agent.ts";
import { createHttpQueue } from "../queues/http.ts";

suite("companion files", () => {
  test("are sent whole when they change, by rename, in place, and when they are gone, each time once", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    const at = (name: string) => join(directory.path, name);
    await mkdir(at("tls"));
    await writeFile(at("tls/a.pem"), "one");
    await writeFile(at("key"), "secret", { mode: 0o640 });
    await chmod(at("key"), 0o640);
    await using bench = await startFor(host, directory.path);

    await until("the first version", () => count(host) === 1);
    await writeFile(at("new"), "two");
    await rename(at("new"), at("tls/a.pem"));
    await until("the renamed one", () => count(host) === 2);
    await writeFile(at("key"), "other");
    await until("the one changed in place", () => count(host) === 3);
    await rm(at("tls/a.pem"));
    await until("the one without", () => count(host) === 4);
    await utimes(at("key"), new Date(), new Date());
    await someLooks();

    const versions = await versionsAt(host);
    assert.deepEqual(versions.map(textsOf), [
      { key: "secret", "tls/a.pem": "one" },
      { key: "secret", "tls/a.pem": "two" },
      { key: "other", "tls/a.pem": "two" },
      { key: "other" },
    ]);
    assert.deepEqual(
      versions[0]?.files.map(({ mode }) => mode),
      [0o640, 0o644],
    );
    assert.ok(versions.every(({ generation, txId }) => generation === bench.generation() && txId === 1n));
    assert.deepEqual(alarmCodes(bench), []);
  });

  test("are sent as soon as the outbox can be made, and what hinders it is told", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    const own = join(directory.path, "shadow", "app");
    await mkdir(own, { recursive: true });
    await writeFile(join(own, "files"), "in its place");
    await writeFile(join(directory.path, "key"), "one");

    await using bench = await startFor(host, directory.path);
    await until("an alarm", () => alarmCodes(bench).length > 0);
    await rm(join(own, "files"));
    await until("a version", () => count(host) === 1);

    await until("no alarm", () => alarmCodes(bench).length === 0);
  });

  test("that did not change are not sent again by the next agent, and those that did are", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    await writeFile(join(directory.path, "key"), "one");
    const file = movableFile();
    for (let start = 0; start < 3; start += 1) {
      await using _bench = await startFor(host, directory.path, { file });
      await until("a version", () => count(host) === 1);
      await someLooks();
    }
    assert.equal(count(host), 1);

    await writeFile(join(directory.path, "key"), "two");
    await using _bench = await startFor(host, directory.path, { file });
    await until("the second", () => count(host) === 2);

    assert.deepEqual((await versionsAt(host)).map(textsOf), [{ key: "one" }, { key: "two" }]);
  });

  test("that the host does not know are an alarm of their own, and the database is backed up", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    await writeFile(join(directory.path, "key"), "secret");
    const file = movableFile();
    host.knows = (name) => !name.startsWith("files/");
    await using bench = await startFor(host, directory.path, { file, refusedMs: 50 });
    await until("an alarm", () => alarmCodes(bench).includes("unsupported-version"));

    file.commit(3);
    await bench.settled();

    assert.equal(bench.status().acknowledgedTxId, 4n);
    assert.equal(bench.status().state, "running");
    host.knows = () => true;
    await until("it is sent when the host knows it", () => count(host) === 1);
    await until("no alarm", () => alarmCodes(bench).length === 0);
  });

  test("that are too large, or cannot be read, are told by name, and the others go on", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    const at = (name: string) => join(directory.path, name);
    await mkdir(at("tls"));
    await writeFile(at("key"), "small");
    await writeFile(at("tls/big.pem"), "secret");
    await truncate(at("tls/big.pem"), companionBytesMax + 1);
    await using bench = await startFor(host, directory.path);

    await until("a version", () => count(host) === 1);
    await until("an alarm", () => alarmCodes(bench).includes("too-large"));
    const [version] = await versionsAt(host);
    assert.deepEqual(
      version?.files.map(({ name }) => name),
      ["key"],
    );
    assert.deepEqual(version?.skipped, [{ name: "tls/big.pem", why: "too-large" }]);
    const [alarm] = bench.status().alarms;
    assert.match(alarm?.message ?? "", /tls\/big\.pem/);
    assert.doesNotMatch(
      JSON.stringify(bench.status(), (_, value) => `${value}`),
      /secret/,
    );

    await writeFile(at("tls/big.pem"), "fits");
    await until("all of it", () => count(host) === 2);
    await until("no alarm", () => alarmCodes(bench).length === 0);
  });

  test("of several hundred KiB go as a staged body, and come whole", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    const bytes = randomBytes(900_000);
    await writeFile(join(directory.path, "key"), bytes);
    await using _bench = await startFor(host, directory.path);

    await until("a version", () => count(host) === 1);

    const [version] = await versionsAt(host);
    assert.ok(bytes.equals(version?.files[0]?.bytes ?? new Uint8Array()));
    assert.ok(host.envelopes.some(({ items }) => items.some((item) => "digest" in item)));
  });

  test("are followed through a link to a regular file, and to nothing else", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    const at = (name: string) => join(directory.path, name);
    await mkdir(at("tls"));
    await writeFile(at("real"), "content");
    await symlink(at("real"), at("tls/a.pem"));
    await symlink("/dev/zero", at("tls/b.pem"));
    await symlink(at("nowhere"), at("tls/c.pem"));
    await mkdir(at("tls/d.pem"));
    await using _bench = await startFor(host, directory.path);

    await until("a version", () => count(host) === 1);

    assert.deepEqual((await versionsAt(host)).map(textsOf), [{ "tls/a.pem": "content" }]);
  });

  test("that are not there at a generation's first look say nothing: those before speak for them", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    await using _bench = await startFor(host, directory.path);
    await someLooks();

    assert.equal(count(host), 0);
  });

  test("that are gone together with the database say nothing: the volume may not be mounted", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    await writeFile(join(directory.path, "key"), "one");
    await using _bench = await startFor(host, directory.path);
    await until("a version", () => count(host) === 1);

    await rm(join(directory.path, "app.db"));
    await rm(join(directory.path, "key"));
    await someLooks();

    assert.equal(count(host), 1);
  });

  test("of a database that is only sent are not looked at: they may not be restored yet", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    const path = join(directory.path, "key");
    await writeFile(path, "one");
    const file = movableFile();
    {
      await using _bench = await startFor(host, directory.path, { file });
      await until("a version", () => count(host) === 1);
    }
    await rm(path);
    const agent = createAgent({
      databases: [{ path: join(directory.path, "app.db"), name: "app", files: [path] }],
      queue: createHttpQueue({ url: host.url }),
      shadowDir: join(directory.path, "shadow"),
      ...{ openSource: null, filesMs },
    });
    await agent.start();
    await someLooks();
    await agent.stop({ deadlineMs: 500 });

    assert.equal(count(host), 1);
  });

  test("written without a pause are never torn: each version is one that was written", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    const path = join(directory.path, "key");
    const text = (round: number) => `${round}\n`.repeat(2000 + (round % 7));
    await writeFile(path, text(0));
    await using _bench = await startFor(host, directory.path);
    const endMs = performance.now() + 4000;
    let round = 0;
    while (performance.now() < endMs) {
      round += 1;
      await writeFile(join(directory.path, "next"), text(round));
      await rename(join(directory.path, "next"), path);
    }
    await until("the last", () => count(host) > 1);
    await someLooks();

    const versions = await versionsAt(host);
    for (const version of versions) {
      const found = textsOf(version).key ?? "";
      assert.ok(found === text(Number(found.split("\n")[0])), `torn: ${found.slice(0, 20)}`);
    }
    assert.ok(versions.length > 2, `${versions.length} versions`);
    assert.ok(textsOf(versions.at(-1) as CompanionsVersion).key === text(round));
  });
});
