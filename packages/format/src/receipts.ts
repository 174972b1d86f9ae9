// When the host took a point: pack indexes tell it, segments only in their headers. These are read for the points that are shown, no more.

import { type Archive, readObject } from "./archive-reader.ts";
import { isPageferryError } from "./errors.ts";
import type { Point } from "./points.ts";
import { segmentState } from "./segment-header.ts";
import { readSegmentHeader } from "./segment-range.ts";

/** Headers that are read for one answer: each is a request or two, and nobody reads more lines than that. */
const headersMax = 200;

/** Reads under way at a time. */
const readsAtOnce = 8;

/** About how much is read of a segment for its header. */
const headerBytes = 16 * 1024;

/** The same points with the time of receipt, where the first 200 segments among them tell it; what cannot be read stays unknown. */
export async function withReceipts(
  archive: Archive,
  points: readonly Point[],
  { signal }: { readonly signal?: AbortSignal | undefined } = {},
): Promise<Point[]> {
  const asked = points.filter(({ kind, receivedMs }) => kind === "segment" && receivedMs === null);
  const found = new Map<string, number>();
  const rest = asked.slice(0, headersMax).values();
  const worker = async (): Promise<void> => {
    for (const point of rest) {
      const receivedMs = await receivedOf(archive, point, signal);
      if (receivedMs !== undefined) found.set(point.name, receivedMs);
    }
  };
  await Promise.all(Array.from({ length: readsAtOnce }, worker));
  return points.map((point) => ({ ...point, receivedMs: point.receivedMs ?? found.get(point.name) ?? null }));
}

async function receivedOf(
  archive: Archive,
  point: Point,
  signal: AbortSignal | undefined,
): Promise<number | undefined> {
  for (const reader of archive.ranking.order(headerBytes, archive.holders(point.name))) {
    try {
      const header = await readSegmentHeader({
        size: archive.sizeIn(reader, point),
        read: (offset, length) =>
          readObject(reader, point.name, { signal, offset, length, bytesMax: length }),
      });
      return segmentState(header).receivedMs;
    } catch (error) {
      signal?.throwIfAborted();
      if (!isPageferryError(error)) throw error;
      archive.ranking.failed(reader, error);
    }
  }
  return undefined;
}
