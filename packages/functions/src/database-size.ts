// How large a restored database will be, from the headers of the first and the last object of its plan: nothing is restored for that.

import {
  decodePackIndex,
  type RandomReader,
  type RestorePlan,
  readSegmentHeader,
  readSnapshotHeader,
} from "@pageferry/format";

/** The index of a pack. */
const packIndexBytesMax = 2 * 1024 * 1024;

/** An object of a plan. */
export type PlannedObject = Pick<RestorePlan["snapshot"], "name" | "size">;

/** Opens an object to read parts of it, whichever reader it comes from. */
export type WithObject = <Result>(
  object: PlannedObject,
  read: (from: RandomReader) => Promise<Result>,
) => Promise<Result>;

/** A database's length: its high-water mark in pages. */
export interface DatabaseSize {
  readonly pages: number;
  readonly pageSize: number;
}

/** Reads it. Errors: `corrupt`, and those of reading. */
export async function readDatabaseSize(plan: RestorePlan, withObject: WithObject): Promise<DatabaseSize> {
  const last = plan.steps.at(-1);
  if (last === undefined) {
    const { pageCount, pageSize } = await withObject(plan.snapshot, readSnapshotHeader);
    return { pages: Number(pageCount), pageSize };
  }
  return withObject(last, async (whole) => {
    const { highWaterMark, pageSize } = await readSegmentHeader(
      last.kind === "pack" ? await entryOf(whole, plan) : whole,
    );
    return { pages: Number(highWaterMark), pageSize };
  });
}

/** The segment of a pack that ends at the plan's point; where there is none, the pack itself, whose header is none. */
async function entryOf(whole: RandomReader, { txId }: RestorePlan): Promise<RandomReader> {
  const entries = decodePackIndex(await whole.read(0, Math.min(whole.size, packIndexBytesMax)));
  const entry = entries.find((one) => one.txId === txId);
  if (entry === undefined) return whole;
  return { size: entry.length, read: (offset, length) => whole.read(entry.offset + offset, length) };
}
