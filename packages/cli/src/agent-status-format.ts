// What a running agent says of itself, as people read it.

import { formatDuration } from "@pageferry/format";
import type { AgentReport } from "./control/handlers.ts";
import { formatBytes, formatTable } from "./table.ts";
import { printable } from "./terminal-text.ts";

/** Lays it out: a line for each database, and the alarms below. */
export function formatAgentStatus({ pid, started, queue, databases }: AgentReport): string {
  const head = `process ${pid} since ${started}, sending to ${queue}\n`;
  if (databases.length === 0) return `${head}no database is backed up by it\n`;
  const rows = databases.map((one) => [
    ...[one.name, one.state, one.seenTxid ?? "-", one.acknowledgedTxid ?? "-"],
    ...[one.lagMs === 0 ? "-" : formatDuration(Math.round(one.lagMs)), formatBytes(one.shadowBytes)],
    ...[one.origin, one.path],
  ]);
  const table = formatTable(
    ["DATABASE", "STATE", "NEWEST", "AT HOST", "LAG", "SHADOW", "FROM", "FILE"],
    rows,
  );
  const alarms = databases.flatMap(({ name, alarms: standing }) =>
    standing.map(
      ({ code, message, hint, sinceMs }) =>
        `alarm since ${new Date(sinceMs).toISOString()}: ${code}: ${name}: ${printable(message)}\n  hint: ${printable(hint)}\n`,
    ),
  );
  return `${head}${table}${alarms.join("")}`;
}
