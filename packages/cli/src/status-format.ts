// A host's status as people read it. What it holds is decided by the host; here it is only laid out.

import { formatDuration } from "@pageferry/format";
import type { AnswerOf, databasesRoute } from "@pageferry/functions/routes";
import { formatBytes, formatTable } from "./table.ts";

type HostStatus = AnswerOf<typeof databasesRoute>;
type ReplicaLine = HostStatus["databases"][number]["replicas"][number];

/** Lays a status out. */
export function formatStatus({ databases, alarms }: HostStatus): string {
  if (databases.length === 0 && alarms.length === 0) return "no database has been heard of yet\n";
  const rows = databases.flatMap(({ name, txid, time, replicas }) =>
    replicas.map((replica) => [
      name,
      txid ?? "-",
      time ?? "-",
      replica.name,
      replica.txid ?? "-",
      replica.lagMs === null ? "unknown" : formatDuration(Math.round(replica.lagMs)),
      replica.waiting === 0 ? "-" : `${replica.waiting} (${formatBytes(replica.waitingBytes)})`,
      verifiedOf(replica),
      healthOf(replica),
    ]),
  );
  const header = [
    "DATABASE",
    "NEWEST",
    "COMMITTED",
    "REPLICA",
    "STORED",
    "LAG",
    "WAITING",
    "VERIFIED",
    "STATE",
  ];
  const told = alarms.map(({ code, database, replica, message, hint, since }) => {
    const where = [database, replica].filter((word) => word !== undefined).join(" in ");
    return `alarm since ${since}: ${code}: ${where === "" ? "" : `${where}: `}${message}\n  hint: ${hint}\n`;
  });
  return `${formatTable(header, rows)}${told.join("")}`;
}

/** What was restored last to see whether it can be, and when. */
function verifiedOf({ verified }: ReplicaLine): string {
  if (verified === null) return "-";
  const { verdict, txid, time } = verified;
  return `${verdict === "FOUND" ? "" : `${verdict} `}${txid} at ${time}`;
}

/** What is not as it should be, in a word or two; what to do about it is in the alarms. */
function healthOf({ breaker, needsRepair, deadLetters }: ReplicaLine): string {
  const words = [
    ...(breaker === "open" ? ["away"] : breaker === "half-open" ? ["being asked"] : []),
    ...(needsRepair ? ["needs repair"] : []),
    ...(deadLetters > 0 ? [`${deadLetters} set aside`] : []),
  ];
  return words.length === 0 ? "ok" : words.join(", ");
}
