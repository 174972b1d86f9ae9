// A replica that was packed, compacted and given snapshots, restored as the Go implementation restores: by _state.json alone, without looking at
// anything twice. What it gives is sound, and is what our own restore of that transaction gives.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { suite, test } from "node:test";
import { parseRestoreState, type TxId } from "@pageferry/format";
import { fileReplica, type Replica } from "@pageferry/functions";
import { compactReplica } from "../packages/functions/src/compact.ts";
import { buildSnapshots } from "../packages/functions/src/snapshot-build.ts";
import {
  firstLine,
  holdsState,
  type ModelLine,
  restoreImage,
  segmentItem,
  snapshotItem,
} from "../packages/functions/testing/bolt-archive.ts";
import { createBoltModel, modelPageSize } from "../packages/functions/testing/bolt-model.ts";
import { checkFile } from "./go-apps.ts";
import { runProcess } from "./processes.ts";
import { type Chance, chance, type TemporaryDirectory, temporaryDirectory } from "./temporary.ts";
import { contentOf, type GoldenHistory, goldenHistories, stampOf } from "./time/golden-history.ts";

const program = new URL("./.cache/bin/goreader", import.meta.url).pathname;

/** Windows of ten seconds, and of a minute. */
const levelsMs = [10_000, 60_000];

/** Histories of the model: where their file ends, and what is free there, is chance. */
const models = 12;

interface Restored {
  readonly txId: number;
  readonly segments: number;
  readonly bytes: number;
}

async function restoreByGo(root: string, out: string): Promise<Restored> {
  const { code, stdout, stderr } = await runProcess(program, ["restore", root, out]);
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout) as Restored;
}

/** Stores a history in packs and single segments, as it comes, and lets time go by in between. */
async function live(
  replica: Replica,
  history: Pick<GoldenHistory, "begin" | "base" | "segments">,
  scratchDir: string,
  { below }: Chance,
) {
  const { begin, base, segments } = history;
  await replica.begin(begin, stampOf(0n as TxId));
  await replica.putAll(begin.generation, [base]);
  let snapshots = 0;
  for (let at = 0; at < segments.length; ) {
    const count = 1 + below(12);
    await replica.putAll(begin.generation, segments.slice(at, at + count), { pack: true });
    at += count;
    if (below(4) > 0) continue;
    const newest = segments[Math.min(at, segments.length) - 1]?.name;
    const nowMs = (newest?.kind === "segment" ? newest.stampMs : null) ?? 0;
    await compactReplica(replica, { levelsMs, now: () => nowMs });
    const built = await buildSnapshots(replica, {
      levelsMs,
      snapshotIntervalMs: 40_000,
      scratchDir,
      nowMs,
      threads: 0,
    });
    assert.ok(built.every(({ failure }) => failure === null));
    snapshots += built.length;
  }
  await compactReplica(replica, { levelsMs, now: () => Number.MAX_SAFE_INTEGER });
  return snapshots;
}

/** Lets Go restore the replica, and gives the file with what _state.json names. */
async function stateByGo(replica: Replica, root: string, directory: TemporaryDirectory, name: string) {
  assert.ok(await replica.writeState());
  const state = parseRestoreState(await readFile(`${root}/_state.json`));
  const out = directory.file(name);
  const said = await restoreByGo(root, out);
  return { state, said, out, image: new Uint8Array(await readFile(out)) };
}

suite("the Go implementation's restore", () => {
  test("gives the newest state of a real history that was packed, compacted and given snapshots", async () => {
    const random = chance();
    await using directory = await temporaryDirectory();
    const sum = { snapshots: 0, merged: 0 };
    for (const history of await goldenHistories("replica")) {
      const root = directory.file(history.begin.generation);
      const replica = fileReplica({ path: root });
      const snapshots = await live(replica, history, directory.path, random);

      const { state, said, out, image } = await stateByGo(
        replica,
        root,
        directory,
        `${history.begin.generation}.db`,
      );

      const where = `seed ${random.seed}, ${history.name}`;
      const txId = BigInt(said.txId) as TxId;
      sum.snapshots += snapshots;
      sum.merged += (state.segments ?? []).filter(({ firstTxId, lastTxId }) => lastTxId > firstTxId).length;
      assert.equal(txId, [...history.truth.keys()].at(-1), where);
      assert.equal(contentOf(image, history.begin.pageSize), history.truth.get(txId), where);
      const ours = await restoreImage(replica, { txId });
      assert.equal(contentOf(ours, history.begin.pageSize), contentOf(image, history.begin.pageSize), where);
      const verdict = await checkFile(out);
      assert.deepEqual([verdict.ok, verdict.txid, verdict.errors], [true, said.txId, []], where);
      assert.equal(verdict.logicalSha256, history.truth.get(txId), where);
    }
    assert.ok(sum.snapshots > 0 && sum.merged > 0, `seed ${random.seed}: ${JSON.stringify(sum)}`);
  });

  test("gives a file of the right length, whatever was free at its end", async () => {
    const random = chance();
    await using directory = await temporaryDirectory();
    for (let at = 0; at < models; at += 1) {
      const where = `seed ${random.seed}, model ${at}`;
      const line = lineOf(40 + random.below(60), at % 2 === 0, random);
      const root = directory.file(`model-${at}`);
      const replica = fileReplica({ path: root });
      const segments = Array.from({ length: line.model.newest() - 1 }, (_, before) =>
        segmentItem(line, before + 1, before + 2),
      );
      const base = await snapshotItem(line, 1);
      await live(replica, { begin: line.begin, base, segments }, directory.path, random);

      const { said, image } = await stateByGo(replica, root, directory, `model-${at}.db`);

      assert.ok(said.txId > 1, where);
      contentOf(image, modelPageSize);
      assert.ok(holdsState(image, line.model, said.txId), where);
    }
  });
});

function lineOf(commits: number, hasFreelist: boolean, { below }: Chance): ModelLine {
  const model = createBoltModel({ hasFreelist });
  for (let at = 0; at < commits; at += 1) {
    const write = () => ({ key: below(6), letter: below(3), overflow: below(4) });
    model.commit(below(2) === 0 ? [write()] : [write(), write()]);
  }
  return firstLine(model, "b1", (id) => stampOf(BigInt(id) as TxId));
}
