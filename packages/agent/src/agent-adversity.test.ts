import assert from "node:assert/strict";
import { cp, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { suite, test } from "node:test";
import { defaultCompression, formatStateHash, formatTxId, parseGeneration, txId } from "@pageferry/format";
import { movableFile, startBench, temporary, until } from "../testing/agent-bench.ts";
import { tableOf } from "../testing/model-database.ts";
import { assertRestores, startTinyHost } from "../testing/tiny-host.ts";
import { nextBatch } from "./batch.ts";
import type { Chapter } from "./chapter.ts";
import { emptyCursor, type GenerationCursor } from "./cursor.ts";
import { planHealing } from "./healing.ts";
import { writePageTable } from "./page-table-file.ts";
import type { RangePart } from "./range-merge.ts";
import { createBudget, createRecent } from "./recent.ts";
import { openReference } from "./reference.ts";
import { trimBound } from "./retention.ts";
import { type Granularity, openShadow, type Shadow } from "./shadow.ts";

const identity = { device: "1", inode: "1", birthtimeNs: "1", bootId: "b", machineId: "m" };
const [older, newer] = [parseGeneration("00000000000000aa"), parseGeneration("00000000000000bb")];

interface Held {
  readonly cursor: Partial<GenerationCursor>;
  readonly entries: readonly { readonly parentTxId: number; readonly txId: number }[];
}

/** A chapter as far as decisions look at it. */
function chapterOf(generation: typeof older, { cursor, entries }: Held): Chapter {
  const held: GenerationCursor = {
    generation,
    parent: null,
    reason: "first",
    epoch: 1,
    pageSize: 512,
    via: "snapshot",
    parentStateHash: null,
    baseTxId: null,
    baseAtMs: 0,
    baseNeededFrom: null,
    acknowledgedTxId: null,
    isAbandoned: false,
    origin: null,
    ...cursor,
  };
  const ranges = entries.map((range) => ({ parentTxId: txId(range.parentTxId), txId: txId(range.txId) }));
  const shadow = { entries: () => ranges };
  return { generation, cursor: () => held, shadow, storedTxId: null } as unknown as Chapter;
}

function checkpointAt(generation: typeof older, id: number) {
  return { generation, txId: txId(id), stateHash: 1n, file: "pages-1.table" };
}

suite("what is kept of a shadow", () => {
  test("is all that follows the first snapshot while that is on its way", () => {
    const entries = [10, 20, 30].map((id) => ({ parentTxId: id - 10, txId: id }));
    const chapter = chapterOf(older, { cursor: { baseNeededFrom: txId(0) }, entries });
    const bound = (uploading: number | null) =>
      trimBound(
        chapter,
        [chapter],
        checkpointAt(older, 30),
        true,
        uploading === null ? null : txId(uploading),
      );

    assert.equal(bound(10), 10n);
    assert.equal(bound(null), 30n);
  });

  test("is the end of a generation whose snapshot is on its way, also when the next has begun", () => {
    const entries = [{ parentTxId: 10, txId: 20 }];
    const before = chapterOf(older, { cursor: { baseNeededFrom: txId(0) }, entries });
    const after = chapterOf(newer, { cursor: { via: "bridge" }, entries: [] });

    assert.equal(trimBound(before, [before, after], checkpointAt(newer, 40), true, txId(10)), 10n);
  });
});

suite("the state to go on from", () => {
  test("is none of another generation, whose transactions may be higher", async () => {
    await using directory = await temporary();
    const { stateHash, pages, txId: id } = movableFile().model.at(9);
    await writePageTable(join(directory.path, "pages-1.table"), {
      txId: txId(id),
      stateHash,
      table: tableOf(pages),
    });
    const checkpoint = { ...checkpointAt(older, id), stateHash };
    const chapters = [
      chapterOf(older, { cursor: {}, entries: [] }),
      chapterOf(newer, { cursor: { baseTxId: txId(3) }, entries: [{ parentTxId: 3, txId: 4 }] }),
    ];

    const reference = await openReference(directory.path, { ...emptyCursor, identity, checkpoint }, chapters);

    assert.equal(reference, undefined);
  });
});

suite("an agent that starts", () => {
  test("beyond what was sent, because a snapshot was lost with the process, makes another at once", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    const file = movableFile();
    const bench = await startBench(host, directory.path, file);
    file.commit(3);
    await bench.settled();
    await bench.agent.stop();
    const shadow = join(directory.path, "shadow", "app");
    const state = file.model.at(9);
    const saved = { txId: txId(9), stateHash: state.stateHash, table: tableOf(state.pages) };
    await writePageTable(join(shadow, "pages-99.table"), saved);
    const cursor = JSON.parse(await readFile(join(shadow, "cursor.json"), "utf8"));
    cursor.checkpoint = {
      generation: cursor.generations[0].generation,
      txId: formatTxId(txId(9)),
      stateHash: formatStateHash(state.stateHash),
      file: "pages-99.table",
    };
    await writeFile(join(shadow, "cursor.json"), JSON.stringify(cursor));
    file.set(9);

    await using again = await startBench(host, directory.path, file);
    await again.settled();

    assert.equal(again.generation(), bench.generation());
    await assertRestores(host, again.generation(), state);
  });

  test("from an older state than the host has stops, says so, and begins a generation at the next start", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    const file = movableFile();
    const [shadow, kept] = [join(directory.path, "shadow"), join(directory.path, "kept")];
    let bench = await startBench(host, directory.path, file);
    file.commit(9);
    await bench.settled();
    await bench.agent.stop();
    await cp(shadow, kept, { recursive: true, filter: (path) => !path.endsWith(".sock") });
    bench = await startBench(host, directory.path, file);
    file.commit(10);
    await bench.settled();
    await bench.agent.stop();
    await rm(shadow, { recursive: true });
    await cp(kept, shadow, { recursive: true });
    file.set(15);

    bench = await startBench(host, directory.path, file);
    await until("halted", () => bench.status().state === "halted");
    const { alarms } = bench.status();
    await bench.agent.stop({ deadlineMs: 200 });
    await using again = await startBench(host, directory.path, file);
    await again.settled();

    assert.deepEqual(
      alarms.map(({ code }) => code),
      ["fork"],
    );
    assert.equal(host.begins.get(again.generation())?.reason, "fork");
    await assertRestores(host, again.generation(), file.model.at(15));
  });
});

