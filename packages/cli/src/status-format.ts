// A host's status as people read it. What it holds is decided by the host; here it is only laid out.

import { formatDuration, PageferryError } from "@pageferry/format";
import { formatBytes, formatTable } from "./table.ts";

interface ReplicaLine {
  readonly name: string;
  readonly txid: string | null;
  readonly lagMs: number | null;
  readonly waiting: number;
  readonly waitingBytes: number;
  readonly deadLetters?: number;
  readonly breaker?: string;
  readonly needsRepair?: boolean;
  readonly verified?: {
    readonly verdict: string;
    readonly txid: string;
    readonly time: string;
  } | null;
}

interface AlarmLine {
  readonly code: string;
  readonly database?: string;
  readonly replica?: string;
  readonly message: string;
  readonly hint: string;
  readonly since: string;
}

/** The part of a host's answer that is shown. */
export interface HostStatus {
  readonly databases: readonly {
    readonly name: string;
    readonly txid: string | null;
    readonly time: string | null;
    readonly replicas: readonly ReplicaLine[];
  }[];
  readonly alarms: readonly AlarmLine[];
}

/** Takes what a host answered; `unavailable` where it is no status. */
export function parseStatus(answer: unknown): HostStatus {
  const { databases, alarms = [] } = (answer ?? {}) as Partial<HostStatus>;
  if (!Array.isArray(databases) || !Array.isArray(alarms)) {
    throw new PageferryError("unavailable", "the host's answer is not a status", {
      hint: "Name the host itself: http://HOST:PORT.",
    });
  }
  return { databases, alarms };
}

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
  if (verified === undefined || verified === null) return "-";
  const { verdict, txid, time } = verified;
  return `${verdict === "FOUND" ? "" : `${verdict} `}${txid} at ${time}`;
}

/** What is not as it should be, in a word or two; what to do about it is in the alarms. */
function healthOf({ breaker = "closed", needsRepair = false, deadLetters = 0 }: ReplicaLine): string {
  const words = [
    ...(breaker === "open" ? ["away"] : breaker === "half-open" ? ["being asked"] : []),
    ...(needsRepair ? ["needs repair"] : []),
    ...(deadLetters > 0 ? [`${deadLetters} set aside`] : []),
  ];
  return words.length === 0 ? "ok" : words.join(", ");
}
