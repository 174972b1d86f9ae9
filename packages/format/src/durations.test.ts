import assert from "node:assert/strict";
import { suite, test } from "node:test";
import fc from "fast-check";
import { formatDuration, parseDuration } from "./durations.ts";

const hourMs = 3_600_000;

suite("a duration", () => {
  test("is read in Go's units, summed, with fractions", () => {
    const cases: readonly [string, number][] = [
      ["6h", 6 * hourMs],
      ["1h30m", 1.5 * hourMs],
      ["1.5h", 1.5 * hourMs],
      [".5s", 500],
      ["250ms", 250],
      ["10us", 0.01],
      ["10µs", 0.01],
      ["10μs", 0.01],
      ["1ns", 1e-6],
      ["7d", 168 * hourMs],
      ["0", 0],
      [" 2m ", 120_000],
    ];
    for (const [text, ms] of cases) assert.equal(parseDuration(text), ms, text);
  });

  test("is read from an integer as Go's nanoseconds", () => {
    assert.equal(parseDuration(21_600_000_000_000), 6 * hourMs);
    assert.equal(parseDuration(0), 0);
  });

  test("is refused where it has no unit, a wrong one, less than nothing, or is no text or integer", () => {
    const wrong = [
      "",
      "6",
      "h",
      "6 hours",
      "6hh",
      "6h!",
      "-1h",
      "1e3s",
      "1,5h",
      1.5,
      -1,
      2 ** 60,
      true,
      null,
      {},
      [],
    ];
    for (const value of wrong)
      assert.throws(() => parseDuration(value), { code: "bad-request" }, String(value));
  });

  test("longer than Go can hold is refused, and a long run of digits ends at once", () => {
    assert.throws(() => parseDuration("3000000h"), { code: "bad-request" });
    assert.throws(() => parseDuration("9".repeat(100_000)), { code: "bad-request" });
  });

  test("that was written is read back as the same", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 4_000_000_000_000 }), (ms) => {
        assert.ok(Math.abs(parseDuration(formatDuration(ms)) - ms) < 0.001, formatDuration(ms));
      }),
    );
    assert.equal(formatDuration(1.5 * hourMs), "1h30m");
    assert.equal(formatDuration(0), "0s");
  });
});
