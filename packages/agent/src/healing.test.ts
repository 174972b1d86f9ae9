import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { type GenerationNeeds, type Needs, parseGeneration, txId } from "@pageferry/format";
import { type HealingFacts, planHealing } from "./healing.ts";

const generation = parseGeneration("00000000000000aa");

function entry(parentTxId: number, id: number) {
  return { parentTxId: txId(parentTxId), txId: txId(id) };
}

function facts(change: Partial<HealingFacts> = {}): HealingFacts {
  return {
    generation,
    isCurrent: true,
    acknowledgedTxId: txId(20),
    baseTxId: txId(1),
    entries: [entry(10, 12), entry(12, 15), entry(15, 20)],
    sinceAcknowledgedMs: 1000,
    ...change,
  };
}

function needs(change: Partial<GenerationNeeds>): Needs {
  const needed = { storedTxId: txId(9), missing: [], snapshot: false, ...change };
  return { version: 1, newestEpoch: 1, generations: { [generation]: needed } };
}

suite("healing", () => {
  test("sends a hole again that the shadow covers", () => {
    const plan = planHealing(needs({ missing: [[txId(11), txId(16)]] }), [facts()]);

    assert.deepEqual(plan, [{ generation, resend: [entry(11, 16)], snapshot: false }]);
  });

  test("closes a hole by a snapshot when the shadow has only a part of it", () => {
    const plan = planHealing(needs({ missing: [[txId(8), txId(12)]] }), [facts()]);

    assert.deepEqual(plan, [{ generation, resend: [], snapshot: true }]);
  });

  test("leaves a hole of an older generation that nobody can fill", () => {
    assert.deepEqual(
      planHealing(needs({ missing: [[txId(8), txId(12)]] }), [facts({ isCurrent: false })]),
      [],
    );
  });

  test("does not take for a hole what was not acknowledged yet", () => {
    const plan = planHealing(needs({ missing: [[txId(15), txId(25)]] }), [facts()]);

    assert.deepEqual(plan, []);
  });

  test("brings the snapshot that is asked for", () => {
    assert.deepEqual(planHealing(needs({ snapshot: true }), [facts()]), [
      { generation, resend: [], snapshot: true },
    ]);
  });

  test("brings a snapshot to a host that has forgotten the generation, but gives it time first", () => {
    const nothing: Needs = { version: 1, newestEpoch: 0, generations: {} };

    assert.deepEqual(planHealing(nothing, [facts()]), []);
    assert.deepEqual(planHealing(nothing, [facts({ sinceAcknowledgedMs: 3_600_000 })]), [
      { generation, resend: [], snapshot: true },
    ]);
  });
});
