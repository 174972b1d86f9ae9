import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { openArchive } from "./archive-open.ts";
import { pointsIn, readTimeline } from "./archive-points.ts";
import type { ArchiveReader } from "./archive-reader.ts";
import { PageferryError } from "./errors.ts";
import { packName, parseGeneration, segmentName, snapshotName } from "./names.ts";
import { encodePack } from "./pack.ts";
import { timelineJson } from "./points-json.ts";
import { encodeSegment } from "./segment.ts";
import { withReceived } from "./segment-file.ts";
import { segmentAttrs } from "./segment-header.ts";
import { txId } from "./txid.ts";

const generation = parseGeneration("00000000000000a1");

type Objects = Record<string, Uint8Array>;

function segment(parent: number, id: number): Objects {
  const stampMs = id * 1000;
  const header = {
    txId: txId(id),
    parentTxId: txId(parent),
    pageSize: 512,
    createdAt: id,
    highWaterMark: 6n,
  };
  const attrs = segmentAttrs({ stampMs, source: "observer" });
  const pages = [{ id: 5n, overflow: 0, data: new Uint8Array(512) }];
  const bytes = encodeSegment(
    { ...header, attrs, pages },
    { compression: { codec: "none", level: 0, window: 0 } },
  );
  const name = segmentName({ generation, parentTxId: txId(parent), txId: txId(id), stampMs });
  return { [name]: withReceived(bytes, stampMs + 5) };
}

const snapshot: Objects = {
  [snapshotName({ generation, txId: txId(2), stampMs: 2000 })]: new Uint8Array(10),
};

const packed = packName({ generation, parentTxId: txId(4), txId: txId(6), stampMs: 6000 });
const pack: Objects = {
  [packed]: encodePack(
    [...Object.entries(segment(4, 5)), ...Object.entries(segment(5, 6))].map(([name, bytes]) => ({
      name,
      bytes,
    })),
  ),
};

function readerOf(name: string, objects: Objects): ArchiveReader & { readonly asked: string[] } {
  const asked: string[] = [];
  return {
    name,
    asked,
    async *list() {
      for (const [object, { length: size }] of Object.entries(objects)) yield { name: object, size };
    },
    async get(object, { offset = 0, length } = {}) {
      asked.push(object);
      const bytes = objects[object];
      if (bytes === undefined) throw new PageferryError("not-found", object);
      return (async function* () {
        yield bytes.subarray(offset, length === undefined ? undefined : offset + length);
      })();
    },
  };
}

suite("what an archive can restore", () => {
  test("is shown with the time of receipt, from packs and, for the points that are shown, from headers", async () => {
    const reader = readerOf("one", { ...snapshot, ...segment(2, 3), ...segment(3, 4), ...pack });

    const { newest, points } = await readTimeline(await openArchive([reader]), { newestMax: 3 });

    assert.deepEqual(
      newest.map(({ txId: id, receivedMs }) => [Number(id), receivedMs]),
      [
        [6, 6005],
        [5, 5005],
        [4, 4005],
      ],
    );
    assert.equal(points, 5);
    const [third] = Object.keys(segment(2, 3));
    assert.ok(!reader.asked.includes(third ?? ""));
  });

  test("names what each of several readers lacks, in ranges", async () => {
    const all = { ...snapshot, ...segment(2, 3), ...segment(3, 4), ...pack };
    const half = { ...snapshot, ...segment(2, 3) };

    const timeline = timelineJson(
      await readTimeline(await openArchive([readerOf("all", all), readerOf("half", half)]), { newestMax: 1 }),
    );

    const hex = (id: number): string => id.toString(16).padStart(16, "0");
    assert.deepEqual(timeline.replicas, [
      { name: "all", points: 5, lacking: 0, ranges: [] },
      {
        name: "half",
        points: 2,
        lacking: 3,
        ranges: [{ generation, from: hex(4), to: hex(6), points: 3 }],
      },
    ]);
    assert.equal(timeline.newest[0]?.received, "1970-01-01T00:00:06.005Z");
  });

  test("leaves out a pack whose index is broken wherever it is, with a warning", async () => {
    const broken = { [packed]: new Uint8Array(100) };
    const reader = readerOf("one", { ...snapshot, ...segment(2, 3), ...segment(3, 4), ...broken });

    const { points, warnings } = await pointsIn(await openArchive([reader]));

    assert.deepEqual(
      points.map(({ txId: id }) => Number(id)),
      [4, 3, 2],
    );
    assert.match(warnings.join(), new RegExp(packed));
    const whole = await pointsIn(await openArchive([reader, readerOf("two", pack)]));
    assert.deepEqual([whole.points.length, whole.warnings], [5, []]);
  });
});
