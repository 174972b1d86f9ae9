import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { type DatabaseConfig, parseConfig } from "@pageferry/format";
import { type Candidates, chooseMembers, planFleet, waitingKeys } from "./fleet-plan.ts";

const database = (name: string, path = `/${name}.db`): DatabaseConfig => ({ name, path });
const found = (name: string, path = `/apps/${name}.db`) => ({ name, path, id: `1:${path.length}${name}` });

const choose = (some: Partial<Candidates>) => {
  const { members, collisions } = chooseMembers({
    ...{ configured: [], registered: [], found: [], named: new Set<string>() },
    ...some,
  });
  return {
    members: members.map(({ origin, database: { name, path } }) => `${origin} ${name} ${path}`),
    collisions: collisions.map(({ name, path, other }) => `${name} ${path} ${other.origin}`),
  };
};

suite("the databases that an agent is to have", () => {
  test("are those that are configured, registered and found", () => {
    assert.deepEqual(
      choose({ configured: [database("a")], registered: [database("b")], found: [found("c")] }),
      { members: ["configured a /a.db", "registered b /b.db", "found c /apps/c.db"], collisions: [] },
    );
  });

  test("have a file once, by its path or by what it is, under the name that it was given", () => {
    const files = [found("a", "/apps/a.db"), found("b", "/apps/b.db")];
    const named = new Set(["/apps/a.db", files[1]?.id ?? ""]);
    const configured = [database("main", "/apps/a.db"), database("other", "/link.db")];

    assert.deepEqual(choose({ configured, found: files, named }).members, [
      "configured main /apps/a.db",
      "configured other /link.db",
    ]);
  });

  test("have one of a name: what is configured before what is found, and what holds it before what comes", () => {
    const files = [found("a", "/x/a.db"), found("a", "/y/a.db"), found("app", "/x/app.db")];

    const first = choose({ configured: [database("app")], found: files });
    const later = choose({ found: files.slice(0, 2), holders: new Map([["a", "/y/a.db"]]) });

    assert.deepEqual(first.members, ["configured app /app.db", "found a /x/a.db"]);
    assert.deepEqual(first.collisions, ["a /y/a.db found", "app /x/app.db configured"]);
    assert.deepEqual(later.members, ["found a /y/a.db"]);
    assert.deepEqual(later.collisions, ["a /x/a.db found"]);
  });
});

suite("a plan", () => {
  const at = (...databases: readonly DatabaseConfig[]) => new Map(databases.map((one) => [one.name, one]));
  const plan = (actual: readonly DatabaseConfig[], wanted: readonly DatabaseConfig[]) =>
    planFleet(
      at(...actual),
      wanted.map((one) => ({ database: one })),
    );

  test("does nothing where nothing changed", () => {
    const same = [database("a"), { ...database("b"), heartbeat: "https://x.example" }];

    assert.deepEqual(plan(same, [database("b"), database("a")]), {
      unregister: [],
      restart: [],
      register: [],
    });
  });

  test("registers what is new, lets go what is gone, and restarts what is captured from elsewhere", () => {
    const moved = database("b", "/elsewhere/b.db");
    const observed = { ...database("d"), shadowDirectory: "/stream" };

    assert.deepEqual(
      plan(
        [database("a"), database("b"), database("d"), database("e")],
        [moved, database("c"), observed, database("e")],
      ),
      { unregister: ["a"], restart: [moved, observed], register: [database("c")] },
    );
  });
});

suite("the keys that wait for a restart", () => {
  const waiting = (now: object, next: object) => waitingKeys(parseConfig(now), parseConfig(next));

  test("are those of agent and host, and not the databases", () => {
    const now = { databases: ["a.db"], replicas: ["/mnt/a"], syncInterval: "1s", token: "one" };
    const next = {
      databases: ["b.db", { dir: "/apps" }],
      ...{ replicas: ["/mnt/b"], syncInterval: "2s", token: "two" },
      retention: { keepDaily: 3 },
    };

    assert.deepEqual(waiting(now, next).toSorted(), [
      "replicas",
      "retention.keepDaily",
      "syncInterval",
      "token",
    ]);
    assert.deepEqual(waiting(now, now), []);
    assert.deepEqual(waiting(now, { ...now, databases: ["b.db"] }), []);
  });

  test("are a heartbeat and a profile, which the host knows from its start", () => {
    const withHeartbeat = { databases: [{ path: "a.db", heartbeat: "https://x.example" }, "b.db"] };

    assert.deepEqual(waiting({ databases: ["a.db"] }, withHeartbeat), [
      "databases: heartbeat or profile of a",
    ]);
    assert.deepEqual(waiting({}, withHeartbeat), ["databases: heartbeat or profile of a"]);
  });
});
