// What `compact` and `prune` say to people.

import { counted, formatTxId } from "@pageferry/format";
import type { PruneReport, TimeReport } from "@pageferry/functions";
import type { CompactReportJson } from "@pageferry/functions/routes";
import { formatBytes, formatTable } from "./table.ts";

/** Lines of one list; the rest are counted. */
const linesMax = 20;

/** One table for all databases, and then what could not be done. */
export function formatCompact(reports: readonly CompactReportJson[]): string {
  const rows = reports.flatMap(({ database, replicas }) =>
    replicas.map((row) => {
      const sources = row.merged.reduce((sum, one) => sum + one.sources, 0);
      return [
        database,
        row.replica,
        `${sources} into ${row.merged.length}`,
        row.dryRun ? formatBytes(row.bytesIn) : `${formatBytes(row.bytesIn)} to ${formatBytes(row.bytesOut)}`,
        String(row.snapshots.filter(({ failure }) => failure === null).length),
        row.isPartial ? "more is due" : row.left.length === 0 ? "ok" : `${row.left.length} left`,
      ];
    }),
  );
  if (rows.length === 0) return `nothing to compact${failuresOf(reports)}\n`;
  const left = reports.flatMap(({ replicas }) =>
    replicas.flatMap((row) => [
      ...row.left.map(({ name, why }) => `${name} in ${row.replica}: ${why}`),
      ...row.snapshots.flatMap(({ name, failure }) =>
        failure === null ? [] : [`${name} in ${row.replica}: ${failure}`],
      ),
    ]),
  );
  const table = formatTable(["DATABASE", "REPLICA", "MERGED", "BYTES", "SNAPSHOTS", "STATE"], rows);
  return `${table}${listOf("could not be made", left)}`;
}

/** Per replica what goes and why, what it frees, and what remains. */
export function formatPrune(reports: readonly TimeReport<PruneReport>[]): string {
  const parts = reports.flatMap(({ database, replicas }) => replicas.map((row) => pruneOf(database, row)));
  return parts.length === 0 ? `nothing to prune${failuresOf(reports)}\n` : parts.join("\n");
}

function pruneOf(database: string, row: PruneReport): string {
  const bytes = row.planned.reduce((sum, { size }) => sum + size, 0);
  const whys = new Map<string, { count: number; size: number }>();
  for (const { why, size } of row.planned) {
    const known = whys.get(why) ?? { count: 0, size: 0 };
    whys.set(why, { count: known.count + 1, size: known.size + size });
  }
  const what = [...whys].map(
    ([why, { count, size }]) => `  ${counted(count, "object")}, ${formatBytes(size)}: ${why}\n`,
  );
  const names = row.dryRun
    ? listOf(
        "these objects",
        row.planned.map(({ name, why }) => `${name} (${why})`),
      )
    : "";
  return `${database} in ${row.replica}: ${headline(row, bytes)}\n${what.join("")}${names}${keptOf(row)}${listOf("note", row.notes)}`;
}

function headline(row: PruneReport, bytes: number): string {
  const { planned, removed, marked, retained, waitsUntilMs } = row;
  if (planned.length === 0) return "nothing may go";
  if (row.dryRun)
    return `${counted(planned.length, "object")}, ${formatBytes(bytes)}, would go (--confirm lets them)`;
  const waiting = planned.length - removed.length - retained.length;
  const parts = [
    `${counted(removed.length, "object is", "objects are")} gone, ${formatBytes(row.bytesFreed)} are free`,
  ];
  if (waitsUntilMs !== null && waiting > 0)
    parts.push(
      `${counted(waiting, "waits", "wait")} until ${new Date(waitsUntilMs).toISOString()} (${marked} of them newly marked)`,
    );
  if (retained.length > 0)
    parts.push(`${counted(retained.length, "stays", "stay")}: locked, or older versions of a bucket`);
  return parts.join("; ");
}

function keptOf({ kept }: PruneReport): string {
  const rows = kept
    .slice(0, linesMax)
    .map(({ generation, txId, stampMs, receivedMs, reasons }) => [
      formatTxId(txId),
      generation,
      stampMs === null ? "-" : new Date(stampMs).toISOString(),
      new Date(receivedMs).toISOString(),
      reasons.join(", "),
    ]);
  const more = kept.length > linesMax ? `  and ${kept.length - linesMax} more\n` : "";
  const table = formatTable(["TXID", "GENERATION", "COMMITTED", "RECEIVED", "BECAUSE"], rows);
  return kept.length === 0
    ? "nothing remains restorable\n"
    : `remain restorable: ${counted(kept.length, "point")}\n${table}${more}`;
}

function failuresOf(reports: readonly Pick<CompactReportJson, "database" | "failures">[]): string {
  const first = reports.flatMap(({ failures }) => failures)[0];
  return first === undefined ? "" : `: ${first.replica}: ${first.why}`;
}

function listOf(title: string, lines: readonly string[]): string {
  if (lines.length === 0) return "";
  const shown = lines.slice(0, linesMax).map((line) => `  ${line}\n`);
  const more = lines.length > linesMax ? `  and ${lines.length - linesMax} more\n` : "";
  return `${title}:\n${shown.join("")}${more}`;
}
