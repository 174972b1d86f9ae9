// A host's status as people read it. What it holds is decided by the host; here it is only laid out: as a table where that fits, else as a
// paragraph for each replica.

import { counted, formatDuration } from "@pageferry/format";
import type { AnswerOf, databasesRoute } from "@pageferry/functions/routes";
import { formatBytes, formatTable } from "./table.ts";
import { printable } from "./terminal-text.ts";

type HostStatus = AnswerOf<typeof databasesRoute>;
type DatabaseLine = HostStatus["databases"][number];
type ReplicaLine = DatabaseLine["replicas"][number];
type Done = NonNullable<ReplicaLine["compaction"]>;

export interface StatusFormatOptions {
  readonly nowMs: number;
  /** Of the terminal; undefined: as wide as it takes. */
  readonly columns?: number | undefined;
}

/** Lays a status out. */
export function formatStatus({ databases, alarms }: HostStatus, options: StatusFormatOptions): string {
  if (databases.length === 0 && alarms.length === 0) return "no database has been heard of yet\n";
  const table = formatWide(databases, options.nowMs);
  const width = Math.max(...table.split("\n").map((line) => line.length));
  const isWide = width <= (options.columns ?? Number.POSITIVE_INFINITY);
  const laidOut = isWide ? table : databases.map((one) => formatNarrow(one, options.nowMs)).join("\n");
  const told = alarms.map(({ code, database, replica, message, hint, since }) => {
    const where = [database, replica].filter((word) => word !== undefined).join(" in ");
    return `alarm since ${since}: ${code}: ${where === "" ? "" : `${where}: `}${printable(message)}\n  hint: ${printable(hint)}\n`;
  });
  const between = isWide || told.length === 0 ? "" : "\n";
  const gaps = isWide ? databases.map(gapsOf).join("") : "";
  const parted = databases.map(partedOf).join("");
  const histories = databases.map((one) => historiesOf(one, options.nowMs)).join("");
  return `${laidOut}${parted}${gaps}${histories}${between}${told.join("")}`;
}

const header = [
  ...["DATABASE", "NEWEST", "COMMITTED", "REPLICA", "STORED", "LAG", "WAITING", "SNAPSHOT", "VERIFIED"],
  ...["SIZE", "MONTH", "RESTORE", "STATE"],
];

function formatWide(databases: readonly DatabaseLine[], nowMs: number): string {
  const rows = databases.flatMap(({ name, txid, time, replicas }) =>
    replicas.map((replica, at) => [
      // Said once: what follows is of the same database.
      ...(at === 0 ? [name, txid ?? "-", time === null ? "-" : ageOf(time, nowMs)] : ["", "", ""]),
      replica.name,
      replica.txid ?? "-",
      lagOf(replica),
      waitingOf(replica),
      snapshotOf(replica, nowMs),
      verifiedOf(replica, nowMs),
      sizeOf(replica),
      replica.month?.usd ? `$${replica.month.usd.toFixed(2)}` : monthOf(replica),
      replica.restore ? `about ${durationOf(replica.restore.ms)}` : "-",
      healthOf(replica),
    ]),
  );
  return formatTable(header, rows);
}

function formatNarrow(database: DatabaseLine, nowMs: number): string {
  const { name, txid, time, replicas } = database;
  const newest =
    txid === null
      ? "nothing was captured yet"
      : `${txid}${time === null ? "" : `, committed ${ageOf(time, nowMs)}`}`;
  return `${name}: ${newest}\n${gapsOf(database)}${replicas.map((one) => paragraphOf(one, nowMs)).join("")}`;
}

function paragraphOf(replica: ReplicaLine, nowMs: number): string {
  const { snapshot, verified, compaction, prune, repair, storage, restore } = replica;
  const done = (what: string, one: Done | null) => (one ? [`${what} ${ageOf(one.time, nowMs)}`] : []);
  const lines: readonly (readonly [string, string])[] = [
    ["stored", `${replica.txid ?? "-"}, lag ${lagOf(replica)}`],
    ["waiting", waitingOf(replica)],
    ["snapshot", snapshot ? `${snapshot.txid}, ${snapshotOf(replica, nowMs)}` : "-"],
    ["verified", verified ? `${verified.txid}, ${verifiedOf(replica, nowMs)}` : "-"],
    [
      "upkeep",
      [...done("merged", compaction), ...done("pruned", prune), ...done("repaired", repair)].join(", ") ||
        "-",
    ],
    ["storage", storage ? `${sizeOf(replica)} in ${counted(storage.objects, "object")}` : "-"],
    ["month", monthOf(replica)],
    [
      "restore",
      restore
        ? `about ${durationOf(restore.ms)}: ${formatBytes(restore.bytes)} in ${counted(restore.objects, "object")}`
        : "-",
    ],
  ];
  // What there is nothing to say of is left out.
  const shown = lines
    .filter(([, text]) => text !== "-")
    .map(([word, text]) => `    ${word.padEnd(9)} ${text}\n`);
  return `  ${replica.name}: ${healthOf(replica)}\n${shown.join("")}`;
}

