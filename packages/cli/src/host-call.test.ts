import assert from "node:assert/strict";
import { suite, test } from "node:test";
import {
  databasesRoute,
  manifestRoute,
  objectRoute,
  pinsRoute,
  replayRoute,
  verifyRoute,
} from "@pageferry/functions/routes";
import { checkAnswer, urlOf } from "./host-call.ts";

suite("where a route lies", () => {
  const host = "http://h:1";

  test("is its path at the host, also behind a proxy that adds one", () => {
    assert.equal(urlOf(host, databasesRoute, { params: {} }), "http://h:1/v1/databases");
    assert.equal(
      urlOf("https://h/backups", pinsRoute, { params: { database: "app" } }),
      "https://h/backups/v1/databases/app/pins",
    );
  });

  test("keeps the slashes of objects' names, and lets nothing else out of its place", () => {
    const at = (name: string) => urlOf(host, objectRoute, { params: { database: "app", name } });

    assert.equal(at("a1/segments/x"), "http://h:1/v1/databases/app/objects/a1/segments/x");
    assert.equal(at("a?b#c d"), "http://h:1/v1/databases/app/objects/a%3Fb%23c%20d");
  });

  test("leaves out what is not asked for, and repeats what is asked for more than once", () => {
    const params = { database: "app" };

    assert.equal(
      urlOf(host, manifestRoute, { params, query: { txid: undefined } }),
      `${host}/v1/databases/app/manifest`,
    );
    assert.equal(
      urlOf(host, manifestRoute, { params, query: { txid: "7", without: ["a/b", "c&d"] } }),
      `${host}/v1/databases/app/manifest?txid=7&without=a%2Fb&without=c%26d`,
    );
  });
});

suite("an answer", () => {
  test("of a newer host is taken with what it adds", () => {
    const answer = { replayed: [{ replica: "r", messages: 1, more: 2 }], forks: 0, more: 1 };

    assert.deepEqual(checkAnswer(replayRoute, answer, "h"), answer);
  });

  test("that is none of a host's is refused, with the place that is wrong", () => {
    for (const odd of [[], null, 7, "<html>", {}, { replayed: [{}], forks: 0 }])
      assert.throws(() => checkAnswer(replayRoute, odd, "h"), { code: "unavailable" });
    assert.throws(
      () => checkAnswer(replayRoute, { replayed: [{ replica: 1 }] }, "h"),
      /replayed\.0\.replica/,
    );
  });

  test("that came in the end may be a problem, which is thrown as what it is", () => {
    const problem = { code: "not-found", detail: "nobody", hint: "look" };

    assert.throws(() => checkAnswer(verifyRoute, problem, "h"), {
      code: "not-found",
      message: "nobody",
      hint: "look",
    });
    assert.throws(() => checkAnswer(verifyRoute, { code: "no-such-code", detail: "x" }, "h"), {
      code: "unavailable",
    });
    assert.throws(() => checkAnswer(replayRoute, problem, "h"), { code: "unavailable" });
  });
});
