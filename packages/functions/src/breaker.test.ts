import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { PageferryError } from "@pageferry/format";
import { createBreaker } from "./breaker.ts";

function open() {
  const clock = { nowMs: 1_000_000 };
  let changes = 0;
  const breaker = createBreaker({
    now: () => clock.nowMs,
    random: () => 1,
    onChange: () => {
      changes += 1;
    },
  });
  const fail = () => breaker.enter()?.failed(new PageferryError("unavailable", "no answer"));
  return { breaker, clock, fail, changes: () => changes };
}

suite("a circuit breaker", () => {
  test("lets everybody through while it is closed", () => {
    const { breaker } = open();

    const passes = [breaker.enter(), breaker.enter()];

    assert.deepEqual(
      passes.map((pass) => pass?.isProbe),
      [false, false],
    );
    assert.deepEqual([breaker.state(), breaker.failures(), breaker.error()], ["closed", 0, null]);
  });

  test("opens with the first failure, and lets nobody through until its wait is over", () => {
    const { breaker, clock, fail } = open();
    fail();

    assert.deepEqual(
      [breaker.state(), breaker.failures(), breaker.error()],
      ["open", 1, "unavailable: no answer"],
    );
    clock.nowMs += 999;
    assert.equal(breaker.enter(), undefined);
    assert.equal(breaker.waitMs(), 1);
    clock.nowMs += 1;

    assert.equal(breaker.enter()?.isProbe, true);
  });

  test("lets one call find out, and nobody else meanwhile", () => {
    const { breaker, clock, fail } = open();
    fail();
    clock.nowMs += 1000;

    const probe = breaker.enter();

    assert.equal(breaker.state(), "half-open");
    assert.equal(breaker.enter(), undefined);
    probe?.succeeded();
    assert.deepEqual([breaker.state(), breaker.failures(), breaker.error()], ["closed", 0, null]);
    assert.equal(breaker.enter()?.isProbe, false);
  });

  test("waits twice as long after every probe that failed, up to a minute", () => {
    const { breaker, clock, fail } = open();
    const waits: number[] = [];
    for (let round = 0; round < 8; round++) {
      fail();
      waits.push(breaker.waitMs());
      clock.nowMs += breaker.waitMs();
    }

    assert.deepEqual(waits, [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]);
    assert.equal(breaker.failures(), 8);
  });

  test("counts calls that fail together as one failure, and hears no late word of them", () => {
    const { breaker, clock } = open();
    const together = [breaker.enter(), breaker.enter(), breaker.enter()];

    together[0]?.failed(new Error("x"));
    together[1]?.failed(new Error("x"));
    assert.equal(breaker.failures(), 1);
    clock.nowMs += 1000;
    const probe = breaker.enter();
    together[2]?.succeeded();

    assert.equal(breaker.state(), "half-open");
    probe?.failed(new Error("x"));
    probe?.succeeded();
    assert.deepEqual([breaker.state(), breaker.failures()], ["open", 2]);
  });

  test("is free for another probe when one came to nothing", () => {
    const { breaker, clock, fail } = open();
    fail();
    clock.nowMs += 1000;

    breaker.enter()?.abandoned();

    assert.deepEqual([breaker.state(), breaker.failures()], ["open", 1]);
    assert.equal(breaker.enter()?.isProbe, true);
  });

  test("tells when it opens and when it closes, not when nothing changes", () => {
    const { breaker, clock, fail, changes } = open();
    breaker.enter()?.succeeded();
    assert.equal(changes(), 0);
    fail();
    clock.nowMs += 1000;

    breaker.enter()?.succeeded();

    assert.equal(changes(), 2);
  });
});
