import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { type ArchiveReader, encodeHeartbeats, PageferryError, parseDatabaseName } from "@pageferry/format";
import type { Hono } from "hono";
import { historyOf } from "../testing/history.ts";
import { unknownDatabase } from "../testing/unknown-status.ts";
import { type ApiOptions, createApi } from "./api.ts";
import { everything, type Grant, type Scope, scopes } from "./scopes.ts";
import type { AlarmStatus, DatabaseStatus } from "./status.ts";

const digest = "ab".repeat(32);
const history = historyOf("a1");

function statusOf(name: string, alarms: readonly AlarmStatus[] = []): DatabaseStatus {
  return { ...unknownDatabase, name, alarms };
}

/** The API over parts that note that they were asked; the Authorization header names the grant. */
function apiOf(grants: Readonly<Record<string, Grant>>, more: Partial<ApiOptions> = {}) {
  const reached: string[] = [];
  const reach =
    (what: string) =>
    async (..._: readonly unknown[]): Promise<never> => {
      reached.push(what);
      throw new PageferryError("not-found", `${what} was reached`);
    };
  const app = createApi({
    async authenticate(header) {
      const grant = grants[header ?? ""];
      if (grant === undefined) throw new PageferryError("unauthorized", "who?");
      return grant;
    },
    async ingest(bytes, mayAdd) {
      mayAdd(parseDatabaseName(bytes.length === 1 ? "other" : "app"));
      return reach("ingest")();
    },
    stage: {
      put: reach("stage"),
      touch: reach("stage"),
      body: reach("stage"),
    } as unknown as ApiOptions["stage"],
    stagePlace: reach("stage"),
    replay: () => {
      reached.push("replay");
      return { replayed: [], forks: 0 };
    },
    needs: reach("needs"),
    holds: reach("holds"),
    databases: async () => ["app", "other"].map(parseDatabaseName),
    status: async (name) => {
      reached.push("status");
      return statusOf(name);
    },
    readers: reach("readers"),
    ...{ repair: reach("repair"), verify: reach("verify") },
    ...{ compact: reach("compact"), prune: reach("prune"), lease: reach("lease") },
    signer: { publicKey: "key", keyId: "id", sign: (json) => json },
    images: { open: reach("images"), peek: () => undefined, close: async () => undefined },
    pins: { list: reach("pins"), add: reach("pin"), remove: reach("unpin") },
    waitFor: reach("wait"),
    lagHistory: () => ({ everyMs: 60_000, lagMs: [] }),
    closing: AbortSignal.abort(),
    events: {
      ...{ events: { since: () => [] }, changes: { listen: () => () => {} }, onEvent: () => () => {} },
      closing: AbortSignal.abort(),
    },
    alarms: () => [],
    inspect: { onUse: reach("inspect") },
    onUnexpected: (error) => assert.fail(String(error)),
    ...more,
  });
  return { app, reached };
}

const only = (scope: Scope, databases: Grant["databases"] = "*"): Grant => ({
  id: scope,
  scopes: new Set([scope]),
  databases,
});

interface Call {
  readonly method: string;
  readonly route: string;
  readonly path: string;
}

/** Every route that is declared, with parameters filled in. */
function callsOf(app: Hono): readonly Call[] {
  const open = ["/healthz", "/openapi.json", "/docs/api"];
  const declared = app.routes.filter(({ method, path }) => method !== "ALL" && !open.includes(path));
  const unique = new Map(declared.map(({ method, path }) => [`${method} ${path}`, { method, path }]));
  return [...unique].map(([route, { method, path }]) => {
    const filled = path
      .replace(":database", "app")
      .replace(":digest", digest)
      .replace(":name{.+}", "a1/segments/x");
    return { method, route, path: `${filled}?database=app${path.endsWith("/place") ? "&size=1" : ""}` };
  });
}

const ask = (app: Hono, { method, path }: Pick<Call, "method" | "path">, who?: string, body = "body") =>
  app.request(path, {
    method,
    ...(method === "GET" ? {} : { body, headers: { "content-type": "application/cbor" } }),
    headers: {
      "x-request-id": "same",
      ...(who === undefined ? {} : { authorization: who }),
      ...(method === "POST" ? { "content-type": "application/cbor" } : {}),
    },
  });

async function codeOf(answer: Response): Promise<string> {
  return ((await answer.json()) as { readonly code?: string }).code ?? "";
}

