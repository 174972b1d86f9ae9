import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { image, imageSource } from "../../testing/golden.ts";
import { parseFreelist } from "./freelist.ts";
import { newestMeta } from "./meta.ts";
import { livePages } from "./tree.ts";

suite("a freelist", () => {
  test("of a real file holds exactly the pages that are not live", () => {
    const { bytes, pageSize } = image("replica");
    const source = imageSource(bytes, pageSize);
    const meta = newestMeta(source.read(0, 1), source.read(1, 1));
    assert.ok(meta?.freelist);
    const live = new Set<number>();
    for (const { id, run } of livePages(source, meta)) {
      for (let block = 0; block < run.length / pageSize; block += 1) live.add(id + block);
    }

    const free = parseFreelist(source.read(meta.freelist, 1));

    const all = Array.from({ length: meta.highWaterMark - 2 }, (_, index) => index + 2);
    assert.deepEqual(
      [...free],
      all.filter((id) => !live.has(id)),
    );
    assert.equal(free.length > 0, true);
  });

  test("may be empty", () => {
    assert.deepEqual([...parseFreelist(freelist([]))], []);
  });

  test("of 65,535 pages and more has its count in front", () => {
    const ids = Array.from({ length: 70_000 }, (_, index) => index + 2);

    assert.deepEqual([...parseFreelist(freelist(ids))], ids);
    assert.equal(parseFreelist(freelist(ids.slice(0, 65_535))).length, 65_535);
    assert.equal(parseFreelist(freelist(ids.slice(0, 65_534))).length, 65_534);
  });

  test("is sorted where the file's is not, as bolt does on reading", () => {
    assert.deepEqual([...parseFreelist(freelist([9, 3, 70_000, 5]))], [3, 5, 9, 70_000]);
  });

  test("is corrupt when a page is in it twice, next to each other or not", () => {
    assert.throws(() => parseFreelist(freelist([3, 5, 5])), { code: "corrupt", message: /page 5 twice/ });
    assert.throws(() => parseFreelist(freelist([7, 3, 5, 7])), { code: "corrupt", message: /page 7 twice/ });
  });

  test("is corrupt when it holds a meta page or what is no page id", () => {
    for (const id of [0, 1, 2 ** 32 - 1, 2 ** 32 + 7]) {
      assert.throws(() => parseFreelist(freelist([id, 9])), {
        code: "corrupt",
        message: new RegExp(`page ${id},`),
      });
    }
  });

  test("is corrupt when it does not fit into its run, whatever count it says", () => {
    const short = freelist([3, 4, 5]).subarray(0, 16 + 23);
    const wild = freelist(Array.from({ length: 65_535 }, (_, index) => index + 2));
    new DataView(wild.buffer).setBigUint64(16, 2n ** 62n, true);

    assert.throws(() => parseFreelist(short), { code: "corrupt", message: /3 free pages do not fit/ });
    assert.throws(() => parseFreelist(wild), { code: "corrupt", message: /do not fit/ });
    assert.throws(() => parseFreelist(wild.subarray(0, 20)), {
      code: "corrupt",
      message: /without its count/,
    });
  });

  test("is not read from a page of another kind", () => {
    const run = freelist([3]);
    run[8] = 2;

    assert.throws(() => parseFreelist(run), { code: "corrupt", message: /flags 0x2/ });
  });
});

function freelist(ids: readonly number[]): Uint8Array<ArrayBuffer> {
  const isLong = ids.length >= 0xffff;
  const run = new Uint8Array(16 + 8 * (ids.length + (isLong ? 1 : 0)));
  const view = new DataView(run.buffer);
  run[0] = 6;
  run[8] = 0x10;
  view.setUint16(10, isLong ? 0xffff : ids.length, true);
  if (isLong) view.setBigUint64(16, BigInt(ids.length), true);
  for (const [index, id] of ids.entries())
    view.setBigUint64(16 + 8 * (index + (isLong ? 1 : 0)), BigInt(id), true);
  return run;
}
