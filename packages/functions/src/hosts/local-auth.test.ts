import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { access, mkdtemp, rm, writeFile } from "node:fs/promises";
import { get, type IncomingMessage } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite, type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { encodeHeartbeats, parseDatabaseName } from "@pageferry/format";
import { historyOf } from "../../testing/history.ts";
import { createToken, revokeToken } from "../token-files.ts";
import { type LocalHost, localHost } from "./local.ts";

const history = historyOf("a1");
const envelopeOf = (database: string) =>
  history.envelope([history.snapshot(4), history.segment(4, 5)], { database: parseDatabaseName(database) });

const heartbeatOf = (database: string) => history.envelope([], { database: parseDatabaseName(database) });

async function start(t: TestContext) {
  const dataDir = await mkdtemp(join(tmpdir(), "pageferry-auth-"));
  t.after(() => rm(dataDir, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 }));
  const logged: string[] = [];
  const log = (fields: object, message: string) => logged.push(`${message} ${JSON.stringify(fields)}`);
  const host = await localHost(
    { dataDir, listen: { host: "127.0.0.1", port: 0 } },
    { settleMs: 50, logger: { info: log, warn: log, error: log } },
  );
  t.after(() => host.close());
  return { host, dataDir, logged };
}

function caller(host: LocalHost, token: string) {
  return (method: string, path: string, body?: Uint8Array): Promise<Response> =>
    fetch(`${host.url}${path}`, {
      method,
      headers: {
        authorization: `Bearer ${token}`,
        ...(method === "POST" ? { "content-type": "application/cbor" } : {}),
      },
      ...(body === undefined ? {} : { body }),
    });
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  for (const end = Date.now() + 30_000; !(await condition()); await sleep(20))
    assert.ok(Date.now() < end, "it did not come in time");
}

const segmentOf = (dataDir: string, database = "app") =>
  join(dataDir, "replica", database, history.segment(4, 5).name);

const isThere = (path: string) =>
  access(path).then(
    () => true,
    () => false,
  );

