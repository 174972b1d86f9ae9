import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { etcdImage, image, imageSource } from "../../testing/golden.ts";
import { type Meta, newestMeta } from "./meta.ts";
import { pageFlagBranch, pageFlagLeaf } from "./page.ts";
import { createPageSet } from "./page-set.ts";
import { livePages, type PageSource, treeDepthMax, treePages, walkTree } from "./tree.ts";

suite("a walk", () => {
  test("reaches every page of a real tree once, parents first, children in order", () => {
    const { source, meta } = etcd();
    const seen: number[] = [];

    walkTree(source, meta, (id, run, header, path) => {
      const parent = path[path.length - 1];
      assert.equal(path.length === 0, id === meta.root);
      assert.ok(parent === undefined || seen.includes(parent.id));
      assert.equal(run.length, (header.overflow + 1) * source.pageSize);
      seen.push(id);
    });

    assert.equal(seen.length, new Set(seen).size);
    // By bbolt's own statistics: 18 branches and 1,798 leaves of the one large bucket, and the root with its inline buckets.
    assert.equal(seen.length, 18 + 1798 + 1);
  });

  test("gives the same pages from memory and through a source that fills what it is given", () => {
    const { source, meta } = etcd();
    const filling: PageSource = {
      pageSize: source.pageSize,
      read(pageId, count, into = new Uint8Array(count * source.pageSize)) {
        into.set(source.read(pageId, count));
        return into;
      },
    };

    const [direct, copied] = [source, filling].map((from) =>
      Array.from(treePages(from, meta), ({ id, run, path }) => [
        id,
        Buffer.from(run).readUInt32LE(0),
        path.map((step) => [step.id, step.index, Buffer.from(step.run).readUInt32LE(0)]),
      ]),
    );

    assert.deepEqual(copied, direct);
  });

  test("reads neighbours together", () => {
    const { source, meta } = etcd();
    let reads = 0;
    const counting: PageSource = {
      pageSize: source.pageSize,
      read(pageId, count) {
        reads += 1;
        return source.read(pageId, count);
      },
    };

    const pages = Array.from(treePages(counting, meta)).length;

    assert.ok(reads < pages / 2, `${reads} reads of ${pages} pages`);
  });

  test("leaves out what it is told not to descend into", () => {
    const { source, meta } = etcd();
    const depths = Array.from(treePages(source, meta), ({ id, path }) => ({ id, depth: path.length }));
    const first = depths.find(({ depth }) => depth === 2);
    assert.ok(first !== undefined);

    const left = Array.from(treePages(source, meta, { descend: (id) => id !== first.id }), (page) => page.id);

    assert.equal(left.includes(first.id), false);
    assert.ok(left.length < 1817);
    assert.deepEqual(Array.from(treePages(source, meta, { descend: () => false })), []);
  });

  test("ends with the first problem, which names the page and the way to it", () => {
    const { bytes, source, meta } = etcd();
    const pages = Array.from(treePages(source, meta), ({ id, path }) => ({
      id,
      path: path.map((step) => step.id),
    }));
    const leaf = pages.find((page) => page.path.length === 3);
    assert.ok(leaf !== undefined);
    bytes[leaf.id * source.pageSize + 8] = 4;

    const walk = () => walkTree(source, meta, () => undefined);

    const message = `page ${leaf.id}: flags 0x4, expected a branch or a leaf (reached by ${leaf.path.join(" > ")})`;
    assert.throws(walk, { code: "corrupt", message });
  });

  test("goes on without the page when its problem is taken", () => {
    const { bytes, source, meta } = etcd();
    const leaves = Array.from(treePages(source, meta), ({ id, header }) => ({
      id,
      flags: header.flags,
    })).filter(({ flags }) => flags === pageFlagLeaf);
    for (const { id } of leaves.slice(10, 13))
      bytes[id * source.pageSize] = (bytes[id * source.pageSize] as number) ^ 1;
    const problems: string[] = [];

    const pages = Array.from(
      treePages(source, meta, { onProblem: (problem) => problems.push(problem.message) }),
    ).length;

    assert.equal(problems.length, 3);
    assert.equal(pages, 1817 - 3);
  });

  test("ends on a tree that is nothing but a long chain of branches", () => {
    const length = 5000;
    const bytes = new Uint8Array(length * 1024);
    for (let id = 2; id < length; id += 1) bytes.set(chainPage(id, id + 1), id * 1024);
    const meta = {
      pageSize: 1024,
      flags: 0,
      root: 2,
      sequence: 0n,
      freelist: null,
      highWaterMark: length,
      txId: 5n,
    } as Meta;
    let pages = 0;

    const walk = () =>
      walkTree(imageSource(bytes, 1024), meta, () => {
        pages += 1;
      });

    assert.throws(walk, {
      code: "corrupt",
      message: new RegExp(`page ${treeDepthMax + 2}: more than ${treeDepthMax} levels`),
    });
    assert.equal(pages, treeDepthMax);
  });

  test("ends on a circle", () => {
    const bytes = new Uint8Array(8 * 1024);
    for (const [id, child] of [
      [2, 3],
      [3, 4],
      [4, 2],
    ] as const)
      bytes.set(chainPage(id, child), id * 1024);
    const meta = {
      pageSize: 1024,
      flags: 0,
      root: 2,
      sequence: 0n,
      freelist: null,
      highWaterMark: 8,
      txId: 5n,
    } as Meta;

    assert.throws(() => walkTree(imageSource(bytes, 1024), meta, () => undefined), {
      code: "corrupt",
      message: "page 2: referred to twice (reached by 2 > 3 > 4)",
    });
  });

  test("does not begin at a root that is a meta page or beyond the high-water mark", () => {
    const { source, meta } = etcd();

    for (const root of [0, 1, meta.highWaterMark]) {
      assert.throws(() => walkTree(source, { ...meta, root }, () => undefined), { code: "corrupt" });
    }
  });
});

