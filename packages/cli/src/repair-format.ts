// What `pageferry repair` says: a host's answer read, and reports for people.

import { type ErrorCode, errorTable, PageferryError } from "@pageferry/format";
import type { RepairReport } from "@pageferry/functions";
import { formatBytes, formatTable } from "./table.ts";

/** Reads what a host answered. It may tell an error after hours, when its status was sent long before: then that is thrown. */
export function parseRepair(answer: unknown, url: string): RepairReport {
  const { replicas, code, detail, hint } = (answer ?? {}) as Partial<
    Record<"replicas" | "code" | "detail" | "hint", unknown>
  >;
  if (Array.isArray(replicas)) return answer as RepairReport;
  const known = typeof code === "string" && Object.hasOwn(errorTable, code) ? (code as ErrorCode) : undefined;
  throw new PageferryError(
    known ?? "unavailable",
    typeof detail === "string" ? detail : `${url}: the answer is not one of a host`,
    typeof hint === "string" ? { hint } : {},
  );
}

/** One table for all databases, and then what could not be done. */
export function formatRepair(reports: readonly RepairReport[]): string {
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
