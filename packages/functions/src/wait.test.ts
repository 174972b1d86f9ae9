import assert from "node:assert/strict";
import { suite, test } from "node:test";
import {
  type Generation,
  type GenerationJson,
  parseGeneration,
  parseObjectName,
  txId,
} from "@pageferry/format";
import { historyOf } from "../testing/history.ts";
import type { StateObjectName } from "./describe.ts";
import { createHoldings, type Holdings } from "./holdings.ts";
import { canRestore } from "./wait.ts";

const [first, second] = [historyOf("a1"), historyOf("a2")];
const stateName = (name: string) => parseObjectName(name) as StateObjectName;

/** The first generation up to 6, the second begun as told, with a snapshot of 9. */
function holdingsOf(begin: Partial<Pick<GenerationJson, "parent" | "reason">>): Holdings {
  const holdings = createHoldings();
  for (const { name, bytes } of [first.snapshot(4), first.segment(4, 6)])
    holdings.of(first.generation).add(stateName(name), bytes.length);
  const { name, bytes } = second.snapshot(9);
  const own = holdings.of(second.generation);
  own.add(stateName(name), bytes.length);
  own.begin = { version: 1, ...second.begin, receivedAtMs: 1, ...begin };
  return holdings;
}

const parent = (generation: Generation, id: number) => ({ generation, txId: txId(id) });
const goal = (id: number) => ({ txId: txId(id), generation: first.generation });

suite("what a replica can restore", () => {
  test("is what its generation leads to, and nothing beyond", () => {
    const holdings = holdingsOf({});

    assert.equal(canRestore(holdings, goal(6), undefined), true);
    assert.equal(canRestore(holdings, goal(7), undefined), false);
    assert.equal(canRestore(holdings, { txId: null, generation: undefined }, first.generation), true);
    assert.equal(canRestore(holdings, { txId: null, generation: undefined }, undefined), false);
    assert.equal(
      canRestore(holdings, { ...goal(1), generation: parseGeneration("b".repeat(16)) }, undefined),
      false,
    );
  });

  test("counts a later generation that left this one at the goal or above", () => {
    const begin = { parent: parent(first.generation, 8), reason: "restored" } as const;

    assert.equal(canRestore(holdingsOf(begin), goal(8), second.generation), true);
    assert.equal(canRestore(holdingsOf(begin), goal(9), second.generation), false);
  });

  test("counts one that left below it only where the file itself went on", () => {
    const begin = { parent: parent(first.generation, 6) };

    assert.equal(canRestore(holdingsOf({ ...begin, reason: "unprovable" }), goal(8), undefined), true);
    assert.equal(canRestore(holdingsOf({ ...begin, reason: "restored" }), goal(8), undefined), false);
    assert.equal(canRestore(holdingsOf({ parent: null, reason: "first" }), goal(8), undefined), false);
  });
});
