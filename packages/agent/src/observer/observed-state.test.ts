import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { createPageStore, type PageStoreOptions } from "../../testing/page-store.ts";
import { createFlushLine, type FlushRange } from "./flush-line.ts";
import { scanDatabase } from "./observed-scan.ts";
import { advanceState, type ObservedState } from "./observed-state.ts";
import { copyFlush, type PageFlushInfo } from "./page-flush.ts";

const made = (options: Partial<PageStoreOptions> = {}) => createPageStore({ path: "app.db", ...options });

async function scanned(store: ReturnType<typeof made>): Promise<ObservedState> {
  const found = await scanDatabase({ database: store, reference: null, pause: async () => {} });
  return found.state;
}

/** The range of these flushes: one, or several merged. */
function rangeOf(state: ObservedState, infos: readonly PageFlushInfo[]): FlushRange {
  const line = createFlushLine({ mergeBytes: infos.length > 1 ? 0 : 2 ** 30, bytesMax: 2 ** 31 });
  for (const info of infos) line.offer(copyFlush(info, 512, 1));
  const range = line.next(state.meta.txId);
  assert.ok(range !== undefined);
  return range;
}

suite("an observed state", () => {
  for (const hasFreelist of [true, false]) {
    const how = hasFreelist ? "with a freelist" : "without one";
    test(`moves on by each transaction to what a look at the database finds, ${how}`, async () => {
      const store = made({ hasFreelist, leaves: 60 });
      let state = await scanned(store);
      for (let count = 0; count < 300; count += 1) {
        if (count % 50 === 49) store.grow(5);
        const advanced = advanceState(state, rangeOf(state, [store.commit(1 + (count % 9))]));
        assert.ok(advanced !== undefined, `transaction ${store.newest()} does not add up`);
        state = advanced.state;
        assert.equal(advanced.outcome.post, store.state().stateHash);
      }
      assert.deepEqual([...ids(state)], [...ids(await scanned(store))]);
    });

    test(`moves on by many that were merged, ${how}`, async () => {
      const store = made({ hasFreelist });
      let state = await scanned(store);
      for (let round = 0; round < 20; round += 1) {
        const infos = Array.from({ length: 2 + round }, () => store.commit());
        const advanced = advanceState(state, rangeOf(state, infos));
        assert.equal(advanced?.outcome.post, store.state().stateHash);
        state = advanced?.state ?? state;
      }
    });
  }

  test("does not move on by a page that says it is longer than what was told of it", async () => {
    const store = made({ hasFreelist: false });
    const state = await scanned(store);
    const before = state.table.stateHash();
    const range = rangeOf(state, [store.commit()]);
    const leaf = range.frames.find(({ data }) => data[8] === 0x02);
    assert.ok(leaf !== undefined);
    new DataView(leaf.data.buffer, leaf.data.byteOffset).setUint32(12, 2, true);

    assert.equal(advanceState(state, range), undefined);

    assert.equal(state.table.stateHash(), before);
  });

  test("says which pages are live no more, so that a page table rolls forward by it", async () => {
    const store = made();
    const before = new Set(store.state().pages.keys());
    const state = await scanned(store);

    const advanced = advanceState(state, rangeOf(state, [store.commit()]));

    const after = store.state().pages;
    const freed = [...before].filter((id) => !after.has(id)).sort((a, b) => a - b);
    assert.deepEqual([...(advanced?.outcome.freed ?? [])], freed);
  });

  test("stays as it was by a transaction that follows another one than it says", async () => {
    const store = made();
    const state = await scanned(store);
    const { txId: known } = state.meta;
    const hash = state.table.stateHash();
    store.commit();
    const info = store.commit();

    const lying = { ...info, parentTxId: known };

    assert.equal(advanceState(state, rangeOf(state, [lying])), undefined);
    assert.equal(state.table.stateHash(), hash);
  });

  for (const hasFreelist of [true, false]) {
    test(`stays as it was when a page is missing, ${hasFreelist ? "with a freelist" : "without one"}`, async () => {
      const store = made({ hasFreelist });
      const state = await scanned(store);
      const info = store.commit();
      // Without its root, and without a freelist to count by, what is left looks whole: only the database itself can tell.
      const { root } = copyFlush(info, 512, 1).tip;
      const isNoticed = (id: unknown) => hasFreelist || Number(id) !== root;
      for (const [index, missing] of info.frames.entries()) {
        if (!isNoticed(missing.id)) continue;
        const frames = info.frames.filter((_, at) => at !== index);
        const fewer = { ...info, frames, pageCount: frames.length };
        let advanced: unknown;
        try {
          advanced = advanceState(state, rangeOf(state, [fewer]));
        } catch (error) {
          // Without its root page two pages could be the root: it is not even taken.
          assert.equal((error as { code?: string }).code, "corrupt");
        }
        assert.equal(advanced, undefined, `without page ${missing.id}`);
      }
      assert.ok(advanceState(state, rangeOf(state, [info])) !== undefined);
    });
  }
});

function* ids(state: ObservedState): Generator<number> {
  for (let id = state.table.next(0); id >= 0; id = state.table.next(id + 1)) yield id;
}
