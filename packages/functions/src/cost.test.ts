import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { pricesOf, projectMonth } from "./cost.ts";
import { createOperationCounter } from "./operation-counts.ts";

const hourMs = 3_600_000;
const put = (name: string, bytes: number) => ({ operation: "put", name, bytes, seconds: 0 }) as const;

suite("what a month costs", () => {
  test("is not said before an hour was counted", () => {
    const counts = { writes: 10, reads: 0 };

    assert.equal(projectMonth({ ...counts, elapsedMs: hourMs - 1 }, 0, null), null);
    assert.deepEqual(projectMonth({ ...counts, elapsedMs: hourMs }, 0, null), { requests: 7300, usd: null });
  });

  test("is S3's for puts, gets and what is stored, in S3; elsewhere nobody knows", () => {
    const counts = { writes: 1000, reads: 10_000, elapsedMs: 730 * hourMs };

    assert.deepEqual(projectMonth(counts, 100e9, pricesOf("s3://bucket/prefix")), {
      requests: 11_000,
      usd: 2.309,
    });
    assert.equal(projectMonth(counts, 100e9, pricesOf("file:///mnt"))?.usd, null);
  });
});

suite("requests", () => {
  test("are counted as they are billed: pages of listings, parts of large bodies, removals not at all", () => {
    const counter = createOperationCounter(() => 0);
    const observe = counter.observe("s3://b");

    observe(put("app/a1/x", 100));
    observe(put("app/a1/y", 13 * 1024 * 1024));
    observe({ operation: "list", name: "app/", bytes: 0, items: 2001, seconds: 0 });
    observe({ operation: "list", name: "app/", bytes: 0, items: 0, seconds: 0 });
    observe({ operation: "get", name: "app/a1/x", bytes: 100, seconds: 0, code: "unavailable" });
    observe({ operation: "remove", name: "", bytes: 0, seconds: 0 });
    observe(put("other/a1/x", 1));

    assert.deepEqual(counter.of("s3://b", "app"), { writes: 1 + 5 + 3 + 1, reads: 1, elapsedMs: 0 });
    assert.deepEqual(counter.of("s3://b"), { writes: 11, reads: 1, elapsedMs: 0 });
    assert.deepEqual(counter.of("file:///x", "app"), { writes: 0, reads: 0, elapsedMs: 0 });
  });
});
