// Restores of points chosen by chance, each judged by bbolt, by our check and state hash, by the writer's log, and by what its file was.
import { rm } from "node:fs/promises";
import { type Checker, readWriterLog } from "../go-apps.ts";
import { byTxId, judge } from "../judge.ts";
import { openReplica, type PointName } from "../restores.ts";
import type { Chance, TemporaryDirectory } from "../temporary.ts";
import type { SoakDatabase } from "./stage.ts";
import type { Truth } from "./truth.ts";

export interface Restorer {
  /** Restores one point of the database: the newest, one that was looked at, or any. */
  once(database: SoakDatabase): Promise<void>;
  readonly report: {
    readonly restores: number;
    /** Of them, how many were compared with the file as it was. */
    readonly compared: number;
    readonly bad: readonly string[];
  };
}

export interface RestorerOptions {
  readonly checker: Checker;
  readonly directory: TemporaryDirectory;
  readonly truth: Truth;
  readonly random: Chance;
  /** Told of each restored file before it is judged. */
  readonly onRestored?: ((path: string) => Promise<void>) | undefined;
}

export function createRestorer({ checker, directory, truth, random, onRestored }: RestorerOptions): Restorer {
  const report = { restores: 0, compared: 0, bad: [] as string[] };
  const choose = (database: SoakDatabase, points: readonly PointName[]): PointName => {
    const known = truth.known(database);
    const lookedAt = points.filter(({ txid }) => known.has(Number.parseInt(txid, 16)));
    const wanted = random.below(3);
    if (wanted === 0) return points[0] ?? random.pick(points);
    return random.pick(wanted === 1 && lookedAt.length > 0 ? lookedAt : points);
  };
  const restoreOne = async (database: SoakDatabase, out: string): Promise<string[]> => {
    const replica = await openReplica(database.root);
    const points = await replica.points();
    if (points.length === 0) return [];
    const point = choose(database, points);
    const txId = Number.parseInt(point.txid, 16);
    report.restores += 1;
    const { stateHash } = await replica.restore(out, point);
    await onRestored?.(out);
    const log = database.log === undefined ? undefined : byTxId(await readWriterLog(database.log));
    const { verdict, problems } = await judge(checker, out, {
      ...{ txId, hasApp: log !== undefined },
      ...(stateHash === undefined ? {} : { stateHash }),
      ...(log === undefined ? {} : { log }),
    });
    const was = truth.of(database, txId);
    if (was === undefined) return [...problems];
    report.compared += 1;
    return was === verdict.liveSha256 ? [...problems] : [...problems, `${txId} is not what the file was`];
  };
  return {
    report,
    async once(database) {
      const out = directory.file(`restored-${report.restores}.db`);
      try {
        const problems = await restoreOne(database, out);
        report.bad.push(...problems.map((problem) => `${database.name}: ${problem}`));
      } catch (error) {
        report.bad.push(`${database.name}: restore ${report.restores}: ${error}`);
      }
      await rm(out, { force: true });
    },
  };
}
