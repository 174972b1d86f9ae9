import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { createGate } from "./gate.ts";

suite("a gate", () => {
  const { signal } = new AbortController();

  test("lets no more through at once than it has places, and everyone in the end", async () => {
    const gate = createGate(3);
    let inside = 0;
    let most = 0;
    let passed = 0;

    await Promise.all(
      Array.from({ length: 50 }, () =>
        gate.pass(async () => {
          inside += 1;
          most = Math.max(most, inside);
          await Promise.resolve();
          inside -= 1;
          passed += 1;
        }, signal),
      ),
    );

    assert.deepEqual([most, passed], [3, 50]);
  });

  test("gives the place of one that failed to the next", async () => {
    const gate = createGate(1);

    await assert.rejects(
      gate.pass(() => Promise.reject(new RangeError("no")), signal),
      RangeError,
    );

    assert.equal(await gate.pass(() => Promise.resolve("next"), signal), "next");
  });

  test("lets go of one whose signal aborts while it waits, and of nobody else", async () => {
    const gate = createGate(1);
    const controller = new AbortController();
    const { promise, resolve } = Promise.withResolvers<void>();
    const first = gate.pass(() => promise, signal);
    const second = gate.pass(() => Promise.resolve("second"), controller.signal);
    const third = gate.pass(() => Promise.resolve("third"), signal);

    controller.abort(new RangeError("enough"));
    resolve();

    await assert.rejects(second, RangeError);
    assert.deepEqual(await Promise.all([first, third]), [undefined, "third"]);
  });

  test("is not confused by a signal that aborts in the moment of being let in", async () => {
    const gate = createGate(1);
    const controller = new AbortController();
    const { promise, resolve } = Promise.withResolvers<void>();
    const first = gate.pass(() => promise, signal);
    const second = gate.pass(() => Promise.resolve("second"), controller.signal);
    const third = gate.pass(() => Promise.resolve("third"), signal);

    const leaving = first.then(() => controller.abort());
    resolve();
    await leaving;

    await second.catch(() => {});
    assert.equal(await third, "third");
  });
});
