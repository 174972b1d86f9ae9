import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { PageferryError } from "@pageferry/format";
import { Hono } from "hono";
import { answerInTheEnd } from "./late-answer.ts";
import { addRequestIds } from "./request-id.ts";
import { addUnexpected } from "./unexpected.ts";

/** Asks for work that fails in the end, and gives the answer and what the log was told. */
async function askFor(error: unknown) {
  const told: unknown[] = [];
  const app = new Hono();
  addRequestIds(app);
  addUnexpected(app, (...what) => told.push(what));
  app.post("/work", (context) => answerInTheEnd(Promise.reject(error), context));
  const answer = await app.request("/work?secret=1", { method: "POST", headers: { "x-request-id": "mine" } });
  return { answer, problem: (await answer.json()) as Record<string, unknown>, told };
}

suite("work that fails after its answer began", () => {
  test("ends with a problem that has the request's id", async () => {
    const { answer, problem, told } = await askFor(new PageferryError("not-found", "nobody"));

    assert.equal(answer.status, 200);
    assert.deepEqual([problem.code, problem.detail, problem.requestId], ["not-found", "nobody", "mine"]);
    assert.deepEqual(told, []);
  });

  test("in a way that nobody foresaw tells the log, by the same id, and the caller nothing of it", async () => {
    const error = new Error("private");
    const { problem, told } = await askFor(error);

    assert.deepEqual([problem.title, problem.requestId], ["unexpected", "mine"]);
    assert.doesNotMatch(JSON.stringify(problem), /private/);
    assert.deepEqual(told, [[error, { call: "POST /work", requestId: "mine" }]]);
  });
});
