// What became of each database of `restore --all`: file names, rows, JSON, and the exit code of all together. Pure.

import { errorTable, formatTxId, type PageferryError, type RestorePlan } from "@pageferry/format";
import type { RestoreFileResult } from "@pageferry/format/node";
import { formatBytes, formatTable, formatTime } from "./table.ts";

/** What became of one. */
export type Outcome = { readonly database: string; readonly output: string } & (
  | { readonly verdict: "restored"; readonly result: RestoreFileResult }
  | { readonly verdict: "planned"; readonly plan: RestorePlan }
  /** An old file of it does harm, and nobody said that they know. */
  | { readonly verdict: "left-out"; readonly error: PageferryError }
  | { readonly verdict: "failed"; readonly error: PageferryError }
);

/** A file for each. Names of databases are safe as they are; two that differ in case only are two files on every system. */
export function fileNames<Name extends string>(names: readonly Name[]): Map<Name, string> {
  const taken = new Map<string, number>();
  return new Map(
    names.map((name) => {
      const count = (taken.get(name.toLowerCase()) ?? 0) + 1;
      taken.set(name.toLowerCase(), count);
      return [name, count === 1 ? `${name}.db` : `${name}~${count}.db`];
    }),
  );
}

/** 0 when all were restored; else as the first that failed, or was left out, would have ended alone. */
export function exitCodeOf(outcomes: readonly Outcome[]): number {
  const found =
    outcomes.find(({ verdict }) => verdict === "failed") ??
    outcomes.find(({ verdict }) => verdict === "left-out");
  return found !== undefined && "error" in found ? errorTable[found.error.code].exitCode : 0;
}

/** One line of JSON. */
export function outcomeJson(outcome: Outcome) {
  const { database, output, verdict } = outcome;
  if ("error" in outcome) {
    const { code, message, hint } = outcome.error;
    return { database, output, verdict, error: { code, message, hint } };
  }
  const { generation, txId, stampMs, bytes } = outcome.verdict === "planned" ? outcome.plan : outcome.result;
  const point = { generation, txid: formatTxId(txId), time: stampMs === null ? null : formatTime(stampMs) };
  if (outcome.verdict === "planned") return { database, output, verdict, ...point, fetchBytes: bytes };
  const { fetchedBytes, check, ms } = outcome.result;
  return {
    database,
    output,
    verdict,
    ...point,
    bytes,
    fetchedBytes,
    check: check?.mode ?? "none",
    ms: Math.round(ms),
  };
}

/** The last line of JSON. */
export function summaryJson(outcomes: readonly Outcome[]) {
  const count = (wanted: Outcome["verdict"]) => outcomes.filter(({ verdict }) => verdict === wanted).length;
  return {
    summary: {
      ...{ databases: outcomes.length, restored: count("restored"), planned: count("planned") },
      ...{ leftOut: count("left-out"), failed: count("failed") },
    },
  };
}

/** A row for each, and below it what to do about those that are not there. */
export function formatOutcomes(outcomes: readonly Outcome[], directory: string): string {
  const rows = outcomes.map((outcome) => [outcome.database, ...cellsOf(outcome)]);
  const table = formatTable(["DATABASE", "TXID", "TIME", "BYTES", "VERDICT"], rows);
  const troubles = outcomes.flatMap((outcome) =>
    "error" in outcome
      ? [`${outcome.database}: ${outcome.error.message}\nhint: ${outcome.error.hint}\n`]
      : [],
  );
  const there = outcomes.filter(({ verdict }) => verdict === "restored" || verdict === "planned").length;
  const verb = outcomes.some(({ verdict }) => verdict === "planned") ? "would be restored" : "restored";
  return `${table}${troubles.join("")}${there} of ${outcomes.length} ${verb} to ${directory}\n`;
}

function cellsOf(outcome: Outcome): string[] {
  if (outcome.verdict === "left-out") return ["-", "-", "-", "left out"];
  if (outcome.verdict === "failed") return ["-", "-", "-", `failed (${outcome.error.code})`];
  const { txId, stampMs, bytes } = outcome.verdict === "planned" ? outcome.plan : outcome.result;
  const verdict = outcome.verdict === "planned" ? "not restored: --dry-run" : checkWord(outcome.result);
  return [formatTxId(txId), formatTime(stampMs), formatBytes(bytes), verdict];
}

function checkWord({ check }: RestoreFileResult): string {
  return check === undefined ? "restored, not checked" : `restored, ${check.mode} check clean`;
}
