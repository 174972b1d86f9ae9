// The first start with many databases, whose host is away: they wait for it on the agent's disk a few at a time, and not all at once.
import assert from "node:assert/strict";
import { copyFile, mkdir, readdir, writeFile } from "node:fs/promises";
import { suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { newestStored } from "./archive.ts";
import { newestTxId } from "./capture-run.ts";
import { runWriter } from "./go-apps.ts";
import { startReplicate, startServe } from "./pageferry.ts";
import { freePort, temporaryDirectory, until } from "./temporary.ts";

const databases = 60;

/** As many images, and as many snapshots, as lie there at a time. */
const placesMax = 16;

suite("a first start with many databases", () => {
  test("takes the room of a few on the disk while the host is away, and all of them are stored when it is back", async () => {
    await using directory = await temporaryDirectory();
    const names = Array.from({ length: databases }, (_, at) => `db${at}`);
    const first = directory.file("first.db");
    await runWriter({ path: first, count: 2 });
    await mkdir(directory.file("apps"));
    for (const name of names) await copyFile(first, directory.file("apps", `${name}.db`));
    const dataDir = directory.file("data");
    const port = await freePort();
    // It makes the token that the agent is given, and goes.
    const before = await startServe({ dataDir, port });
    const token = await before.token();
    assert.equal((await before.stop()).code, 0);
    const config = directory.file("agent.json");
    await writeFile(config, JSON.stringify({ databases: [{ dir: directory.file("apps") }] }));
    const shadowDir = directory.file("shadow");
    const scratch = async (): Promise<string[]> => {
      const listed = names.map((name) => readdir(`${shadowDir}/${name}/scratch`).catch(() => []));
      return (await Promise.all(listed)).flat();
    };

    await using agent = startReplicate([], {
      host: before.url,
      token,
      shadowDir,
      args: ["--config", config],
    });
    await agent.line(/^ready: /);
    const count = async (pattern: RegExp) => (await scratch()).filter((name) => pattern.test(name)).length;
    await until("snapshots wait for the host", async () => (await count(/^snapshot-/)) === placesMax);
    await until("images wait for snapshots", async () => (await count(/^image-/)) === placesMax);
    await sleep(3000);
    assert.deepEqual([await count(/^snapshot-/), await count(/^image-/)], [placesMax, placesMax]);

    await using host = await startServe({ dataDir, port });
    const newest = await newestTxId(first);
    for (const name of names)
      await until(name, async () => (await newestStored(host.replica(name))) === newest, {
        timeoutMs: 60_000,
      });
    await until("nothing is left on the disk", async () => (await scratch()).length === 0);
    assert.equal((await agent.stop()).code, 0, agent.output());
  });
});
