// The host's verifications: one at a time, for scratch holds one database; what is found is remembered for the status, and told as an alarm.

import { type Config, counted, type DatabaseName, PageferryError } from "@pageferry/format";
import type { Alarms } from "./alarms.ts";
import { withDeadline } from "./deadline.ts";
import { whyOf } from "./repair-copy.ts";
import type { Replica } from "./replica.ts";
import { retentionPolicy } from "./retention.ts";
import type { Sources } from "./sources.ts";
import type { CallOptions } from "./store.ts";
import type { Target } from "./targets.ts";
import type { Upkeep } from "./upkeep.ts";
import type { Verified } from "./verified.ts";
import { verifyDatabase } from "./verify.ts";
import type { VerifyCursor, VerifyDepth, VerifyReport } from "./verify-report.ts";

/** A replica that does not say for so long whose archive it is, is left out. */
const openMs = 60_000;

export interface VerifierOptions {
  readonly targets: readonly Target[];
  readonly sources: Pick<Sources, "get">;
  readonly alarms: Alarms;
  readonly verified: Verified;
  /** Told of what was found. */
  readonly upkeep?: Pick<Upkeep, "verified"> | undefined;
  readonly config: Partial<Pick<Config, "retention" | "snapshotIntervalMs" | "compaction">>;
  /** A directory of its own, on any disk with room for the largest database. */
  readonly scratchDir: string;
  readonly now: () => number;
}

/** What is asked for, by hand or by a schedule. */
export interface VerifyRequest extends CallOptions {
  /** Only this replica is verified; the others are compared with. `not-found` for one that is not configured. */
  readonly replica?: string | undefined;
  readonly depth?: VerifyDepth | undefined;
  readonly bytesMax?: number | undefined;
  readonly budgetMs?: number | undefined;
  readonly cursor?: VerifyCursor | undefined;
}

export interface Verifier {
  /** Verifies a database now. What does not hold is in the report. Errors: `not-found`, the signal's reason. */
  verify(database: DatabaseName, request?: VerifyRequest): Promise<VerifyReport>;
  /** Ends what is under way. */
  stop(): Promise<void>;
}

export function createVerifier(options: VerifierOptions): Verifier {
  const { targets, alarms, verified, now } = options;
  const stopping = new AbortController();
  let last: Promise<unknown> = Promise.resolve();
  return {
    async verify(database, request = {}) {
      const { replica } = request;
      if (replica !== undefined && !targets.some(({ name }) => name === replica)) {
        const hint = `There are ${targets.map(({ name }) => name).join(", ")}.`;
        throw new PageferryError("not-found", `replica ${replica.slice(0, 200)} is not configured`, { hint });
      }
      const { signal } = stopping;
      const until = request.signal === undefined ? signal : AbortSignal.any([request.signal, signal]);
      const work = () => verifyTargets(database, options, { ...request, signal: until });
      const mine = last.then(work, work);
      last = mine.catch(() => undefined);
      const report = await mine;
      verified.told(report, now());
      options.upkeep?.verified(report);
      tell(report, alarms);
      return report;
    },
    async stop() {
      stopping.abort();
      await last;
    },
  };
}

async function verifyTargets(
  database: DatabaseName,
  { targets, sources, config, scratchDir, now }: VerifierOptions,
  request: VerifyRequest,
): Promise<VerifyReport> {
  const { replica: wanted, signal, ...rest } = request;
  signal?.throwIfAborted();
  const opened = await Promise.allSettled(
    targets.map((target) => withDeadline(openMs, signal, () => target.set.of(database))),
  );
  signal?.throwIfAborted();
  const chosen = new Set<Replica>();
  const replicas: Replica[] = [];
  const unopened: string[] = [];
  for (const [at, result] of opened.entries()) {
    const { name } = targets[at] as Target;
    if (result.status === "rejected") unopened.push(`${name} (${whyOf(result.reason)})`);
    else {
      replicas.push(result.value);
      if (wanted === undefined || wanted === name) chosen.add(result.value);
    }
  }
  const { newestTxId: txId = null, newestStampMs: stampMs = null } = sources.get(database) ?? {};
  const newestCaptured = txId === null || stampMs === null ? undefined : { txId, stampMs };
  const report = await verifyDatabase({
    ...{ database, replicas, scratchDir, now, signal, newestCaptured, ...rest },
    ...{ evidence: true, retention: retentionPolicy(config), isTarget: (replica) => chosen.has(replica) },
  });
  const isSound = report.isSound && unopened.length === 0;
  return { ...report, isSound, unlisted: [...report.unlisted, ...unopened] };
}

/** What is late is told by its own alarm; what is lost or broken needs a repair, or somebody. */
function tell({ database, replicas }: VerifyReport, alarms: Alarms): void {
  for (const { replica, verdict, problems, problemCount } of replicas) {
    const alarm = { code: "verify", database, replica };
    if (verdict === "FOUND" || verdict === "LATE") alarms.clear(alarm);
    if (verdict === null || verdict === "FOUND" || verdict === "LATE") continue;
    const [first] = problems.filter((problem) => problem.verdict === verdict);
    const what =
      first === undefined ? "" : `: ${first.object ?? ""}${first.object === null ? "" : ": "}${first.why}`;
    const message = `${replica} is ${verdict}, ${counted(problemCount, "problem")} of ${database}${what}`;
    const hint =
      "`pageferry repair --verify` heals from another replica; `pageferry verify --full` names all.";
    alarms.raise({ ...alarm, message, hint });
  }
}
