import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { createXxh3, pageHeader } from "@pageferry/format";
import { createMetaReader, type MetaView } from "./bolt-io.ts";
import { createPathProver } from "./path-proof.ts";
import { type RecordedHistory, recordedHistory, simulateFile, withoutFreelists } from "./simulated-file.ts";
import { seeded } from "./simulated-tailer.ts";

const reach = await recordedHistory("replica-nofreelist", "78f6c0c032c4d12e");
const chain = withoutFreelists(await recordedHistory("replica", "0862e0be1cb6d5ca"), () => false);
const largePages = withoutFreelists(
  await recordedHistory("replica-16k-none", "3dbfa069db76585f"),
  () => false,
);

/** The runs that lie side by side, by head. */
function runsOf(path: Uint8Array, pageSize: number): Map<number, Uint8Array> {
  const runs = new Map<number, Uint8Array>();
  for (let at = 0; at < path.length; ) {
    const { id, overflow } = pageHeader(path.subarray(at));
    runs.set(id, path.slice(at, at + (overflow + 1) * pageSize));
    at += (overflow + 1) * pageSize;
  }
  return runs;
}

/** Every block of every run is what it is in that state. */
function assertTrue(history: RecordedHistory, txId: number, runs: ReadonlyMap<number, Uint8Array>): void {
  const { pageSize, states } = history;
  const digest = Buffer.alloc(16);
  const xxh3 = createXxh3();
  for (const [id, run] of runs) {
    for (let block = 0; block < run.length / pageSize; block += 1) {
      xxh3.pageDigest(id + block, run.subarray(block * pageSize, (block + 1) * pageSize), digest, 0);
      assert.equal(digest.toString("hex"), states.get(txId)?.digests.get(id + block), `${id} of ${txId}`);
    }
  }
}

suite("the changed path of a commit", () => {
  for (const [name, history] of Object.entries({ reach, chain, largePages })) {
    test(`is what bolt wrote, where nothing overtakes it (${name})`, () => {
      const file = simulateFile(history, { random: seeded(1), pace: () => 0 });
      const metas = createMetaReader(file.readAt, history.pageSize);
      const prover = createPathProver({ readAt: file.readAt, metas }, history.pageSize);
      let before = metas.read() ?? assert.fail();
      for (const commit of history.commits) {
        file.commitTo(commit.txId);
        const view = metas.read() ?? assert.fail();
        const path = prover.prove(view, before) ?? assert.fail();
        const runs = runsOf(path, history.pageSize);

        assertTrue(history, commit.txId, runs);
        for (const { id } of commit.writes) assert.ok(runs.has(id), `page ${id} of ${commit.txId}`);
        before = view;
      }
    });
  }

  test("holds nothing but what is of that commit, whatever overtakes it", () => {
    const figures = { whole: 0, cut: 0, nothing: 0 };
    for (const [index, history] of [reach, chain, largePages].entries()) {
      for (const mean of [0.02, 0.1, 0.5, 2]) proveAll(history, mean, index, figures);
    }

    assert.ok(figures.whole > 200 && figures.cut > 20 && figures.nothing > 20, JSON.stringify(figures));
  });
});

/** Proves what can be proved of a history that goes on all the time. */
function proveAll(
  history: RecordedHistory,
  mean: number,
  seed: number,
  figures: { whole: number; cut: number; nothing: number },
): void {
  const random = seeded(seed + 1);
  const pace = (): number => (random() < 0.2 ? Math.floor(random() * 10 * mean + random()) : 0);
  const file = simulateFile(history, { random, pace });
  const metas = createMetaReader(file.readAt, history.pageSize);
  const prover = createPathProver({ readAt: file.readAt, metas }, history.pageSize);
  let before: MetaView | undefined;
  while (!file.isDone()) {
    const view = metas.read();
    const isNext = view !== undefined && view.meta.txId === (before?.meta.txId ?? 0n) + 1n;
    const path = isNext && before !== undefined ? prover.prove(view, before) : undefined;
    if (path === undefined && isNext) figures.nothing += 1;
    if (path !== undefined) {
      const txId = Number(view?.meta.txId);
      const runs = runsOf(path, history.pageSize);
      assertTrue(history, txId, runs);
      const commit = history.commits.find((other) => other.txId === txId);
      const isWhole = commit?.writes.every(({ id }) => runs.has(id)) === true;
      figures[isWhole ? "whole" : "cut"] += 1;
    }
    before = view;
    file.write(Math.floor(random() * 4));
  }
}
