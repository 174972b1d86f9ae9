// Merges page runs page by page: the newest block of every id, in maximal runs. It knows nothing of segments.
// Never by run: a stale page 12 would land inside a later run 10–13. See docs/format.md#merge.
import { strict as assert } from "node:assert";

/** A run of consecutive pages, by numbers (ids above 2^32-2 are none of ours). */
export interface PageRun {
  readonly id: number;
  /** Pages after the first. */
  readonly overflow: number;
  /** (overflow + 1) × page size bytes. */
  readonly data: Uint8Array;
}

/** What to keep. */
export interface MergePagesOptions {
  readonly pageSize: number;
  /** Pages from this id on are dropped. */
  readonly highWaterMark: number;
}

/** The first page that is not a meta page. */
const firstBodyPage = 2;

/**
 * Merges layers, oldest first, into maximal runs of the newest blocks, ascending. Meta pages (0 and 1) are left out: a
 * merge has one, and it is the caller's to put first. Data are views where a run comes from one place, else copies.
 */
export function mergePages(layers: readonly (readonly PageRun[])[], options: MergePagesOptions): PageRun[] {
  const newest = new Map<number, { readonly run: PageRun; readonly offset: number }>();
  for (let layer = layers.length - 1; layer >= 0; layer -= 1) {
    for (const run of layers[layer] ?? []) {
      assert.equal(
        run.data.length,
        (run.overflow + 1) * options.pageSize,
        `page ${run.id}: bytes of its run`,
      );
      for (let page = 0; page <= run.overflow; page += 1) {
        const id = run.id + page;
        if (id >= firstBodyPage && id < options.highWaterMark && !newest.has(id)) {
          newest.set(id, { run, offset: page * options.pageSize });
        }
      }
    }
  }
  const ids = Float64Array.from(newest.keys()).sort();
  const runs: PageRun[] = [];
  for (let first = 0; first < ids.length; ) {
    let end = first + 1;
    while (end < ids.length && ids[end] === (ids[end - 1] as number) + 1) {
      end += 1;
    }
    const places = Array.from(ids.subarray(first, end), (id) => newest.get(id) as Place);
    runs.push({ id: ids[first] as number, overflow: end - first - 1, data: join(places, options.pageSize) });
    first = end;
  }
  return runs;
}

interface Place {
  readonly run: PageRun;
  readonly offset: number;
}

/** The blocks in one piece: a view where they already lie so, else a copy. */
function join(places: readonly Place[], pageSize: number): Uint8Array {
  const first = places[0] as Place;
  const isOnePiece = places.every((place, index) => {
    return place.run === first.run && place.offset === first.offset + index * pageSize;
  });
  if (isOnePiece) {
    return first.run.data.subarray(first.offset, first.offset + places.length * pageSize);
  }
  const data = new Uint8Array(places.length * pageSize);
  for (const [index, { run, offset }] of places.entries()) {
    data.set(run.data.subarray(offset, offset + pageSize), index * pageSize);
  }
  return data;
}
