// Looking inside backups through real processes: names of any bytes, over HTTP and by the command line, at a host and straight from a replica;
// and what a real bolt writer wrote, listed as its own checker does.
import assert from "node:assert/strict";
import { readFile, stat, writeFile } from "node:fs/promises";
import { suite, test } from "node:test";
import { openArchive, openPointPages, planFromArchive } from "@pageferry/format";
import { directoryReader } from "@pageferry/format/node";
import { run } from "../packages/cli/src/main.ts";
import { capturedIo } from "../packages/cli/testing/captured-io.ts";
import { listedHash } from "../packages/format/testing/listing.ts";
import { newestStored } from "./archive.ts";
import { checkFile, runWriter } from "./go-apps.ts";
import { bytesOf, hostile, hostileTree, typed, writeReplica } from "./inside.ts";
import { listPoints, pageferry, pageferryOk, restore, startServe, startUp } from "./pageferry.ts";
import { temporaryDirectory, until } from "./temporary.ts";

suite("names of any bytes", () => {
  test("are listed and found as they are, over HTTP and by the command line, and stand in no log", async () => {
    await using directory = await temporaryDirectory();
    const dataDir = directory.file("data");
    await writeReplica(`${dataDir}/replica/app`, hostileTree);
    const config = directory.file("pageferry.yml");
    await writeFile(config, "inspect: true\n");
    await using host = await startServe({
      dataDir,
      args: ["--config", config],
      env: { PAGEFERRY_LOG: "info" },
    });
    const token = (await pageferryOk(["token", "create", "--data", dataDir, "--scopes", "inspect"])).trim();
    const ask = (path: string) =>
      fetch(`${host.url}/v1/databases/app/inspect/${path}`, {
        headers: { authorization: `Bearer ${token}` },
      });

    const listed = (await (await ask("ls")).json()) as { entries: { key: string; kind: string }[] };
    assert.deepEqual(listed.entries.map(({ key }) => key).sort(), hostile.map(typed).sort());
    for (const name of hostile) {
      for (const key of hostile) {
        const query = new URLSearchParams({ path: typed(name), key: typed(key) });
        const answer = await ask(`get?${query}`);
        assert.deepEqual(Buffer.from(await answer.arrayBuffer()), bytesOf(`${name}|${key}`), typed(key));
      }
    }

    for (const from of [[], [host.url], [`${dataDir}/replica`], [`${dataDir}/replica/app`]]) {
      const env = { env: { PAGEFERRY_TOKEN: token } };
      const text = await pageferryOk(["ls", "--data", dataDir, ...from, "app"], env);
      assert.deepEqual(text.split("\n").slice(0, -1).sort(), hostile.map((name) => `${typed(name)}/`).sort());
      const path = `app/${typed("a/b")}/${typed("\xff\xfe")}`;
      const out = directory.file(`value-${from.length}-${Math.random()}`);
      await pageferryOk(["get", "--data", dataDir, ...from, path, "-o", out], env);
      assert.deepEqual(await readFile(out), bytesOf("a/b|\xff\xfe"));
      assert.equal((await stat(out)).mode & 0o777, 0o600);
    }

    const log = host.output();
    const uses = log.split("\n").filter((line) => line.includes('"msg":"inspect"'));
    assert.ok(uses.length >= hostile.length ** 2, `${uses.length} uses`);
    assert.match(uses[0] ?? "", /"database":"app".*"depth":0.*"token":"[0-9a-f]{12}"/);
    for (const word of ["passwd", "script", "hex:", "größe"]) assert.ok(!log.includes(word), word);
  });

  test("are shown to nobody where the host is not told to, and need the scope", async () => {
    await using directory = await temporaryDirectory();
    const dataDir = directory.file("data");
    await writeReplica(`${dataDir}/replica/app`, hostileTree);
    await using host = await startServe({ dataDir });

    const off = await pageferry(["ls", "--data", dataDir, "app"]);
    const missing = await pageferry(["get", `${dataDir}/replica`, "app/none/none"]);

    assert.deepEqual([off.code, missing.code], [6, 3]);
    assert.match(off.stderr, /inspect: true/);
    assert.equal(host.isRunning(), true);
  });

  test("are values too, which are not written to a terminal", async () => {
    await using directory = await temporaryDirectory();
    await writeReplica(directory.file("app"), hostileTree);
    const path = `app/${typed("a/b")}/${typed("\x1b[2J\x07")}`;
    const io = { ...capturedIo(), isOutTerminal: true };

    assert.equal(await run(["get", directory.file("app"), path], io), 2);
    assert.equal(io.said.out, "");
    assert.match(io.said.err, /hint: .*-o FILE/);
  });
});

test("what a bolt writer wrote is listed, at a dozen points, as its own checker lists the restored file", async () => {
  await using directory = await temporaryDirectory();
  const path = directory.file("app.db");
  await using host = await startUp([path], {
    dataDir: directory.file("data"),
    args: ["--sync-interval", "50ms", "--granularity", "transaction"],
  });
  const { txid } = await runWriter({
    path,
    count: 150,
    rate: 100,
    keys: 20,
    deletes: 4,
    nested: 4,
    overflow: 2,
  });
  const root = host.replica("app");
  await until("all of it is stored", async () => (await newestStored(root)) === txid);
  const archive = await openArchive([directoryReader(root)]);
  const all = await listPoints(root);
  // On a busy machine commits share points.
  const points = all.filter((_, at) => at % Math.ceil(all.length / 12) === 0);

  for (const { generation: id, txid: point } of points) {
    const out = directory.file(`${point}.db`);
    const restored = await restore(root, out, { txid: point, generation: id });
    assert.equal(restored.code, 0, restored.stderr);
    const target = { generation: id, txId: BigInt(`0x${point}`) } as Parameters<typeof planFromArchive>[1];
    const pages = await openPointPages(await planFromArchive(archive, target), archive.readers);

    assert.equal(await listedHash(pages, 40), (await checkFile(out)).logicalSha256, point);
  }
  assert.ok(points.length >= 3, `${points.length} of ${all.length} points`);
});
