import assert from "node:assert/strict";
import { suite, test } from "node:test";
import fc from "fast-check";
import { isPageferryError } from "../errors.ts";
import { branchChildren, leafBuckets, pageHeader, referencedPages, visitReferences } from "./page.ts";

const limits = { pageSize: 1024, highWaterMark: 100 };

suite("a page header", () => {
  test("holds id, flags, count and overflow, little-endian", () => {
    const header = pageHeader(Buffer.from("b801000001000000020011002a000000", "hex"));

    assert.deepEqual(header, { id: 2 ** 32 + 440, flags: 2, count: 17, overflow: 42 });
  });

  test("is not read from fewer than 16 bytes", () => {
    assert.throws(() => pageHeader(new Uint8Array(15)), { code: "corrupt" });
  });
});

suite("a branch", () => {
  test("refers to its children in key order", () => {
    const run = branch(7, [9, 4, 55]);

    assert.deepEqual([...branchChildren(run)], [9, 4, 55]);
    assert.deepEqual([...referencedPages(run, 7, limits)], [9, 4, 55]);
    assert.deepEqual([...leafBuckets(run)], []);
  });

  test("is corrupt when it has no child, or one outside of the database", () => {
    refused(branch(7, []), /page 7: a branch without children/);
    refused(branch(7, [9, 100]), /page 7: refers to page 100/);
    refused(branch(7, [1]), /page 7: refers to page 1,/);
    refused(branch(7, [0]), /page 7: refers to page 0,/);
    refused(branch(7, [2 ** 32 + 9]), /page 7: element 0 refers to page 4294967305/);
  });

  test("is corrupt when a key or the elements end beyond the page", () => {
    const key = branch(7, [9, 4]);
    new DataView(key.buffer).setUint32(16 + 16 + 4, 1024, true);
    const count = branch(7, [9]);
    new DataView(count.buffer).setUint16(10, 64, true);

    refused(key, /page 7: element 1 ends beyond/);
    refused(count, /page 7: 64 elements do not fit/);
  });
});

suite("a leaf", () => {
  test("refers to the roots of its buckets, and neither to keys nor to inline buckets", () => {
    const run = leaf(
      8,
      [
        { key: "a", value: bucket(33) },
        { key: "b", value: Buffer.from("plain, and as long as a bucket is") },
        { key: "c", value: bucket(0, inlinePage([{ key: "k", value: Buffer.from("v") }])) },
        { key: "d", value: bucket(34) },
      ],
      [0, 2, 3],
    );

    assert.deepEqual([...leafBuckets(run)], [33, 34]);
    assert.deepEqual([...referencedPages(run, 8, limits)], [33, 34]);
    assert.deepEqual([...branchChildren(run)], []);
  });

  test("without elements refers to nothing", () => {
    assert.deepEqual([...referencedPages(leaf(8, []), 8, limits)], []);
  });

  test("is corrupt when a bucket's root is outside of the database, or its value too short to be one", () => {
    refused(leaf(8, [{ key: "a", value: bucket(100) }], [0]), /page 8: refers to page 100/);
    refused(
      leaf(8, [{ key: "a", value: new Uint8Array(15) }], [0]),
      /page 8: element 0 is a bucket of 15 bytes/,
    );
  });

  test("is corrupt when an element ends beyond its run", () => {
    const run = leaf(8, [{ key: "a", value: Buffer.from("v") }]);
    new DataView(run.buffer).setUint32(16 + 12, 2 ** 32 - 1, true);

    refused(run, /page 8: element 0 ends beyond/);
  });

  test("is corrupt when an inline bucket is no plain leaf inside of its value", () => {
    const inside = inlinePage([{ key: "k", value: bucket(33) }], [0]);
    const long = inlinePage([{ key: "k", value: Buffer.from("v") }]);
    new DataView(long.buffer).setUint32(16 + 12, 2, true);
    const many = inlinePage([]);
    new DataView(many.buffer).setUint16(10, 1, true);
    const flags = inlinePage([]);
    flags[8] = 1;

    refused(leaf(8, [{ key: "a", value: bucket(0, inside) }], [0]), /holds another bucket/);
    refused(leaf(8, [{ key: "a", value: bucket(0, long) }], [0]), /ends inside element 0/);
    refused(leaf(8, [{ key: "a", value: bucket(0, many) }], [0]), /says 1 elements/);
    refused(leaf(8, [{ key: "a", value: bucket(0, flags) }], [0]), /has flags 0x1/);
    refused(leaf(8, [{ key: "a", value: bucket(0) }], [0]), /has no room for its page/);
  });
});

