import { strict as assert } from "node:assert";
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { suite, test } from "node:test";
import { fileURLToPath } from "node:url";
import { type Truth, truths } from "../testing/golden.ts";
import { encodeMetaPage, metaSlot, newestMeta, parseMeta } from "./bolt/meta.ts";
import { checkSegment } from "./chain.ts";
import { collect, frameOf, type SegmentOfOptions, segmentOf } from "./fixtures.ts";
import { mergeSegments, metaPageOf } from "./merge.ts";
import { decodeSegment, encodeSegment, type Segment } from "./segment.ts";
import { segmentAttrs, segmentState } from "./segment-header.ts";
import { decodeSnapshot } from "./snapshot.ts";
import { txId } from "./txid.ts";

const pageSize = 4096;

/** A segment that carries its meta page, as ours do. */
function withMeta(options: SegmentOfOptions, root = 3): Segment {
  const id = txId(options.txId);
  const highWaterMark = Number(options.highWaterMark ?? 100n);
  const meta = { pageSize, flags: 0, root, sequence: 0n, freelist: null, highWaterMark, txId: id };
  const page = { id: BigInt(metaSlot(id)), overflow: 0, data: encodeMetaPage(meta, metaSlot(id)) };
  const pages = [page, ...(options.pages ?? [frameOf(3, 1, Number(id))])];
  return decodeSegment(encodeSegment(segmentOf({ highWaterMark: 100n, ...options, pages })));
}

function merged(segments: readonly Segment[]): Segment {
  const segment = decodeSegment(encodeSegment(mergeSegments(segments)));
  checkSegment(segment);
  return segment;
}

const shape = ({ pages }: Segment): (readonly [number, number, number])[] =>
  pages.map(({ id, overflow, data }) => [Number(id), overflow, data[overflow * pageSize] ?? -1]);

suite("merging segments", () => {
  const five = withMeta({ txId: 5, parentTxId: 4, pages: [frameOf(12, 1, 50), frameOf(20)] });
  const six = withMeta({ txId: 6, pages: [frameOf(11)] });
  const seven = withMeta({ txId: 7, pages: [frameOf(10, 4, 70), frameOf(21)] });

  test("keeps the newest block of every page in maximal runs, behind the last meta page alone", () => {
    const segment = merged([five, six, seven]);

    assert.deepEqual(
      segment.pages.map(({ id, overflow }) => [Number(id), overflow]),
      [
        [1, 0],
        [10, 3],
        [20, 1],
      ],
    );
    assert.equal(parseMeta(segment.pages[0]?.data ?? new Uint8Array(0))?.txId, 7n);
    assert.deepEqual(segment.pages[1]?.data, frameOf(10, 4, 70).data);
  });

  test("never joins the meta page with page 2", () => {
    const segment = merged([five, six, withMeta({ txId: 7, pages: [frameOf(2, 3)] })]);

    assert.deepEqual(
      shape(segment)
        .slice(0, 2)
        .map(([id, overflow]) => [id, overflow]),
      [
        [1, 0],
        [2, 2],
      ],
    );
  });

  test("takes a meta page out of a run that another writer joined", () => {
    const joined = decodeSegment(
      encodeSegment(
        segmentOf({
          txId: 7,
          highWaterMark: 100n,
          pages: [
            {
              id: 1n,
              overflow: 1,
              data: Buffer.concat([metaPageOf(seven) ?? new Uint8Array(0), frameOf(2).data]),
            },
          ],
        }),
      ),
    );

    assert.deepEqual(
      merged([six, joined])
        .pages.map(({ id, overflow }) => [Number(id), overflow])
        .slice(0, 2),
      [
        [1, 0],
        [2, 0],
      ],
    );
  });

  test("drops pages at or above the last high-water mark", () => {
    const last = withMeta({ txId: 7, pages: [frameOf(10)], highWaterMark: 12n });

    assert.deepEqual(
      merged([five, six, last]).pages.map(({ id }) => Number(id)),
      [1, 10],
    );
  });

  test("leads from the first parent to the last transaction, with pre of the first and all else of the last", () => {
    const states = [
      { pre: 4n, post: 5n, stampMs: 50, source: "bolt-file" },
      { pre: 5n, post: 6n, stampMs: 60, source: "shadow" },
    ];
    const [first, second] = states.map((state, index) =>
      withMeta({ txId: 5 + index, attrs: segmentAttrs(state), createdAt: index }),
    ) as [Segment, Segment];

    const { header } = merged([first, second]);

    assert.deepEqual([header.parentTxId, header.txId, header.createdAt], [4n, 6n, 1]);
    assert.deepEqual(segmentState(header), { pre: 4n, post: 6n, stampMs: 60, source: "shadow" });
  });

  test("leaves pre unknown where the first did not say it", () => {
    const second = withMeta({ txId: 6, attrs: segmentAttrs({ pre: 5n, post: 6n }) });

    assert.deepEqual(segmentState(merged([five, second]).header), { post: 6n });
  });

  test("is the same however it is done in steps", () => {
    const once = mergeSegments([five, six, seven]);

    assert.deepEqual(mergeSegments([merged([five, six]), seven]), once);
    assert.deepEqual(mergeSegments([five, merged([six, seven])]), once);
    assert.deepEqual(mergeSegments([merged([five, six, seven])]), once);
  });

  const header = (segment: Segment, changes: object): Segment => ({
    ...segment,
    header: { ...segment.header, ...changes },
  });
  for (const [what, segments, code] of [
    ["nothing", [], "bad-request"],
    ["a gap", [five, seven], "gap"],
    ["a wrong order", [six, five], "gap"],
    ["two page sizes", [five, header(six, { pageSize: 8192 })], "corrupt"],
    [
      "two histories",
      [
        header(five, { attrs: segmentAttrs({ post: 1n }) }),
        header(six, { attrs: segmentAttrs({ pre: 2n }) }),
      ],
      "fork",
    ],
    ["a segment with fewer frames than it says", [five, header(six, { pageCount: 9n })], "corrupt"],
    ["a page that is not the meta of its transaction", [five, header(six, { txId: txId(8) })], "corrupt"],
    [
      "neither a meta page nor a tree page to know the root from",
      [decodeSegment(encodeSegment(segmentOf({ txId: 5, pages: [] })))],
      "corrupt",
    ],
  ] as const) {
    test(`of ${what} is ${code}`, () => {
      assert.throws(() => mergeSegments(segments), { code });
    });
  }
});