suite("the live pages", () => {
  test("are the freelist's run and the tree's, with every overflow block, and no meta page", () => {
    const { bytes, pageSize } = image("replica");
    const source = imageSource(bytes, pageSize);
    const meta = newestMeta(source.read(0, 1), source.read(1, 1)) as Meta;

    const runs = Array.from(livePages(source, meta), ({ id, run }) => ({
      id,
      blocks: run.length / pageSize,
    }));

    assert.equal(runs[0]?.id, meta.freelist);
    assert.equal(new Set(runs.map(({ id }) => id)).size, runs.length);
    assert.ok(runs.every(({ id, blocks }) => id >= 2 && id + blocks <= meta.highWaterMark));
    assert.ok(
      runs.some(({ blocks }) => blocks > 10),
      "this file has large values",
    );
  });

  test("are the tree's alone without a freelist on disk", () => {
    const { source, meta } = etcd();

    const ids = Array.from(livePages(source, meta), ({ id }) => id);

    assert.equal(ids[0], meta.root);
    assert.equal(ids.length, 1817);
  });

  test("are refused when the freelist is outside, is another page, or is part of the tree", () => {
    const { bytes, pageSize } = image("replica");
    const source = imageSource(bytes, pageSize);
    const meta = newestMeta(source.read(0, 1), source.read(1, 1)) as Meta;

    for (const freelist of [0, meta.root, meta.highWaterMark]) {
      assert.throws(() => Array.from(livePages(source, { ...meta, freelist })), { code: "corrupt" });
    }
  });
});

suite("a set of pages", () => {
  test("holds what was added once, and nothing at or above its bound", () => {
    const set = createPageSet(70);

    const added = [0, 31, 32, 69, 31, 70, -1].map((id) => set.add(id));

    assert.deepEqual(added, [true, true, true, true, false, false, false]);
    assert.deepEqual(
      [0, 1, 31, 32, 69, 70, -1].map((id) => set.has(id)),
      [true, false, true, true, true, false, false],
    );
    assert.equal(set.count(), 4);
  });
});

function etcd(): { bytes: Uint8Array; source: PageSource; meta: Meta } {
  const bytes = etcdImage();
  const source = imageSource(bytes, 4096);
  return { bytes, source, meta: newestMeta(source.read(0, 1), source.read(1, 1)) as Meta };
}

/** A branch with one child. */
function chainPage(id: number, child: number): Uint8Array {
  const page = new Uint8Array(1024);
  const view = new DataView(page.buffer);
  view.setUint32(0, id, true);
  page[8] = pageFlagBranch;
  page[10] = 1;
  view.setUint32(16, 16, true);
  view.setUint32(20, 1, true);
  view.setUint32(24, child, true);
  page[32] = 0x6b;
  return page;
}
