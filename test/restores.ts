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

/** What names a point. */
export type PointName = Pick<Point, "generation" | "txid">;

/** A replica as it was when it was opened. */
export interface OpenReplica {
  points(): Promise<PointName[]>;
  /** Restores a point, or the newest, into `out`. Throws what the engine throws. */
  restore(out: string, point?: PointName): Promise<RestoreFileResult>;
}

/** Lists the replica once; what is added later is not seen. */
export async function openReplica(root: string): Promise<OpenReplica> {
  const readers = [directoryReader(root)];
  const archive = await openArchive(readers);
  return {
    async points() {
      const points = await readPoints(archive);
      return points.map(({ generation, txId }) => ({ generation, txid: formatTxId(txId) }));
    },
    async restore(out, point) {
      const target = point && { generation: parseGeneration(point.generation), txId: parseTxId(point.txid) };
      const plan = await planFromArchive(archive, target ?? {});
      return restoreFile({ plan, readers, output: out });
    },
  };
}
