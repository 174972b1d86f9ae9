// `pageferry restore --follow`, from its flags to the loop.

import { openBackupSource } from "../backup-source.ts";
import type { Io } from "../io.ts";
import { inPlaceJudge } from "../restore-in-place.ts";
import { type RestoreOptions, restoreTarget } from "../restore-options.ts";
import { topBuckets } from "../top-buckets.ts";
import { follow } from "./follow.ts";
import { createReport } from "./report.ts";
import { openStandby, type Standby } from "./standby.ts";

const intervalMsDefault = 1000;

/** Keeps `-o OUT` at the newest point of FROM until the process is asked to end. */
export async function followTo(
  froms: readonly string[],
  options: Partial<RestoreOptions>,
  io: Io,
): Promise<undefined> {
  const { output = "", json = false, interval: intervalMs = intervalMsDefault } = options;
  const { data: dataDir, config, manifestKey, acknowledge } = options;
  await using standby = await openUnlessAsked(output, options, io);
  if (standby === undefined) return;
  const isStandby = standby.state() !== undefined;
  const judge = await inPlaceJudge(froms, output, { ...options, isStandby }, io);
  judge();
  await follow({
    ...{ standby, intervalMs, io, parallelism: options.parallelism, integrity: options.integrityCheck },
    open: () => openBackupSource(froms, io, { dataDir, config, manifestKey, acknowledge }),
    target: restoreTarget(options),
    report: createReport(io, { path: output, name: froms.join(" and "), json }),
    judge: async (path) => judge(await topBuckets(path)),
  });
}

/** Undefined: the process was asked to end while the file was read. */
async function openUnlessAsked(
  output: string,
  { force }: Partial<RestoreOptions>,
  { signal }: Io,
): Promise<Standby | undefined> {
  try {
    return await openStandby(output, { force, signal });
  } catch (error) {
    if (signal.aborted) return undefined;
    throw error;
  }
}