const golden = fileURLToPath(new URL("../../../test/golden/", import.meta.url));

function segmentsOf(replica: string, generation: string): Segment[] {
  const folder = `${golden}${replica}/data/${generation}/segments/`;
  return readdirSync(folder)
    .sort()
    .map((name) => decodeSegment(readFileSync(folder + name)));
}

async function oldestImage(
  replica: string,
  generation: string,
): Promise<{ image: Uint8Array; txId: bigint }> {
  const folder = `${golden}${replica}/data/${generation}/snapshots/`;
  const [name = ""] = readdirSync(folder).sort();
  const { raw, header } = decodeSnapshot([readFileSync(folder + name)]);
  const image = await collect(raw);
  return { image, txId: (await header).txId };
}

suite("merging what Go wrote, which carries no meta pages", () => {
  for (const replica of ["replica", "replica-nofreelist", "replica-16k-none"]) {
    const byGeneration = Map.groupBy(truths(replica), ({ generation }) => generation);
    for (const [generation, all] of byGeneration) {
      test(`${replica}, generation ${generation}: any range over its snapshot is the true state, its meta page byte for byte`, async () => {
        const snapshot = await oldestImage(replica, generation);
        const segments = segmentsOf(replica, generation).filter(
          ({ header }) => header.parentTxId >= snapshot.txId,
        );
        const size = segments[0]?.header.pageSize ?? 0;
        const known = newestMeta(snapshot.image, snapshot.image.subarray(size));
        assert.ok(known !== undefined && segments.length > 5);

        for (const count of [1, 2, 5, segments.length >> 1, segments.length]) {
          const part = segments.slice(0, count);
          const truth = all.find((one) => BigInt(one.txId) === part.at(-1)?.header.txId) as Truth;
          const range = mergeSegments(part, { parentMeta: known });
          const image = Buffer.alloc(Number(range.highWaterMark) * size);
          image.set(snapshot.image.subarray(0, image.length));
          for (const { id, data } of range.pages) {
            image.set(data, Number(id) * size);
          }
          const body = createHash("sha256")
            .update(image.subarray(2 * size))
            .digest("hex");
          const meta = image
            .subarray(truth.metaPageId * size)
            .subarray(0, 80)
            .toString("hex");

          assert.equal(body, truth.bodySha256);
          assert.equal(meta, truth.metaPageHex80);
        }
      });
    }
  }
});