suite("a run", () => {
  test("is corrupt when it names another page, is of another kind, or is not as long as it says", () => {
    const run = branch(7, [9]);

    assert.throws(() => referencedPages(run, 6, limits), {
      code: "corrupt",
      message: /page 6: its header says page 7/,
    });
    assert.throws(() => referencedPages(run, 7, { ...limits, pageSize: 512 }), { code: "corrupt" });
    for (const flags of [0, 3, 4, 0x10]) {
      const other = run.slice();
      other[8] = flags;
      refused(other, /page 7: flags 0x/);
    }
  });

  test("is corrupt when its overflow ends beyond the high-water mark", () => {
    const run = branch(7, [9]);
    new DataView(run.buffer).setUint32(12, 93, true);

    refused(run, /page 7: 93 overflow blocks end beyond/);
  });

  test("of any bytes refers to the same when torn bytes are expected, and is never read beyond", () => {
    const runs = fc.tuple(
      fc.constantFrom(1, 2, 4),
      fc.nat(80),
      fc.uint8Array({ minLength: 1008, maxLength: 1008 }),
    );

    fc.assert(
      fc.property(runs, ([flags, count, body]) => {
        const run = new Uint8Array(3072).fill(9);
        run.set(Uint8Array.of(7, 0, 0, 0, 0, 0, 0, 0, flags, 0, count, 0, 0, 0, 0, 0), 1024);
        run.set(
          body.map((byte, at) => (at % 4 === 0 ? byte % 64 : 0)),
          1024 + 16,
        );
        const visited: number[] = [];
        visitReferences(new DataView(run.buffer), 1024, 1024, limits, (id) => visited.push(id));
        assert.ok(visited.every((id) => id >= 2 && id < 100));
        try {
          assert.deepEqual(visited, [...referencedPages(run.subarray(1024, 2048), 7, limits)]);
        } catch (error) {
          if (!isPageferryError(error, "corrupt")) throw error;
        }
      }),
    );
  });

  test("of any bytes gives page ids below the high-water mark, or is corrupt", () => {
    const runs = fc.tuple(
      fc.constantFrom(1, 2),
      fc.integer({ min: 0, max: 40 }),
      fc.uint8Array({ minLength: 1008, maxLength: 1008 }),
    );

    fc.assert(
      fc.property(runs, fc.boolean(), ([flags, count, body], isSmall) => {
        const run = new Uint8Array(1024);
        run.set(Uint8Array.of(7, 0, 0, 0, 0, 0, 0, 0, flags, 0, count, 0, 0, 0, 0, 0));
        // Small bytes make small numbers, so that some of them are inside.
        run.set(isSmall ? body.map((byte, at) => (at % 4 === 0 ? byte % 64 : 0)) : body, 16);
        try {
          assert.ok(referencedPages(run, 7, limits).every((id) => id >= 2 && id < 100));
        } catch (error) {
          assert.ok(isPageferryError(error, "corrupt"), String(error));
        }
      }),
      { numRuns: 2000 },
    );
  });
});

function refused(run: Uint8Array, message: RegExp): void {
  assert.throws(() => referencedPages(run, run[0] as number, limits), { code: "corrupt", message });
}

function branch(id: number, children: readonly number[]): Uint8Array<ArrayBuffer> {
  const run = new Uint8Array(1024);
  const view = new DataView(run.buffer);
  run.set([id, 0, 0, 0, 0, 0, 0, 0, 1, 0, children.length]);
  for (const [index, child] of children.entries()) {
    const at = 16 + 16 * index;
    view.setUint32(at, 16 * (children.length - index) + index, true);
    view.setUint32(at + 4, 1, true);
    view.setBigUint64(at + 8, BigInt(child), true);
    run[16 + 16 * children.length + index] = 0x61 + index;
  }
  return run;
}

interface Entry {
  readonly key: string;
  readonly value: Uint8Array;
}

function leaf(
  id: number,
  entries: readonly Entry[],
  buckets: readonly number[] = [],
): Uint8Array<ArrayBuffer> {
  const run = new Uint8Array(1024);
  run.set(inlinePage(entries, buckets));
  run[0] = id;
  return run;
}

/** A leaf page just as long as its elements are, as it is in the value of an inline bucket. */
function inlinePage(entries: readonly Entry[], buckets: readonly number[] = []): Uint8Array<ArrayBuffer> {
  const bodyLength = entries.reduce((total, { key, value }) => total + key.length + value.length, 0);
  const page = new Uint8Array(16 + 16 * entries.length + bodyLength);
  const view = new DataView(page.buffer);
  page.set([2, 0, entries.length], 8);
  let at = 16 + 16 * entries.length;
  for (const [index, { key, value }] of entries.entries()) {
    const element = 16 + 16 * index;
    view.setUint32(element, buckets.includes(index) ? 1 : 0, true);
    view.setUint32(element + 4, at - element, true);
    view.setUint32(element + 8, key.length, true);
    view.setUint32(element + 12, value.length, true);
    page.set(Buffer.from(key), at);
    page.set(value, at + key.length);
    at += key.length + value.length;
  }
  return page;
}

function bucket(root: number, page: Uint8Array = new Uint8Array(0)): Uint8Array {
  const value = new Uint8Array(16 + page.length);
  new DataView(value.buffer).setBigUint64(0, BigInt(root), true);
  value.set(page, 16);
  return value;
}
