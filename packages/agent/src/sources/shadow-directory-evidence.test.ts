import assert from "node:assert/strict";
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite, test } from "node:test";
import {
  checkDatabase,
  decodeSegment,
  encodeMetaPage,
  metaPagesFor,
  type Segment,
  type TxId,
  txId,
} from "@pageferry/format";
import { openPageSource } from "@pageferry/format/node";
import { goController } from "../../testing/go-controller.ts";
import { createPageTable } from "../page-table.ts";
import { beginScan, stepWalk } from "./advance.ts";
import { createMetaReader } from "./bolt-io.ts";
import { countLeaked } from "./outcome.ts";
import { judgeSegment } from "./shadow-directory-evidence.ts";
import { openMirror } from "./shadow-directory-mirror.ts";
import { type RecordedHistory, recordedHistory, withOtherData } from "./simulated-file.ts";
import { createWalk } from "./walk.ts";

const history = await recordedHistory("replica", "0862e0be1cb6d5ca");
const unlisted = await recordedHistory("replica-nofreelist", "78f6c0c032c4d12e");

/** The file of a state, in memory. */
function imageAt({ pageSize, start, commits, states }: RecordedHistory, id: number): Uint8Array {
  const meta = states.get(id)?.meta ?? assert.fail();
  const image = new Uint8Array(meta.highWaterMark * pageSize);
  image.set(start.subarray(0, image.length));
  for (const commit of commits) {
    if (commit.txId <= id) for (const write of commit.writes) image.set(write.data, write.id * pageSize);
  }
  const [page0, page1] = metaPagesFor(encodeMetaPage(meta, meta.txId % 2n === 0n ? 0 : 1));
  image.set(page0, 0);
  image.set(page1, pageSize);
  return image;
}

/** What is known at a state. */
function knownAt(of: RecordedHistory, id: number) {
  const image = imageAt(of, id);
  const { pageSize } = of;
  const readAt = (position: number, into: Uint8Array): number => {
    const part = image.subarray(position, position + into.length);
    into.set(part);
    return part.length;
  };
  const metas = createMetaReader(readAt, pageSize);
  const view = metas.read() ?? assert.fail();
  const walk = createWalk({ file: { readAt, metas }, pageSize, view, fresh: createPageTable(pageSize) });
  beginScan(walk);
  while (stepWalk(walk, 64) !== "complete");
  return { view, table: walk.fresh, leaked: countLeaked(walk, walk.fresh.count()), readAt };
}

function segmentOf(of: RecordedHistory, id: number): Segment {
  return decodeSegment(goController(of, "").segment(id));
}

/** A segment as if it were the next one of another state. */
function renumbered(segment: Segment, id: number): Segment {
  return { ...segment, header: { ...segment.header, txId: txId(id), parentTxId: txId(id - 1) } };
}

function reasonOf(evidence: ReturnType<typeof judgeSegment>): string {
  return evidence.follows ? assert.fail("it was believed") : evidence.reason;
}

suite("a segment", () => {
  for (const [name, of] of Object.entries({
    "with freelists": history,
    "without freelists": unlisted,
  })) {
    test(`follows the state before it, and leads to the one it led to, ${name}`, () => {
      for (const { txId: id } of of.commits.filter((_, index) => index % 5 === 0)) {
        const evidence = judgeSegment(knownAt(of, id - 1), segmentOf(of, id));
        assert.ok(evidence.follows, `transaction ${id}`);
        assert.equal(evidence.post, of.states.get(id)?.stateHash);
        assert.deepEqual(
          encodeMetaPage(evidence.meta, 0),
          encodeMetaPage(of.states.get(id)?.meta ?? assert.fail(), 0),
        );
      }
    });
  }

  test("never follows a state that it was not made for, whatever it calls itself", () => {
    let refused = 0;
    for (let id = 10; id <= 290; id += 10) {
      const known = knownAt(history, id);
      for (const other of [id - 3, id, id + 2, id + 5]) {
        const evidence = judgeSegment(known, renumbered(segmentOf(history, other), id + 1));
        if (evidence.follows) assert.fail(`transaction ${other} was believed to follow ${id}`);
        refused += 1;
      }
    }
    assert.equal(refused, 116);
  });

  test("of another database never follows", async () => {
    for (let id = 3; id <= 41; id += 1) {
      assert.equal(judgeSegment(knownAt(history, id - 1), segmentOf(unlisted, id)).follows, false, `${id}`);
    }
  });

  test("that lacks a page, or has one too many, does not follow", () => {
    const known = knownAt(history, 59);
    const { header, pages } = segmentOf(history, 60);
    for (const left of pages.keys()) {
      const evidence = judgeSegment(known, { header, pages: pages.toSpliced(left, 1) });
      assert.equal(evidence.follows, false, `without page ${pages[left]?.id}`);
    }
    const [leaf] = segmentOf(history, 61).pages;
    assert.ok(leaf !== undefined);
    assert.equal(judgeSegment(known, { header, pages: [leaf, ...pages] }).follows, false);
  });

  test("of other pages or another parent says why not", () => {
    const known = knownAt(history, 59);
    const { header, pages } = segmentOf(history, 60);
    assert.match(reasonOf(judgeSegment(known, segmentOf(history, 61))), /its parent is 60/);
    assert.match(reasonOf(judgeSegment(known, { header: { ...header, pageSize: 8192 }, pages })), /8192/);
    const low = { ...header, highWaterMark: 4n };
    assert.match(reasonOf(judgeSegment(known, { header: low, pages })), /beyond its high-water mark/);
  });

  test("is not enough to tell two pasts apart that differ only below what it refers to", () => {
    // Why a snapshot has the last word where there is one.
    assert.equal(judgeSegment(knownAt(withOtherData(history, 44), 60), segmentOf(history, 61)).follows, true);
  });
});

test("a mirror is at the state before, or at the next one, wherever a kill cuts its writes off", (context) => {
  const directory = mkdtempSync(join(tmpdir(), "pageferry-mirror-"));
  context.after(() => rmSync(directory, { recursive: true, force: true }));
  const path = join(directory, "mirror.db");
  const { pageSize } = history;
  const hashOf = (): readonly [TxId | undefined, bigint | undefined] => {
    using source = openPageSource(path);
    const { meta, stateHash, problems } = checkDatabase(source, { mode: "full" });
    assert.deepEqual(problems, []);
    return [meta?.txId, stateHash];
  };
  for (const id of [3, 44, 60, 151, 300]) {
    const segment = segmentOf(history, id);
    const evidence = judgeSegment(knownAt(history, id - 1), segment);
    assert.ok(evidence.follows);
    for (let writes = 0; writes <= segment.pages.length; writes += 1) {
      writeFileSync(path, imageAt(history, id - 1));
      const fd = openSync(path, "r+");
      for (const page of segment.pages.slice(0, writes))
        writeSync(fd, page.data, 0, page.data.length, Number(page.id) * pageSize);
      closeSync(fd);
      assert.deepEqual(hashOf(), [txId(id - 1), history.states.get(id - 1)?.stateHash]);

      const mirror = openMirror(path);
      mirror.apply(segment, evidence.meta, 1_700_000_000_123);
      assert.equal(mirror.stampMs(), 1_700_000_000_123);
      mirror.close();

      assert.deepEqual(hashOf(), [txId(id), history.states.get(id)?.stateHash]);
    }
  }
});
