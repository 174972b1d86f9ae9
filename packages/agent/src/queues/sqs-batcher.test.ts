import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { PageferryError, sqsBytesMax } from "@pageferry/format";
import type { Outcome } from "./sqs-batch.ts";
import { createBatcher } from "./sqs-batcher.ts";

interface Requests {
  readonly made: string[][];
  readonly signals: AbortSignal[];
  request(bodies: readonly string[], signal: AbortSignal): Promise<readonly Outcome[]>;
}

/** Requests that are written down, and answered body by body. */
function requests(answer: (body: string, batch: readonly string[]) => Outcome | Promise<Outcome>): Requests {
  const made: string[][] = [];
  const signals: AbortSignal[] = [];
  return {
    made,
    signals,
    request(bodies, signal) {
      made.push([...bodies]);
      signals.push(signal);
      return Promise.all(bodies.map((body) => answer(body, bodies)));
    },
  };
}

const refusal = (code: "bad-request" | "unavailable") => new PageferryError(code, "refused");

suite("messages that wait for a request", () => {
  test("share it with those that come within the time", async () => {
    const { made, request } = requests(() => "taken");
    const batcher = createBatcher({ gatherMs: 50, attributeBytes: 0, request });

    const first = batcher.send("a");
    await setTimeout(5);
    await Promise.all([first, batcher.send("b")]);
    await batcher.send("c");

    assert.deepEqual(made, [["a", "b"], ["c"]]);
  });

  test("do not wait when there are ten", async () => {
    const { made, request } = requests(() => "taken");
    const batcher = createBatcher({ gatherMs: 60_000, attributeBytes: 0, request });

    await Promise.all(Array.from({ length: 20 }, (_, at) => batcher.send(String(at))));

    assert.deepEqual(
      made.map((batch) => batch.length),
      [10, 10],
    );
  });

  test("do not wait when no more fits; attributes count", async () => {
    const { made, request } = requests(() => "taken");
    const batcher = createBatcher({ gatherMs: 60_000, attributeBytes: 1000, request });
    const body = "x".repeat(sqsBytesMax - 1400);

    await Promise.all([batcher.send("small"), batcher.send(body)]);
    await batcher.send(body);

    assert.deepEqual(
      made.map((batch) => batch.length),
      [1, 1, 1],
    );
  });

  test("end each by its own outcome", async () => {
    const { request } = requests((body) => (body === "bad" ? refusal("unavailable") : "taken"));
    const batcher = createBatcher({ gatherMs: 0, attributeBytes: 0, request });

    const [good, bad] = await Promise.allSettled([batcher.send("good"), batcher.send("bad")]);

    assert.equal(good.status, "fulfilled");
    assert.equal(bad.status === "rejected" && bad.reason.code, "unavailable");
  });

  test("are not taken where an answer says too little", async () => {
    const batcher = createBatcher({ gatherMs: 0, attributeBytes: 0, request: async () => [] });

    await assert.rejects(batcher.send("a"), { code: "unavailable" });
  });

  test("all fail when the request does, and are asked for again by who sent them", async () => {
    const { made, request } = requests(() => Promise.reject(refusal("unavailable")));
    const batcher = createBatcher({ gatherMs: 0, attributeBytes: 0, request });

    const sent = await Promise.allSettled([batcher.send("a"), batcher.send("b")]);

    assert.deepEqual(
      sent.map(({ status }) => status),
      ["rejected", "rejected"],
    );
    assert.equal(made.length, 1);
  });

  test("are sent one by one when a whole batch is refused for its content", async () => {
    const { made, request } = requests((body, batch) => {
      if (batch.includes("poison")) return Promise.reject(refusal("bad-request"));
      return body === "poison" ? refusal("bad-request") : "taken";
    });
    const batcher = createBatcher({ gatherMs: 0, attributeBytes: 0, request });

    const [good, poison] = await Promise.allSettled([batcher.send("good"), batcher.send("poison")]);

    assert.equal(good.status, "fulfilled");
    assert.equal(poison.status === "rejected" && poison.reason.code, "bad-request");
    assert.deepEqual(made, [["good", "poison"], ["good"], ["poison"]]);
  });
});

suite("a message whose sender gives up", () => {
  test("is not sent, if it still waits", async () => {
    const { made, request } = requests(() => "taken");
    const batcher = createBatcher({ gatherMs: 20, attributeBytes: 0, request });
    const giving = new AbortController();
    const reason = new Error("enough");

    const [aborted, other] = [batcher.send("a", giving.signal), batcher.send("b")];
    giving.abort(reason);

    await assert.rejects(aborted, reason);
    await other;
    assert.deepEqual(made, [["b"]]);
    await assert.rejects(batcher.send("c", giving.signal), reason);
  });

  test("ends the request only when nobody else waits for it", async () => {
    const { promise, resolve } = Promise.withResolvers<Outcome>();
    const { signals, request } = requests(() => promise);
    const batcher = createBatcher({ gatherMs: 0, attributeBytes: 0, request });
    const [one, two] = [new AbortController(), new AbortController()];

    const sent = Promise.allSettled([batcher.send("a", one.signal), batcher.send("b", two.signal)]);
    while (signals.length === 0) await setTimeout(1);
    one.abort();
    assert.equal(signals[0]?.aborted, false);
    two.abort();

    assert.equal(signals[0]?.aborted, true);
    assert.deepEqual(
      (await sent).map(({ status }) => status),
      ["rejected", "rejected"],
    );
    resolve("taken");
  });
});
