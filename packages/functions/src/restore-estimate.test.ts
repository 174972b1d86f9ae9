import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { type Generation, parseObjectName, txId } from "@pageferry/format";
import { historyOf } from "../testing/history.ts";
import type { StateObjectName } from "./describe.ts";
import { createHoldings, type Holdings } from "./holdings.ts";
import { estimateRestore } from "./restore-estimate.ts";

const [first, second] = [historyOf("a1"), historyOf("a2")];

function add(holdings: Holdings, generation: Generation, name: string, size: number): void {
  holdings.of(generation).add(parseObjectName(name) as StateObjectName, size);
}

suite("the estimate of a restore", () => {
  test("reads the newest snapshot and what is above it, in whatever order they were listed", () => {
    const holdings = createHoldings();
    for (const [parent, last] of [
      [1, 4],
      [4, 6],
      [6, 9],
    ] as const)
      add(holdings, first.generation, first.segment(parent, last).name, 1000);
    add(holdings, first.generation, first.snapshot(4).name, 50_000_000);
    add(holdings, first.generation, first.snapshot(2).name, 70_000_000);

    assert.deepEqual(estimateRestore("file:///x", holdings, first.generation), {
      ...{ bytes: 50_002_000, objects: 3 },
      ms: 600,
    });
    const far = estimateRestore("s3://x", holdings, first.generation);
    assert.equal(far?.ms, 5100);
  });

  test("goes on into the parent where the generation has no snapshot of its own", () => {
    const holdings = createHoldings();
    add(holdings, first.generation, first.snapshot(4).name, 1000);
    add(holdings, second.generation, second.segment(4, 6).name, 10);
    assert.equal(estimateRestore("file:///x", holdings, second.generation), null);

    holdings.of(second.generation).begin = {
      ...{ version: 1, ...second.begin, receivedAtMs: 1 },
      parent: { generation: first.generation, txId: txId(4) },
    };

    const estimate = estimateRestore("file:///x", holdings, second.generation);
    assert.deepEqual([estimate?.bytes, estimate?.objects], [1010, 2]);
  });
});
