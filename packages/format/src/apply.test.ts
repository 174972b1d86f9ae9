import assert from "node:assert/strict";
import { suite, test } from "node:test";
import fc from "fast-check";
import { applySegment, createPageClaims, eachUnclaimed } from "./apply.ts";
import type { Segment } from "./segment.ts";
import { txId } from "./txid.ts";

const pagesMax = 100;
/** Frames of one transaction: ascending, not overlapping. */
const framesArbitrary = fc
  .array(fc.tuple(fc.nat(6), fc.integer({ min: 1, max: 5 })), { maxLength: 12 })
  .map((steps) => {
    let next = 0;
    return steps.map(([skip, count]) => {
      const id = next + skip;
      next = id + count;
      return { id, count };
    });
  });

suite("pages that are written newest first, each once", () => {
  test("end as they do written oldest first", () => {
    fc.assert(
      fc.property(
        fc.array(framesArbitrary, { maxLength: 6 }),
        fc.integer({ min: 2, max: pagesMax }),
        (segments, pageCount) => {
          const expected = new Array<number>(pageCount).fill(-1);
          for (const [index, frames] of segments.entries()) {
            for (const { id, count } of frames) {
              for (let page = Math.max(id, 2); page < Math.min(id + count, pageCount); page += 1)
                expected[page] = index;
            }
          }
          const written = new Array<number>(pageCount).fill(-1);
          const claims = createPageClaims(pageCount);
          for (const [index, frames] of [...segments.entries()].toReversed()) {
            const claimed = claims.claim(Uint32Array.from(frames.flatMap(({ id, count }) => [id, count])));
            for (let at = 0; at < claimed.length; at += 3) {
              const frame = frames[claimed[at] as number] as { id: number };
              for (let page = 0; page < (claimed[at + 2] as number); page += 1) {
                const target = frame.id + (claimed[at + 1] as number) + page;
                assert.equal(written[target], -1, "written twice");
                written[target] = index;
              }
            }
          }

          assert.deepEqual(written, expected);
        },
      ),
    );
  });

  test("leave the rest to the snapshot, in pieces of any size", () => {
    fc.assert(
      fc.property(
        framesArbitrary,
        fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1 }),
        (frames, sizes) => {
          const pageSize = 8;
          const pageCount = 40;
          const claims = createPageClaims(pageCount, true);
          claims.claim(Uint32Array.from(frames.flatMap(({ id, count }) => [id, count])));
          const isClaimed = (page: number): boolean =>
            page < 2 || frames.some(({ id, count }) => page >= id && page < id + count);
          const touched = new Array<number>(pageCount * pageSize).fill(0);
          const end = (pageCount + 3) * pageSize;
          for (let at = 0, turn = 0; at < end; turn += 1) {
            const length = Math.min(sizes[turn % sizes.length] as number, end - at);
            eachUnclaimed(claims, pageSize, at, length, (offset, bytes) => {
              assert.ok(offset >= at && offset + bytes <= at + length);
              for (let byte = offset; byte < offset + bytes; byte += 1)
                touched[byte] = (touched[byte] as number) + 1;
            });
            at += length;
          }

          assert.deepEqual(
            touched,
            touched.map((_, byte) => (isClaimed(Math.floor(byte / pageSize)) ? 0 : 1)),
          );
        },
      ),
    );
  });
});

test("a segment applied in memory sets its pages and the length, and refuses a frame beyond it", () => {
  const segment = (highWaterMark: bigint, id: bigint): Segment => ({
    header: {
      txId: txId(2),
      parentTxId: txId(1),
      pageSize: 4,
      pageCount: 1n,
      highWaterMark,
      createdAt: null,
      compression: "none",
      compressionLevel: 0,
      compressionWindow: 0,
      checksum: 0n,
      version: 1,
      attrs: {},
    },
    pages: [{ id, overflow: 1, data: Uint8Array.from([1, 2, 3, 4, 5, 6, 7, 8]) }],
  });

  assert.deepEqual(
    [...applySegment(new Uint8Array(8).fill(9), segment(4n, 1n))],
    [9, 9, 9, 9, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0],
  );
  assert.deepEqual([...applySegment(new Uint8Array(40).fill(9), segment(2n, 0n))], [1, 2, 3, 4, 5, 6, 7, 8]);
  assert.throws(() => applySegment(new Uint8Array(0), segment(2n, 1n)), { code: "corrupt" });
});
