// Restores in this process, for tests that restore by the hundred: the same engine as the command's, without its start.
import {
  formatTxId,
  openArchive,
  parseGeneration,
  parseTxId,
  planFromArchive,
  readPoints,
} from "@pageferry/format";
import { directoryReader, type RestoreFileResult, restoreFile } from "@pageferry/format/node";
import type { Point } from "./pageferry.ts";

/** The points of a replica root. */
export async function pointsOf(root: string): Promise<Pick<Point, "generation" | "txid">[]> {
  const archive = await openArchive([directoryReader(root)]);
  const points = await readPoints(archive);
  return points.map(({ generation, txId }) => ({ generation, txid: formatTxId(txId) }));
}

/** Restores a point, or the newest, into `out`. Throws what the engine throws. */
export async function restorePoint(
  root: string,
  out: string,
  point?: Pick<Point, "generation" | "txid">,
): Promise<RestoreFileResult> {
  const readers = [directoryReader(root)];
  const target = point && { generation: parseGeneration(point.generation), txId: parseTxId(point.txid) };
  const plan = await planFromArchive(await openArchive(readers), target ?? {});
  return restoreFile({ plan, readers, output: out });
}
