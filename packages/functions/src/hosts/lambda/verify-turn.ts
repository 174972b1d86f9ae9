// A verification in pieces: what an invocation has no time for is where the next one goes on. A database that does not fit into scratch is
// refused, not tried, and somebody is told how large it is.

import { join } from "node:path";
import { type DatabaseName, PageferryError } from "@pageferry/format";
import { createVerifier, type VerifierOptions } from "../../verifier.ts";
import type { VerifyCursor, VerifyReport } from "../../verify-report.ts";
import type { Standing } from "./standing.ts";

/** What its notes begin with. */
export const verifyNotes = "verify/";

/** Left of an invocation for a point that was begun, and for the answer: a third, and at most this. */
const marginMsMax = 3 * 60_000;

type VerifyTurnParts = Pick<
  Standing,
  "targets" | "sources" | "telemetry" | "verified" | "upkeep" | "environment"
> &
  Pick<Standing, "scratchDir" | "now" | "notes">;

/** Makes what verifies a database that is due. Throws `disk-full` for one that does not fit. */
export function createVerifyTurn(standing: VerifyTurnParts) {
  const { targets, sources, telemetry, verified, upkeep, environment, scratchDir, now, notes } = standing;
  const { config } = environment;
  const options: VerifierOptions = {
    ...{ targets, sources, verified, upkeep, config, now, alarms: telemetry.alarms },
    scratchDir: join(scratchDir, "verify"),
  };
  const verifier = createVerifier(options);
  return async (database: DatabaseName, signal: AbortSignal, remainingMs: () => number): Promise<void> => {
    const note = verifyNotes + database;
    const cursor = parseCursor(notes.notes(note).get(note));
    await Promise.allSettled(targets.map((target) => verified.read(target, database)));
    if (cursor === undefined && !isDue(database, standing)) return;
    const leftMs = remainingMs();
    const budgetMs = Math.max(1, leftMs - Math.min(marginMsMax, leftMs / 3));
    const report = await verifier.verify(database, { signal, budgetMs, cursor });
    if (report.next === null) notes.dropNote(note);
    else notes.setNote(note, JSON.stringify(report.next));
    refuseUnverified(report);
  };
}

/** As long after its last verification as the configuration says; without that, whenever the schedule comes. */
function isDue(database: DatabaseName, { targets, verified, environment, now }: VerifyTurnParts): boolean {
  const { verifyIntervalMs } = environment.config;
  return targets.some((target) => {
    const time = verified.of(target, database)?.time;
    const agoMs = time === undefined ? Number.POSITIVE_INFINITY : now() - Date.parse(time);
    return agoMs >= verifyIntervalMs || agoMs < 0;
  });
}

/** What the verifier could not do is no verdict, and no verification either. */
function refuseUnverified({ replicas, unlisted }: VerifyReport): void {
  const failed = replicas.find(({ error }) => error !== null);
  if (failed !== undefined) {
    const isSize = failed.error?.includes("disk-full") === true;
    throw new PageferryError(isSize ? "disk-full" : "unavailable", `${failed.replica}: ${failed.error}`, {
      hint: "Give the function more ephemeral storage, up to 10 GB; beyond that verify with `pageferry verify` elsewhere.",
    });
  }
  const [first] = unlisted;
  if (first !== undefined) throw new PageferryError("unavailable", `${first}: could not be listed`);
}

/** What cannot be read is begun anew. */
function parseCursor(text: string | undefined): VerifyCursor | undefined {
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text) as VerifyCursor;
  } catch {
    return undefined;
  }
}
