import assert from "node:assert/strict";
import { beforeEach, suite, test } from "node:test";
import { everything, type Grant } from "../scopes.ts";
import { createSessions, type Sessions, sessionLifeMs } from "./sessions.ts";

const other: Grant = { id: "0123456789ab", scopes: new Set(["read"]), databases: new Set(["app"]) };

suite("a session", () => {
  let nowMs: number;
  let tokens: Map<string, Grant>;
  let sessions: Sessions;
  beforeEach(() => {
    nowMs = 0;
    tokens = new Map([everything, other].map((grant) => [grant.id, grant]));
    sessions = createSessions({ clock: () => nowMs, grantOfToken: async (id) => tokens.get(id) });
  });

  test("may do what its token may, at the moment", async () => {
    const id = sessions.begin(other);
    tokens.set(other.id, { ...other, scopes: new Set(["restore"]) });

    const grant = await sessions.find(id);

    assert.deepEqual(grant, { ...other, scopes: new Set(["restore"]) });
  });

  test("is over when its token is revoked, also when a token of that id comes back", async () => {
    const id = sessions.begin(other);
    tokens.delete(other.id);
    assert.equal(await sessions.find(id), undefined);
    tokens.set(other.id, other);

    assert.equal(await sessions.find(id), undefined);
  });

  test("is over after twelve hours, and when it is ended", async () => {
    const [long, short] = [sessions.begin(other), sessions.begin(other)];
    sessions.end(short);
    nowMs = sessionLifeMs - 1;
    assert.equal(await sessions.find(short), undefined);
    assert.notEqual(await sessions.find(long), undefined);
    nowMs += 1;

    assert.equal(await sessions.find(long), undefined);
  });

  test("is one of at most 50 of its token, which end nobody else's", async () => {
    const mine = sessions.begin(everything);
    const first = sessions.begin(other);
    const rest = Array.from({ length: 50 }, () => sessions.begin(other));

    assert.equal(await sessions.find(first), undefined);
    assert.notEqual(await sessions.find(rest[0] ?? ""), undefined);
    assert.notEqual(await sessions.find(mine), undefined);
  });

  test("is one of at most 1,000", async () => {
    const first = sessions.begin({ ...everything, id: "t0" });
    tokens.set("t0", everything);
    for (let at = 1; at <= 1000; at += 1) sessions.begin({ ...everything, id: `t${at}` });

    assert.equal(await sessions.find(first), undefined);
  });

  test("begins with a printed code, once, within ten minutes", async () => {
    const [used, late] = [sessions.makeCode(everything), sessions.makeCode(everything)];

    assert.equal(await sessions.redeem(used), everything);
    assert.equal(await sessions.redeem(used), undefined);
    nowMs = 10 * 60_000;
    assert.equal(await sessions.redeem(late), undefined);
    assert.equal(await sessions.find(used), undefined);
  });
});
