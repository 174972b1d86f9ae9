import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { encodeMetaPage, parseMeta, txId } from "@pageferry/format";
import type { MetaView } from "./bolt-io.ts";
import { appendLink, createLinkMemory, type Link, readLinkLog } from "./link-log.ts";

function metaBytesOf(id: number, highWaterMark = 9): Uint8Array {
  const fields = {
    pageSize: 4096,
    flags: 0,
    root: 3,
    sequence: 0n,
    freelist: 2,
    highWaterMark,
    txId: txId(id),
  };
  return encodeMetaPage(fields, id % 2 === 0 ? 0 : 1).slice(0, 80);
}

function viewOf(id: number, other = metaBytesOf(id - 1)): MetaView {
  const raw = metaBytesOf(id);
  return { meta: parseMeta(raw) ?? assert.fail(), raw, otherRaw: other, other: parseMeta(other) };
}

function linkOf(id: number, length = 100): Link {
  return { view: viewOf(id), runs: new Uint8Array(length).fill(id & 0xff) };
}

/** A log that was written, and a clock that runs out at once. */
function logOf(...links: Link[]) {
  const memory = createLinkMemory();
  for (const link of links) appendLink(memory, link);
  let clockMs = 0;
  return {
    memory,
    log: readLinkLog(memory, () => {
      clockMs += 10;
      return clockMs;
    }),
  };
}

function told(links: Link[] | undefined): (bigint | number)[][] | undefined {
  return links?.map(({ view, runs }) => [view.meta.txId, runs.length, runs[0] as number]);
}

suite("a log of links", () => {
  test("gives those from one state to another, and later ones later", () => {
    const { log } = logOf(linkOf(8), linkOf(9), linkOf(10), linkOf(11));

    assert.deepEqual(told(log.follow(viewOf(8), viewOf(10))), [
      [9n, 100, 9],
      [10n, 100, 10],
    ]);
    assert.deepEqual(told(log.follow(viewOf(10), viewOf(11))), [[11n, 100, 11]]);
  });

  test("gives nothing where one is missing, does not follow, or is not there yet", () => {
    const stranger: Link = { view: viewOf(10, metaBytesOf(9, 77)), runs: new Uint8Array(8) };

    assert.equal(logOf(linkOf(10)).log.follow(viewOf(8), viewOf(10)), undefined);
    assert.equal(logOf(linkOf(9), stranger).log.follow(viewOf(8), viewOf(10)), undefined);
    assert.equal(logOf(linkOf(9)).log.follow(viewOf(8), viewOf(10)), undefined);
  });

  test("gives nothing where the newest is another than the one that was seen", () => {
    const { log } = logOf(linkOf(9));
    const raw = metaBytesOf(9, 77);
    const seen: MetaView = { ...viewOf(9), raw };

    assert.equal(log.follow(viewOf(8), seen), undefined);
  });

  test("runs around its memory many times, with runs of any length", () => {
    const { memory, log } = logOf();

    for (let id = 9; id < 400; id += 1) {
      appendLink(memory, linkOf(id, 1 + ((id * 7919) % 60_000)));
      assert.deepEqual(told(log.follow(viewOf(id - 1), viewOf(id))), [
        [BigInt(id), 1 + ((id * 7919) % 60_000), id & 0xff],
      ]);
    }
  });

  test("has room again for what comes after links that were not needed", () => {
    const { memory, log } = logOf();

    for (let id = 9; id < 60; id += 1) {
      appendLink(memory, linkOf(id, 200_000));
      log.forget(viewOf(id));
    }
    appendLink(memory, linkOf(60));

    assert.deepEqual(told(log.follow(viewOf(59), viewOf(60))), [[60n, 100, 60]]);
  });

  test("keeps what comes after those that are not needed", () => {
    const { log } = logOf(linkOf(9), linkOf(10), linkOf(11));

    log.forget(viewOf(9));

    assert.deepEqual(told(log.follow(viewOf(9), viewOf(11))), [
      [10n, 100, 10],
      [11n, 100, 11],
    ]);
  });

  test("leaves out what there is no room for, and goes on when there is", () => {
    const { memory, log } = logOf();
    for (let id = 9; id < 60; id += 1) appendLink(memory, linkOf(id, 200_000));

    assert.equal(log.follow(viewOf(8), viewOf(59)), undefined);
    appendLink(memory, linkOf(60));
    appendLink(memory, linkOf(61));

    assert.deepEqual(told(log.follow(viewOf(60), viewOf(61))), [[61n, 100, 61]]);
  });
});