suite("a shadow with a hole in it", () => {
  test("is kept as it is, also when both sides come at once", async () => {
    await using directory = await temporary();
    await using shadow = await shadowIn(directory.path, "interval");

    // Nothing is written between the two.
    await Promise.all([shadow.append(partOf(1, 2)), shadow.append(partOf(5, 6))]);
    await shadow.flush();

    assert.deepEqual(
      shadow.entries().map((entry) => [entry.parentTxId, entry.txId]),
      [
        [1n, 2n],
        [5n, 6n],
      ],
    );
  });

  test("is sent up to the hole, with granularity transaction", async () => {
    await using directory = await temporary();
    await using shadow = await shadowIn(directory.path, "transaction");
    for (const part of [partOf(1, 2), partOf(2, 3), partOf(5, 6)]) await shadow.append(part);
    await shadow.flush();
    const chapter = {
      ...chapterOf(older, { cursor: { baseTxId: txId(1) }, entries: [] }),
      shadow,
      recent: createRecent("transaction", createBudget(0), null),
    };

    const batch = await nextBatch(chapter, {
      granularity: "transaction",
      compression: defaultCompression,
      isSentAsKept: true,
    });

    assert.deepEqual([batch?.txId, batch?.items.length], [3n, 2]);
  });
});

test("a snapshot that was acknowledged and lost is brought again before anything follows it", () => {
  const missing = [[txId(20), txId(25)]] as const;
  const needs = {
    version: 1,
    newestEpoch: 1,
    generations: { [older]: { storedTxId: txId(20), missing, snapshot: false } },
  } as const;
  const facts = {
    generation: older,
    isCurrent: true,
    acknowledgedTxId: txId(20),
    baseTxId: txId(25),
    entries: [],
    sinceAcknowledgedMs: 0,
  };

  assert.deepEqual(planHealing(needs, [facts]), [{ generation: older, resend: [], snapshot: true }]);
});

async function shadowIn(directory: string, granularity: Granularity): Promise<Shadow & AsyncDisposable> {
  const shadow = await openShadow({
    directory,
    granularity,
    source: "bolt-file",
    compression: defaultCompression,
    paceMs: 0,
    onDurable: () => {},
    onLost: (_, error) => assert.fail(String(error)),
    onTrouble: (error) => assert.fail(String(error)),
  });
  return { ...shadow, [Symbol.asyncDispose]: () => shadow.close() };
}

function partOf(parentTxId: number, id: number): RangePart {
  return {
    parentTxId: txId(parentTxId),
    txId: txId(id),
    pageSize: 512,
    highWaterMark: 100,
    pre: BigInt(parentTxId),
    post: BigInt(id),
    stampMs: id,
    frames: [{ id: id % 2, overflow: 0, data: new Uint8Array(512).fill(id) }],
    freed: new Uint32Array(),
  };
}
