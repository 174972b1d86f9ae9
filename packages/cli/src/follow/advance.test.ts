import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { type Generation, type PlanStep, parseGeneration, type RestorePlan, txId } from "@pageferry/format";
import { decideAdvance, type StandbyPoint } from "./advance.ts";

const [older, own, younger] = ["a1", "a2", "a3"].map((end) => parseGeneration(end.padStart(16, "0"))) as [
  Generation,
  Generation,
  Generation,
];

type Step = readonly [generation: Generation, from: number, to: number, parent?: number];

function plan(base: readonly [Generation, number], steps: readonly Step[], epoch?: number): RestorePlan {
  const [generation, to] =
    steps.at(-1) === undefined ? base : [steps.at(-1)?.[0] ?? own, steps.at(-1)?.[2] ?? 0];
  return {
    generation,
    txId: txId(BigInt(to)),
    stampMs: to * 1000,
    epoch,
    snapshot: {
      kind: "snapshot",
      name: "s",
      size: 900,
      generation: base[0],
      txId: txId(BigInt(base[1])),
      stampMs: 0,
    },
    steps: steps.map(
      ([of, from, end, parent = from]): PlanStep => ({
        ...{ kind: "segment", name: `${of}/${parent}-${end}`, size: 10, generation: of, stampMs: null },
        ...{ parentTxId: txId(BigInt(parent)), lastTxId: txId(BigInt(end)) },
        ...{ from: txId(BigInt(from)), to: txId(BigInt(end)) },
      }),
    ),
    bytes: 900 + steps.length * 10,
    warnings: [],
  };
}

const at = (id: number, more: Partial<StandbyPoint> = {}) => ({
  point: { generation: own, epoch: 2, txId: txId(BigInt(id)), stampMs: id * 1000, ...more },
  left: [older],
});

suite("a standby and the newest point", () => {
  test("without a standby all of it is restored", () => {
    assert.equal(decideAdvance({ point: undefined, left: [] }, plan([own, 3], [])).kind, "whole");
  });

  test("the point that it is asks for nothing", () => {
    assert.deepEqual(decideAdvance(at(7), plan([own, 3], [[own, 3, 7]])), { kind: "none" });
  });

  test("only what leads on from it is fetched, from where it is", () => {
    const found = decideAdvance(
      at(5),
      plan(
        [own, 3],
        [
          [own, 3, 4],
          [own, 4, 5],
          [own, 5, 6],
          [own, 6, 8],
        ],
      ),
    );
    assert.ok(found.kind === "delta");
    assert.deepEqual(
      found.plan.steps.map(({ from, to }) => [from, to]),
      [
        [5n, 6n],
        [6n, 8n],
      ],
    );
    assert.equal(found.plan.bytes, 20);
  });

  test("a range that was merged over its point is applied from the point", () => {
    const found = decideAdvance(at(5), plan([own, 3], [[own, 3, 8]]));
    assert.ok(found.kind === "delta");
    assert.deepEqual(
      found.plan.steps.map(({ from, parentTxId }) => [from, parentTxId]),
      [[5n, 3n]],
    );
  });

  test("a snapshot that is newer than it is taken whole", () => {
    assert.equal(decideAdvance(at(5), plan([own, 6], [[own, 6, 7]])).kind, "whole");
    assert.equal(decideAdvance(at(5), plan([own, 6], [])).kind, "whole");
  });

  test("a bridge is followed from the very state that it begins at, and from before", () => {
    const bridged = plan(
      [own, 3],
      [
        [own, 3, 5],
        [younger, 5, 9],
      ],
      3,
    );
    assert.equal(decideAdvance(at(5), bridged).kind, "delta");
    assert.equal(decideAdvance(at(4), bridged).kind, "delta");
  });

  test("where it went beyond the point at which its successor begins, all is restored again", () => {
    assert.equal(
      decideAdvance(
        at(6),
        plan(
          [own, 3],
          [
            [own, 3, 5],
            [younger, 5, 9],
          ],
          3,
        ),
      ).kind,
      "whole",
    );
  });

  test("a replaced database is followed also where its transactions count from less", () => {
    assert.equal(decideAdvance(at(90), plan([younger, 4], [[younger, 4, 6]], 3)).kind, "whole");
  });

  test("it never goes back", () => {
    const backward: Record<string, RestorePlan> = {
      "to a point before": plan([own, 3], [[own, 3, 4]]),
      "to an older generation, though it counts further": plan([younger, 3], [[younger, 3, 99]], 1),
      "to a generation that it has left": plan([older, 3], [[older, 3, 99]], 9),
      "to an earlier time, where no epoch is known": plan([younger, 3], [[younger, 3, 4]]),
    };
    for (const [name, one] of Object.entries(backward))
      assert.equal(decideAdvance(at(5), one).kind, "older", name);
  });

  test("where no epoch is known, a later time is newer", () => {
    assert.equal(decideAdvance(at(5, { epoch: null }), plan([younger, 3], [[younger, 3, 6]])).kind, "whole");
  });
});
