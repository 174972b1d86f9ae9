// When the queue took what objects lead to: what a host's wrong clock cannot bend. Read from headers, through a port; packs say it in their
// indexes. See docs/operations.md#retention.

import type { RangeObject, SnapshotObject } from "./archive-listing.ts";
import { type Archive, eachFact, type FactOptions, fromBest, partsOf } from "./archive-reader.ts";
import { segmentState } from "./segment-header.ts";
import { readSegmentHeader } from "./segment-range.ts";
import { readSnapshotHeader } from "./snapshot-range.ts";

/** About what is read of an object for its header. */
const headerBytes = 16 * 1024;

/** Reads into `archive.receipts` what segments and snapshots say of their receipt. Those that are known already are not asked again. */
export async function readReceipts(
  archive: Archive,
  objects: readonly (RangeObject | SnapshotObject)[],
  options: FactOptions = {},
): Promise<void> {
  const unread = objects.filter(({ kind, name }) => kind !== "pack" && !archive.receipts.has(name));
  await eachFact(unread, options, async (object) => {
    const receivedMs = await fromBest(archive, object.name, headerBytes, options, async (reader) => {
      const parts = partsOf(archive, reader, object, options);
      if (object.kind === "snapshot") return (await readSnapshotHeader(parts)).receivedMs;
      return segmentState(await readSegmentHeader(parts)).receivedMs;
    });
    archive.receipts.set(object.name, receivedMs ?? null);
  });
}
