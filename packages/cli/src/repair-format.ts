// What `pageferry repair` says to people.

import type { RepairReportJson } from "@pageferry/functions/routes";
import { formatBytes, formatTable } from "./table.ts";

/** One table for all databases, and then what could not be done. */
export function formatRepair(reports: readonly RepairReportJson[]): string {
  if (reports.length === 0) return "no database to repair\n";
  const rows = reports.flatMap(({ database, dryRun, replicas }) =>
    replicas.map((row) => [
      database,
      row.replica,
      `${row.copied}${dryRun ? " lacking" : ""}`,
      formatBytes(row.bytes),
      row.checked === null ? "-" : String(row.checked),
      `${row.healed} of ${row.broken.length}`,
      row.error ?? (row.failures > 0 ? `${row.failures} failed` : "ok"),
    ]),
  );
  const header = ["DATABASE", "REPLICA", "COPIED", "BYTES", "CHECKED", "HEALED", "STATE"];
  const failed = reports.flatMap(({ replicas }) =>
    replicas.flatMap(({ replica, failed: objects }) =>
      objects.map(({ object, why }) => `  ${object} in ${replica}: ${why}\n`),
    ),
  );
  const unlisted = reports.flatMap(({ database, unlisted: names = [] }) =>
    names.map((name) => `${name} could not be listed: what it alone has of ${database} is not known\n`),
  );
  return `${formatTable(header, rows)}${unlisted.join("")}${failed.length === 0 ? "" : `could not be done:\n${failed.join("")}`}`;
}