/** What each route asks for, said once more, by hand. */
const expected: Readonly<Record<string, readonly Scope[]>> = {
  "POST /v1/ingest": ["ingest"],
  "POST /v1/heartbeats": ["ingest"],
  "PUT /v1/stage/:digest": ["ingest"],
  "GET /v1/stage/:digest/place": ["ingest"],
  "GET /v1/databases": ["read"],
  "GET /v1/databases/:database": ["read", "restore"],
  "GET /v1/databases/:database/needs": ["needs"],
  "GET /v1/databases/:database/holds": ["needs"],
  "GET /v1/databases/:database/points": ["read", "restore"],
  "GET /v1/databases/:database/manifest": ["restore"],
  "GET /v1/databases/:database/objects/:name{.+}": ["restore"],
  "GET /v1/databases/:database/files": ["restore"],
  "GET /v1/databases/:database/restore": ["restore"],
  "GET /v1/manifest-key": ["read", "restore"],
  "GET /v1/databases/:database/inspect/ls": ["inspect"],
  "GET /v1/databases/:database/inspect/get": ["inspect"],
  "GET /v1/databases/:database/pins": ["read", "restore"],
  "GET /v1/databases/:database/wait": ["read", "restore"],
  "GET /v1/events": ["read"],
  "GET /v1/events/stream": ["read"],
  "GET /metrics": ["read"],
  "GET /": ["read", "restore"],
  "GET /db/:database": ["read", "restore"],
  "GET /db/:database/restore": ["restore"],
  "POST /db/:database/restore": ["restore"],
  "GET /db/:database/inspect": ["inspect"],
};

suite("the routes of the API", () => {
  test("are refused without a token before anything is asked", async () => {
    const { app, reached } = apiOf({});

    for (const call of callsOf(app)) {
      const answer = await ask(app, call);
      assert.equal(answer.status, 401, call.route);
      assert.equal(answer.headers.get("www-authenticate"), "Bearer");
    }
    assert.equal((await ask(app, { method: "GET", path: "/v1/nothing" })).status, 401);
    assert.deepEqual(reached, []);
    assert.equal((await ask(app, { method: "GET", path: "/healthz" })).status, 200);
  });

  test("each have a scope that lets in, and the others do not, whatever else they may", async () => {
    const grants = Object.fromEntries(scopes.map((scope) => [scope, only(scope)]));
    const { app, reached } = apiOf(grants);
    assert.ok(callsOf(app).length >= 10);

    for (const call of callsOf(app)) {
      const lets = expected[call.route] ?? ["operate"];
      for (const scope of scopes) {
        reached.length = 0;
        const answer = await ask(app, call, scope);
        const isIn = lets.includes(scope);
        assert.equal(answer.status === 403, !isIn, `${call.route} with ${scope}: ${answer.status}`);
        if (isIn) continue;
        assert.equal(await codeOf(answer), "forbidden");
        assert.deepEqual(reached, [], `${call.route} with ${scope}`);
      }
    }
  });

  test("that nobody gave a scope are refused even to the host's own token", async () => {
    const { app } = apiOf({ all: everything });
    app.get("/v1/secrets", (context) => context.text("secret"));
    app.get("/v1/databases/:database/secrets", (context) => context.text("secret"));

    for (const path of ["/v1/secrets", "/v1/databases/app/secrets"]) {
      const answer = await ask(app, { method: "GET", path }, "all");
      assert.equal(answer.status, 403);
      assert.equal(await codeOf(answer), "forbidden");
    }
    assert.equal((await ask(app, { method: "GET", path: "/v1/nothing" }, "all")).status, 404);
  });

  test("are all open to the host's own token", async () => {
    const { app } = apiOf({ all: everything });

    for (const call of callsOf(app)) assert.notEqual((await ask(app, call, "all")).status, 403, call.route);
  });
});