/** One that somebody let go is not one that is silent. */
function partedOf({ name, parted }: DatabaseLine): string {
  return parted
    ? `${name} is no longer backed up, since ${parted.since}, by ${parted.by}; its backups stay\n`
    : "";
}

function gapsOf({ name, gaps, gapCount }: DatabaseLine): string {
  const [first] = gaps;
  if (first === undefined) return "";
  const more = (gapCount ?? 1) > 1 ? `, and ${(gapCount ?? 1) - 1} more` : "";
  return `gap in ${name}: no replica has (${first.from}, ${first.to}]${more}\n`;
}

/** Histories that are named here: the newest. `--json` has more of them. */
const historiesMax = 3;

/** More than one are what a restore, a move to another machine, or two agents leave behind. */
function historiesOf({ name, generations, generationCount }: DatabaseLine, nowMs: number): string {
  if (generationCount < 2) return "";
  const lines = generations
    .slice(0, historiesMax)
    .map(({ generation, host, begun, reason, parent, txid }) => {
      const by = `${host === null ? "" : ` by ${host}`}${begun === null ? "" : `, ${ageOf(begun, nowMs)}`}`;
      const from = parent === null ? "" : `    after ${parent.txid} of ${parent.generation}\n`;
      const reach = txid === null ? "nothing of it can be restored" : `up to ${txid}`;
      return `  ${generation}${by}: ${reason ?? "unknown"}; ${reach}\n${from}`;
    });
  const left = generationCount - lines.length;
  return `${name} has ${generationCount} histories, newest first:\n${lines.join("")}${left > 0 ? `  and ${left} older\n` : ""}`;
}

function lagOf({ lagMs, lagTransactions }: ReplicaLine): string {
  if (lagMs === null) return "unknown";
  return `${durationOf(lagMs)}${lagTransactions ? ` (${lagTransactions} tx)` : ""}`;
}

function waitingOf({ waiting, waitingBytes }: ReplicaLine): string {
  return waiting === 0 ? "-" : `${waiting} (${formatBytes(waitingBytes)})`;
}

function snapshotOf({ snapshot }: ReplicaLine, nowMs: number): string {
  return snapshot ? `${formatBytes(snapshot.bytes)}, ${ageOf(snapshot.time, nowMs)}` : "-";
}

/** When it was restored last to see whether it can be, and what came of it where that was not all right. */
function verifiedOf({ verified }: ReplicaLine, nowMs: number): string {
  if (verified === null) return "-";
  return `${verified.verdict === "FOUND" ? "" : `${verified.verdict} `}${ageOf(verified.time, nowMs)}`;
}

function sizeOf({ storage }: ReplicaLine): string {
  if (!storage) return "-";
  const factor = storage.amplification === null ? "" : ` (${storage.amplification} x)`;
  return `${formatBytes(storage.bytes)}${factor}`;
}

function monthOf({ month }: ReplicaLine): string {
  if (!month) return "-";
  return `${month.usd === null ? "" : `$${month.usd.toFixed(2)}, `}${counted(month.requests, "request")}`;
}

/** Times of a minute and more without what nobody reads of them. */
function durationOf(ms: number): string {
  const rounded =
    ms < 1000 ? Math.round(ms) : ms < 60_000 ? Math.round(ms / 100) * 100 : Math.round(ms / 1000) * 1000;
  return formatDuration(rounded);
}

const units: readonly (readonly [string, number])[] = [
  ["d", 86_400_000],
  ["h", 3_600_000],
  ["m", 60_000],
];

function ageOf(time: string, nowMs: number): string {
  const ageMs = Math.max(0, nowMs - Date.parse(time));
  const [word, unitMs] = units.find(([, ms]) => ageMs >= ms) ?? ["s", 1000];
  return `${Math.floor(ageMs / unitMs)}${word} ago`;
}

/** What is not as it should be, in a word or two; what to do about it is in the alarms. */
function healthOf({ breaker, needsRepair, deadLetters, gapCount }: ReplicaLine): string {
  const words = [
    ...(breaker === "open" ? ["away"] : breaker === "half-open" ? ["being asked"] : []),
    ...(needsRepair ? ["needs repair"] : []),
    ...(gapCount > 0 ? [counted(gapCount, "gap")] : []),
    ...(deadLetters > 0 ? [`${deadLetters} set aside`] : []),
  ];
  return words.length === 0 ? "ok" : words.join(", ");
}