suite("a host with tokens of several", () => {
  test("takes from an agent its own database, tells it what it needs, and nothing else", async (t) => {
    const { host, dataDir } = await start(t);
    const { token } = await createToken(
      dataDir,
      { scopes: ["ingest", "needs"], databases: ["app"] },
      Date.now(),
    );
    const call = caller(host, token);
    const body = new Uint8Array(100);
    const digest = createHash("sha256").update(body).digest("hex");
    await sleep(100);

    assert.equal((await call("GET", "/v1/databases/app/needs")).status, 200);
    assert.equal((await call("POST", "/v1/ingest", envelopeOf("app"))).status, 202);
    assert.equal((await call("PUT", `/v1/stage/${digest}?database=app`, body)).status, 201);
    assert.equal((await call("POST", "/v1/ingest", envelopeOf("other"))).status, 403);
    assert.equal((await call("PUT", `/v1/stage/${digest}?database=other`, body)).status, 403);
    assert.equal((await call("GET", "/v1/databases/other/needs")).status, 403);
    const beats = encodeHeartbeats([heartbeatOf("app"), heartbeatOf("other")]);
    const beaten = await call("POST", "/v1/heartbeats", beats);
    assert.deepEqual([beaten.status, await beaten.json()], [200, { refused: ["other"] }]);
    for (const path of ["", "/points", "/manifest", `/objects/${history.segment(4, 5).name}`])
      assert.equal((await call("GET", `/v1/databases/app${path}`)).status, 403, path);
    assert.equal((await call("GET", "/v1/databases")).status, 403);
    assert.equal((await call("POST", "/v1/databases/app/repair")).status, 403);
    assert.equal((await call("POST", "/v1/replay?database=app")).status, 403);

    await until(() => isThere(segmentOf(dataDir)));
    assert.deepEqual(await host.databases(), ["app"]);
  });

  test("refuses a revoked token within about a second, and goes on with the one that replaces it", async (t) => {
    const { host, dataDir } = await start(t);
    const wanted = { scopes: ["read"] as const, databases: "*" as const };
    const old = await createToken(dataDir, wanted, Date.now());
    const fresh = await createToken(dataDir, wanted, Date.now());
    const statusOf = async (token: string) => (await caller(host, token)("GET", "/v1/databases")).status;
    await sleep(100);
    assert.deepEqual([await statusOf(old.token), await statusOf(fresh.token)], [200, 200]);

    await revokeToken(dataDir, old.record.id);
    await sleep(1100);

    assert.deepEqual([await statusOf(old.token), await statusOf(fresh.token)], [401, 200]);
    assert.equal(await statusOf(host.token), 200);
  });

  test("raises an alarm for a record that is broken, and clears it when that is gone", async (t) => {
    const { host, dataDir, logged } = await start(t);
    const { record } = await createToken(dataDir, { scopes: ["read"], databases: "*" }, Date.now());
    const path = join(dataDir, "tokens", `${record.id}.json`);
    await writeFile(path, "{");
    const codes = async () => {
      await caller(host, host.token)("GET", "/v1/databases");
      return host.alarms().map(({ code }) => code);
    };

    await until(async () => (await codes()).includes("tokens"));
    await revokeToken(dataDir, record.id);
    await until(async () => (await codes()).length === 0);

    assert.match(logged.join("\n"), /no record of a token/);
  });

  test("knows no token of another host, and says and logs none", async (t) => {
    const one = await start(t);
    const two = await start(t);
    const made = await createToken(one.dataDir, { scopes: ["read"], databases: "*" }, Date.now());
    const tokens = [one.host.token, made.token];
    const said: string[] = [];

    for (let round = 0; round < 20; round += 1) {
      for (const token of tokens) {
        const answer = await caller(two.host, token)("GET", "/v1/databases");
        assert.ok([401, 429].includes(answer.status), String(answer.status));
        said.push(JSON.stringify([...answer.headers]), await answer.text());
      }
    }

    assert.equal((await caller(two.host, two.host.token)("GET", "/v1/databases")).status, 200);
    assert.equal((await caller(two.host, "guess")("GET", "/v1/databases")).status, 429);
    assert.match(two.logged.join("\n"), /many wrong tokens.*127\.0\.0\.1/);
    for (const token of [...tokens, two.host.token]) {
      const secret = token.startsWith("pf_") ? token.slice(16) : token;
      assert.ok(![...said, ...one.logged, ...two.logged].join("\n").includes(secret));
    }
  });

  test("counts a stream until it is sent or its line is gone: more than a host gives at a time go one after the other", async (t) => {
    const { host, dataDir } = await start(t);
    const call = caller(host, host.token);
    const small = history.segment(4, 5);
    await call("POST", "/v1/ingest", history.envelope([small]));
    await until(() => isThere(segmentOf(dataDir)));
    const path = `/v1/databases/app/objects/${history.segment(4, 5).name}`;

    for (let count = 0; count < 130; count += 1) {
      const answer = await call("GET", path);
      assert.equal(answer.status, 200, `object ${count}`);
      await answer.arrayBuffer();
    }
    // Lines that are given up while more is to be sent than they hold.
    const large = history.snapshot(4, 24 * 1024 * 1024);
    await call("POST", "/v1/ingest", history.envelope([large], { database: parseDatabaseName("app") }));
    await until(() => isThere(join(dataDir, "replica/app", large.name)));
    for (let count = 0; count < 130; count += 1) {
      const headers = { authorization: `Bearer ${host.token}` };
      const request = get(`${host.url}/v1/databases/app/objects/${large.name}`, { headers, agent: false });
      request.on("error", () => undefined);
      const { statusCode } = await new Promise<IncomingMessage>((resolve) => request.on("response", resolve));
      assert.equal(statusCode, 200, `line ${count}`);
      request.destroy();
    }

    await until(async () => (await call("GET", path)).status === 200);
  });
});
