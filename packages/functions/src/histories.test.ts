import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { formatTxId, parseObjectName } from "@pageferry/format";
import { type History, historyOf, id } from "../testing/history.ts";
import type { StateObjectName } from "./describe.ts";
import { historiesOf } from "./histories.ts";
import { createHoldings, type Holdings } from "./holdings.ts";

const first = historyOf("a1");
const child = historyOf("b2", "", { epoch: 2, parent: { generation: first.generation, txId: id(6) } });

/** A replica with a snapshot at 2, and one segment, of each of them. */
function holding(...contents: readonly (readonly [History, number])[]): Holdings {
  const holdings = createHoldings();
  for (const [from, last] of contents) {
    const held = holdings.of(from.generation);
    held.begin = { version: 1, ...from.begin, receivedAtMs: 1 };
    for (const { name } of [from.snapshot(2), from.segment(2, last)])
      held.add(parseObjectName(name) as StateObjectName, 1);
  }
  return holdings;
}

suite("the histories of a database", () => {
  test("are named newest first, with the point that each goes on from", () => {
    const { generations, generationCount } = historiesOf([holding([first, 6], [child, 9])]);

    assert.equal(generationCount, 2);
    assert.deepEqual(
      generations.map(({ generation, parent, epoch, txid }) => ({ generation, parent, epoch, txid })),
      [
        {
          ...{ generation: child.generation, epoch: 2, txid: formatTxId(id(9)) },
          parent: { generation: first.generation, txid: formatTxId(id(6)) },
        },
        { generation: first.generation, parent: null, epoch: 1, txid: formatTxId(id(6)) },
      ],
    );
  });

  test("reach as far as the replica that has the most of them, and are told of where one replica alone has them", () => {
    const { generations } = historiesOf([holding([first, 6]), holding([first, 8], [child, 9])]);

    assert.deepEqual(
      generations.map(({ txid }) => txid),
      [9, 8].map((txId) => formatTxId(id(txId))),
    );
  });

  test("are none where nothing was listed", () => {
    assert.deepEqual(historiesOf([]), { generations: [], generationCount: 0 });
  });

  test("are named up to a bound, and all counted", () => {
    const many = Array.from({ length: 40 }, (_, epoch) =>
      historyOf(epoch.toString(16).padStart(2, "0"), "", { epoch }),
    );
    const { generations, generationCount } = historiesOf([
      holding(...many.map((history) => [history, 6] as const)),
    ]);

    assert.deepEqual([generations.length, generationCount, generations[0]?.epoch], [32, 40, 39]);
  });
});
