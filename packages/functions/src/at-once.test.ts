import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { createAtOnce } from "./at-once.ts";

const never = new AbortController().signal;

suite("what goes on at a time", () => {
  test("is bounded for the host and for each token, and free again when it ends, once", () => {
    const atOnce = createAtOnce("looks", { perHost: 3, perToken: 2 });
    const [end] = [atOnce.begin("a"), atOnce.begin("a")];

    assert.throws(() => atOnce.begin("a"), { code: "too-many", message: /2 looks .* with this token/ });
    atOnce.begin("b");
    assert.throws(() => atOnce.begin("c"), { code: "too-many", message: /3 looks .* at this host/ });
    end?.();
    end?.();
    atOnce.begin("c");
    assert.throws(() => atOnce.begin("c"), { code: "too-many" });
  });

  test("is waited for by who may wait, and begins when there is room", async () => {
    const atOnce = createAtOnce("looks", { perHost: 1, perToken: 1 });
    const end = atOnce.begin("a");
    let isBegun = false;

    const waiting = atOnce.beginSoon("a", 60_000, never).then((endIt) => {
      isBegun = true;
      return endIt;
    });
    await sleep(120);
    assert.equal(isBegun, false);
    end();

    (await waiting)();
    atOnce.begin("a");
  });

  test("is refused to who waited for too long, and left by who has gone", async () => {
    const atOnce = createAtOnce("looks", { perHost: 1, perToken: 1 });
    atOnce.begin("a");
    const gone = new AbortController();

    await assert.rejects(atOnce.beginSoon("a", 60, never), { code: "too-many" });
    const left = atOnce.beginSoon("a", 60_000, gone.signal);
    gone.abort();

    await assert.rejects(left, { code: "too-many" });
  });
});
