// Tokens through real processes: an agent that can add to its own database and do nothing else, and one that replaces another.
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { newestStored } from "./archive.ts";
import { newestTxId } from "./capture-run.ts";
import { runWriter } from "./go-apps.ts";
import { pageferry, pageferryOk, restore, startReplicate, startServe } from "./pageferry.ts";
import { temporaryDirectory, until } from "./temporary.ts";

const read = async (url: string, path: string, token: string, method = "GET"): Promise<number> => {
  const answer = await fetch(`${url}${path}`, { method, headers: { authorization: `Bearer ${token}` } });
  await answer.arrayBuffer();
  return answer.status;
};

suite("an agent with a token of its own", () => {
  test("backs up its database, sees and alters nothing, and cannot add to another one's history", async () => {
    await using directory = await temporaryDirectory();
    const path = directory.file("app.db");
    await runWriter({ path, count: 30 });
    const dataDir = directory.file("data");
    await using host = await startServe({ dataDir });
    const create = async (...args: readonly string[]) =>
      (await pageferryOk(["token", "create", "--data", dataDir, ...args])).trim();
    const token = await create("--database", "app");
    const reader = await create("--scopes", "restore", "--database", "app");
    const agentOf = (file: string, shadow: string, name = token) =>
      startReplicate([file], {
        ...{ host: host.url, token: name, shadowDir: directory.file(shadow) },
        args: ["--sync-interval", "50ms", "--data", directory.file("agent")],
      });

    await using agent = agentOf(path, "shadow");
    const newest = await newestTxId(path);
    await until("it is backed up", async () => (await newestStored(host.replica("app"))) === newest);

    for (const where of ["", "/app", "/app/points", "/app/manifest", "/app/objects/a", "/other/needs"])
      assert.equal(await read(host.url, `/v1/databases${where}`, token), 403, where);
    for (const where of ["/v1/databases/app/repair", "/v1/replay?database=app"])
      assert.equal(await read(host.url, where, token, "POST"), 403, where);
    const points = await pageferry(["points", `${host.url}/v1/databases/app`], {
      env: { PAGEFERRY_TOKEN: token },
    });
    assert.equal(points.code, 6, points.stderr);
    assert.match(points.stderr, /lacks the scope/);
    const from = `${host.url}/v1/databases/app`;
    const restored = await restore(from, directory.file("out.db"), {}, { env: { PAGEFERRY_TOKEN: reader } });
    assert.equal(restored.code, 0, restored.stderr);
    assert.equal(await newestTxId(directory.file("out.db")), newest);

    const other = directory.file("other.db");
    await runWriter({ path: other, count: 5 });
    await using stranger = agentOf(other, "other-shadow");
    await stranger.line(/^alarm: forbidden: .*this token is not for database/m, 30_000);
    assert.equal(await read(host.url, "/v1/databases/other", await host.token()), 404, "nothing came of it");

    // Rotation: the next one works before the first is revoked.
    const next = await create("--database", "app");
    await pageferryOk(["token", "revoke", "--data", dataDir, token]);
    await until(
      "it is refused",
      async () => (await read(host.url, "/v1/databases/app/needs", token)) === 401,
    );
    assert.equal(await read(host.url, "/v1/databases/app/needs", next), 200);
    agent.kill("SIGTERM");
    await agent.ended;
    await runWriter({ path, count: 5, seed: 2 });
    await using again = agentOf(path, "shadow", next);
    const last = await newestTxId(path);
    await until("it goes on", async () => (await newestStored(host.replica("app"))) === last);
    assert.equal(again.isRunning(), true);
  });
});