suite("a token for one database", () => {
  const mine: Grant = { id: "mine", scopes: new Set(scopes), databases: new Set(["app"]) };
  const elsewhere = (call: Call, name: string): Call => ({
    ...call,
    path: call.path
      .replace("/databases/app", `/databases/${name}`)
      .replace("/db/app", `/db/${name}`)
      .replace("database=app", `database=${name}`),
  });

  test("may do with it what its scopes say", async () => {
    const { app } = apiOf({ mine });

    for (const call of callsOf(app).filter(({ route }) => route !== "GET /metrics"))
      assert.notEqual((await ask(app, call, "mine")).status, 403, call.route);
  });

  test("learns nothing of another one, not even whether there is one of that name", async () => {
    const { app, reached } = apiOf({ mine });
    const calls = callsOf(app).filter(({ route }) => /:database|stage|replay/.test(route));
    assert.ok(calls.length >= 8);

    for (const call of calls) {
      const told: string[] = [];
      for (const name of ["other", "absent", "%6fther", "app%2f", "..%2fapp", "App"]) {
        const answer = await ask(app, elsewhere(call, name), "mine");
        assert.equal(answer.status, 403, `${call.route} ${name}`);
        told.push((await answer.text()).replaceAll(/other|absent/g, "NAME"));
      }
      assert.equal(told[0], told[1], call.route);
    }
    assert.deepEqual(reached, []);
  });

  test("adds to no other one: the envelope itself is looked at", async () => {
    const { app, reached } = apiOf({ mine });
    const ingest = { method: "POST", path: "/v1/ingest" };

    assert.equal((await ask(app, ingest, "mine", "1")).status, 403);
    assert.deepEqual(reached, []);
    await ask(app, ingest, "mine", "22");
    assert.deepEqual(reached, ["ingest"]);
  });

  test("must say which database where one may leave that out, and sees no figures of all", async () => {
    const { app, reached } = apiOf({ mine });

    for (const [method, path] of [
      ["POST", "/v1/replay"],
      ["PUT", `/v1/stage/${digest}`],
      ["GET", "/metrics"],
    ] as const)
      assert.equal((await ask(app, { method, path }, "mine")).status, 403, path);
    assert.deepEqual(reached, []);
  });

  test("sees its own in lists, hints and alarms", async () => {
    const alarm = { code: "lag", message: "m", hint: "h", since: "s" };
    const alarms = [alarm, { ...alarm, database: "app" }, { ...alarm, database: "other" }];
    const { app } = apiOf(
      { mine, all: everything, none: { ...mine, databases: new Set(["absent"]) } },
      { alarms: () => alarms, status: async (name) => statusOf(name, alarms) },
    );
    const listed = async (who: string) => {
      const answer = await ask(app, { method: "GET", path: "/v1/databases" }, who);
      const { databases, alarms: told } = (await answer.json()) as {
        databases: DatabaseStatus[];
        alarms: AlarmStatus[];
      };
      return [databases.map(({ name, alarms: own }) => `${name} ${own.length}`), told.length];
    };
    const absent = await ask(app, { method: "GET", path: "/v1/databases/absent" }, "none");

    assert.deepEqual(await listed("all"), [["app 3", "other 3"], 3]);
    assert.deepEqual(await listed("mine"), [["app 1"], 1]);
    assert.deepEqual(await listed("none"), [[], 0]);
    assert.equal(absent.status, 404);
    assert.doesNotMatch(await absent.text(), /app|other/);
  });
});

suite("calls that cost much", () => {
  const one: Grant = { ...everything, id: "one" };
  const two: Grant = { ...everything, id: "two" };
  const three: Grant = { ...everything, id: "three" };

  test("are four at a time with one token and eight in all, and those above are told when to come again", {
    timeout: 10_000,
  }, async () => {
    const held: PromiseWithResolvers<readonly ArchiveReader[]>[] = [];
    const readers = () => {
      const waiting = Promise.withResolvers<readonly ArchiveReader[]>();
      held.push(waiting);
      return waiting.promise;
    };
    const { app } = apiOf({ one, two, three }, { readers });
    const points = (who: string) => ask(app, { method: "GET", path: "/v1/databases/app/points" }, who);
    const underWay = Array.from({ length: 4 }, () => points("one"));
    const turnedAway = await points("one");
    underWay.push(...Array.from({ length: 4 }, () => points("two")));
    const turnedAwayToo = await points("three");

    for (const answer of [turnedAway, turnedAwayToo]) {
      assert.equal(answer.status, 429);
      assert.equal(answer.headers.get("retry-after"), "1");
      assert.equal(await codeOf(answer), "too-many");
    }
    for (const waiting of held) waiting.reject(new PageferryError("unavailable", "away"));
    for (const answer of await Promise.all(underWay)) assert.equal(answer.status, 503);
    const again = points("three");
    for (let turns = 0; held.length < 9 && turns < 100; turns += 1) await Promise.resolve();
    held.at(-1)?.reject(new PageferryError("not-found", "nothing"));
    assert.equal((await again).status, 404);
  });
});

test("an envelope of another database is refused by the door before it is looked at", async () => {
  const { ingest } = await import("./ingest.ts");
  const bytes = history.envelope([history.segment(1, 2)], { database: parseDatabaseName("other") });
  const untouched = new Proxy({ now: () => 0 } as unknown as Parameters<typeof ingest>[1], {
    get: (target, key) => (key === "now" ? target.now : assert.fail(`${String(key)} was asked`)),
  });

  const refused = ingest(bytes, untouched, (database) => {
    throw new PageferryError("forbidden", database);
  });

  await assert.rejects(refused, { code: "forbidden", message: "other" });
});

suite("heartbeats of many databases", () => {
  test("are taken side by side: a replica that is slow to say whose it is holds up its own", {
    timeout: 60_000,
  }, async () => {
    const all = Promise.withResolvers<void>();
    let asked = 0;
    const { app } = apiOf(
      { agent: only("ingest") },
      {
        async ingest() {
          asked += 1;
          if (asked === 8) all.resolve();
          await all.promise;
        },
      },
    );
    const beats = Array.from({ length: 8 }, () => history.envelope([]));

    const answer = await app.request("/v1/heartbeats", {
      method: "POST",
      headers: { authorization: "agent", "content-type": "application/cbor" },
      body: Buffer.from(encodeHeartbeats(beats)),
    });

    assert.deepEqual([answer.status, await answer.json()], [200, { refused: [] }]);
  });
});
