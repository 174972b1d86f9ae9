// What `pageferry verify` says: reports for people, and the exit code.

import { counted, type ErrorCode, PageferryError } from "@pageferry/format";
import type { Verdict } from "@pageferry/functions";
import type { VerifyReportJson } from "@pageferry/functions/routes";
import { formatBytes, formatTable } from "./table.ts";

/** Problems that are printed of one replica. */
const problemsMax = 20;

/** One table for all databases, and then what does not hold, and what is left. */
export function formatVerify(reports: readonly VerifyReportJson[]): string {
  if (reports.length === 0) return "no database to verify\n";
  const rows = reports.flatMap(({ database, replicas }) =>
    replicas.map((row) => [
      database,
      row.replica,
      row.verdict ?? "-",
      row.newest?.txid ?? "-",
      row.newest?.time ?? "-",
      row.points.map(({ txid, verdict }) => (verdict === "FOUND" ? txid : `${txid} ${verdict}`)).join(" ") ||
        "-",
      formatBytes(row.bytesRead),
      row.error ?? (row.problemCount > 0 ? counted(row.problemCount, "problem") : "ok"),
    ]),
  );
  const header = ["DATABASE", "REPLICA", "VERDICT", "NEWEST", "COMMITTED", "RESTORED", "READ", "STATE"];
  const details = reports.flatMap(({ replicas }) => replicas.map(formatDetails));
  const unlisted = reports.flatMap(({ database, unlisted: names }) =>
    names.map((name) => `${name} could not be listed: nothing of ${database} was compared with it\n`),
  );
  return `${formatTable(header, rows)}${details.join("")}${unlisted.join("")}`;
}

function formatDetails(row: VerifyReportJson["replicas"][number]): string {
  const { replica, problems, problemCount, restorable, lost, lostRanges, points, warnings } = row;
  const shown = problems
    .slice(0, problemsMax)
    .map(({ verdict, object, why }) => `  ${verdict}: ${object === null ? "" : `${object}: `}${why}\n`);
  const more = problemCount > problemsMax ? `  and ${problemCount - problemsMax} more, see --json\n` : "";
  const ranges = lostRanges.map(({ from, to }) => (from === to ? from : `${from} to ${to}`)).join(", ");
  const left =
    lost === 0
      ? ""
      : `  ${counted(restorable, "point remains", "points remain")} without the broken objects; gone are ${ranges}\n`;
  const large = points.some(({ mode }) => mode === "objects")
    ? "  too large to be restored here: its objects were read to their ends, its pages were not checked\n"
    : "";
  const told = [...shown, more, left, large, ...warnings.map((warning) => `  warning: ${warning}\n`)].join(
    "",
  );
  return told === "" ? "" : `${replica}:\n${told}`;
}

const codes: Readonly<Record<Exclude<Verdict, "FOUND">, ErrorCode>> = {
  LATE: "unavailable",
  LOST: "gap",
  CORRUPT: "corrupt",
  FORK: "fork",
};

const hints: Readonly<Record<Exclude<Verdict, "FOUND">, string>> = {
  LATE: "All of it is sound; it catches up by itself, and `pageferry status` shows what waits.",
  LOST: "`pageferry repair` brings it from another replica; `pageferry points` shows what can be restored.",
  CORRUPT:
    "`pageferry repair --verify` heals from another replica; without one, the report says what remains.",
  FORK: "See whether two agents write one database; choose a history with --generation.",
};

const fromWorst = ["FORK", "CORRUPT", "LOST", "LATE"] as const;

/** The failure that ends the command, by the worst verdict; undefined where all are FOUND. */
export function failureOf(reports: readonly VerifyReportJson[]): PageferryError | undefined {
  const rows = reports.flatMap(({ database, replicas }) => replicas.map((row) => ({ database, row })));
  for (const verdict of fromWorst) {
    const found = rows.filter(({ row }) => row.verdict === verdict);
    const [first] = found;
    if (first === undefined) continue;
    const message = `${first.database} in ${first.row.replica} is ${verdict}${found.length > 1 ? `, and ${found.length - 1} more` : ""}`;
    return new PageferryError(codes[verdict], message, { hint: hints[verdict] });
  }
  const unsound = reports.filter(({ isSound }) => !isSound).map(({ database }) => database);
  if (unsound.length === 0) return undefined;
  const message = `not all of ${unsound.join(", ")} could be verified`;
  return new PageferryError("unavailable", message, { hint: "The report says why." });
}
