import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { txId } from "@pageferry/format";
import { createFlushLine } from "./flush-line.ts";
import type { Flush } from "./page-flush.ts";

const pageSize = 512;

/** A flush of these pages, each full of the transaction's number. */
function flushOf(id: number, pages: readonly number[], parent = id - 1): Flush {
  return {
    parentTxId: txId(parent),
    txId: txId(id),
    pageSize,
    tip: { root: pages[0], sequence: undefined, freelist: null, highWaterMark: 1000 },
    frames: pages.map((page) => ({ id: page, overflow: 0, data: new Uint8Array(pageSize).fill(id) })),
    stampMs: 1000 + id,
    bytes: pages.length * pageSize,
  };
}

const wide = { mergeBytes: 2 ** 20, bytesMax: 2 ** 21 };

suite("a line of flushes", () => {
  test("gives them in the order of their txids, however they came", () => {
    const line = createFlushLine(wide);
    for (const id of [7, 5, 8, 6]) line.offer(flushOf(id, [id]));

    const given = [4, 5, 6, 7, 8].map((known) => line.next(txId(known))?.txId);

    assert.deepEqual(given, [5n, 6n, 7n, 8n, undefined]);
    assert.ok(line.isEmpty());
  });

  test("gives nothing while the one that follows is missing", () => {
    const line = createFlushLine(wide);
    line.offer(flushOf(6, [6]));

    assert.equal(line.next(txId(4)), undefined);
    assert.equal(line.isEmpty(), false);
    assert.equal(line.newestTxId(), 6n);

    line.offer(flushOf(5, [5]));
    assert.equal(line.next(txId(4))?.txId, 5n);
  });

  test("takes each once: told again while it waits, or after it was given, it is a repetition", () => {
    const line = createFlushLine(wide);
    assert.equal(line.offer(flushOf(5, [5])), "taken");
    assert.equal(line.offer(flushOf(5, [5])), "repeated");
    line.next(txId(4));
    assert.equal(line.offer(flushOf(5, [5])), "repeated");
    assert.equal(line.offer(flushOf(3, [3])), "repeated");
  });

  test("forgets what the known state includes", () => {
    const line = createFlushLine(wide);
    for (const id of [5, 6, 7]) line.offer(flushOf(id, [id]));

    assert.equal(line.next(txId(6))?.txId, 7n);
    assert.equal(line.bytes(), 0);
  });

  test("gives a range that begins before the known state, as long as it ends after it", () => {
    const line = createFlushLine(wide);
    line.offer(flushOf(9, [9], 3));

    assert.equal(line.next(txId(6))?.parentTxId, 3n);
  });

  test("of transactions without a page is bounded, too", () => {
    const line = createFlushLine({ mergeBytes: 2 ** 16, bytesMax: 2 ** 17 });

    for (let id = 5; id <= 5000; id += 1) line.offer(flushOf(id, []));

    assert.ok(line.figures.merged > 4000);
    assert.equal(line.next(txId(4))?.parentTxId, 4n);
    const apart = createFlushLine({ mergeBytes: 2 ** 16, bytesMax: 2 ** 17 });
    for (let id = 5; id <= 5000; id += 2) apart.offer(flushOf(id, []));
    assert.ok(apart.isLost());
  });

  test("above its first bound merges neighbours, newer pages over older ones", () => {
    const line = createFlushLine({ mergeBytes: 3 * pageSize, bytesMax: 2 ** 21 });
    for (let id = 5; id <= 104; id += 1) line.offer(flushOf(id, [10, 20 + (id % 2)]));

    const range = line.next(txId(4));

    assert.deepEqual([range?.parentTxId, range?.txId, range?.stampMs], [4n, 104n, 1104]);
    assert.deepEqual(
      range?.frames.flatMap(({ id, data }) =>
        Array.from({ length: data.length / pageSize }, (_, block) => [id + block, data[block * pageSize]]),
      ),
      [
        [10, 104],
        [20, 104],
        [21, 103],
      ],
    );
    assert.equal(line.figures.merged, 99);
    assert.ok(line.figures.bytesMax <= 8 * pageSize, `${line.figures.bytesMax} bytes were held`);
  });

  test("merges on both sides of what is missing, and not over it", () => {
    const line = createFlushLine({ mergeBytes: pageSize, bytesMax: 2 ** 21 });
    for (const id of [5, 6, 8, 9, 10]) line.offer(flushOf(id, [id]));

    assert.equal(line.next(txId(4))?.txId, 6n);
    assert.equal(line.next(txId(6)), undefined);
    line.offer(flushOf(7, [7]));
    assert.equal(line.next(txId(6))?.txId, 10n);
  });

  test("keeps the root of an older transaction where a newer one wrote no tree page", () => {
    const line = createFlushLine({ mergeBytes: 1, bytesMax: 2 ** 21 });
    line.offer(flushOf(5, [50]));
    line.offer(flushOf(6, []));

    assert.equal(line.next(txId(4))?.tip.root, 50);
  });

  test("above its second bound lets everything go, and says since when something waits", () => {
    const bounds = { mergeBytes: 4 * pageSize, bytesMax: 8 * pageSize };
    const line = createFlushLine(bounds);
    const offered = new Set<string>();
    for (let id = 5; id <= 300; id += 1) {
      offered.add(line.offer(flushOf(id, [id, id + 300])));
      assert.ok(line.bytes() <= bounds.bytesMax, `${line.bytes()} bytes at ${id}`);
    }

    assert.deepEqual([...offered], ["taken", "let go"]);
    assert.deepEqual([line.isLost(), line.isEmpty(), line.bytes()], [true, false, 0]);
    assert.equal(line.newestTxId(), 300n);
    assert.equal(line.oldestMs(), 1005);
    assert.equal(line.figures.letGo, 1);

    line.restart();
    assert.deepEqual([line.isEmpty(), line.oldestMs()], [true, undefined]);
    assert.equal(line.offer(flushOf(301, [1])), "taken");
  });
});
