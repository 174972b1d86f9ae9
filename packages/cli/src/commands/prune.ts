// `pageferry prune [DB…]`: lets go of what retention does not keep; says only what would go, unless it is confirmed.

import { setTimeout as sleep } from "node:timers/promises";
import {
  formatDuration,
  PageferryError,
  parseDatabaseName,
  parseDuration,
  parseGeneration,
  parseTxId,
} from "@pageferry/format";
import type { KeptPoint, PruneReport, TimeReport } from "@pageferry/functions";
import { pruneRoute } from "@pageferry/functions/routes";
import { type CommandSpec, jsonOption } from "../command.ts";
import { asFlag } from "../host-call.ts";
import type { Io } from "../io.ts";
import { formatPrune } from "../time-format.ts";
import { callEach, openHostWork, openReplicaWork, type WorkFlags, workOptions } from "../upkeep-work.ts";
import { throwFailures } from "./compact.ts";

interface PruneFlags extends WorkFlags {
  readonly replica: string;
  readonly confirm: boolean;
  readonly grace: number;
  readonly json: boolean;
}

type Report = TimeReport<PruneReport>;

/** As the host's API writes it: transaction ids are text. */
/** Objects are marked so long before they go, unless told. */
const graceMsDefault = 15 * 60_000;

/** The command. */
export const pruneCommand: CommandSpec<PruneFlags> = {
  name: "prune",
  summary: "say what retention does not keep, and with --confirm let it go",
  arguments: [{ syntax: "[db...]", description: "names of databases (default: all)" }],
  options: [
    { flags: "--confirm", description: "mark it, wait for the grace, look again, and delete" },
    { flags: "--replica <name>", description: "only this replica, as `status` names it" },
    {
      flags: "--grace <duration>",
      description:
        "how long objects are marked before they go (default 15m); 0s deletes at once, under running restores too",
      parse: parseDuration,
    },
    ...workOptions,
    jsonOption,
  ],
  examples: `
Examples:
  pageferry prune                                  what would go, why, what it frees, and what remains
  pageferry prune --confirm app                    mark it, wait 15 minutes, delete what still may go
  pageferry prune --config pageferry.yml app       without a host

A host does it by itself, as often as retention.checkInterval says. What is pinned or being restored stays, and so does the newest point of every
generation that is kept. It may be interrupted at any time: the next prune goes on.`,
  async run(names, flags, io) {
    const { json = false, confirm = false } = flags;
    let reports = await turn(names, flags, io, confirm);
    const graceMs = flags.grace ?? graceMsDefault;
    const waits = reports.some(({ replicas }) => replicas.some(({ waitsUntilMs }) => waitsUntilMs !== null));
    if (confirm && waits && graceMs > 0) {
      io.err(
        `marked; deleting in ${formatDuration(graceMs)} what may still go then (Ctrl-C leaves it to the next prune)\n`,
      );
      await sleep(graceMs + 1000, undefined, { signal: io.signal });
      reports = await turn(names, flags, io, confirm);
    }
    io.out(json ? `${JSON.stringify(reports.map(jsonOf))}\n` : formatPrune(reports));
    throwFailures(reports);
  },
};

function turn(
  names: readonly string[],
  flags: Partial<PruneFlags>,
  io: Io,
  confirm: boolean,
): Promise<Report[]> {
  return flags.config === undefined
    ? byHost(names, flags, io, confirm)
    : alone(names, flags, io, { path: flags.config, confirm });
}

async function byHost(
  names: readonly string[],
  { replica, grace, ...flags }: Partial<PruneFlags>,
  io: Io,
  confirm: boolean,
): Promise<Report[]> {
  const query = {
    replica,
    confirm: asFlag(confirm),
    grace: grace === undefined ? undefined : formatDuration(grace),
  };
  const work = await openHostWork(names, flags, io);
  const answers = await callEach(work, pruneRoute, query, io);
  return answers.map((report) => ({
    ...report,
    database: parseDatabaseName(report.database),
    replicas: report.replicas.map((row) => ({
      ...row,
      kept: row.kept.map(({ txid, generation, reasons, ...point }) => ({
        ...point,
        reasons: reasons as KeptPoint["reasons"],
        generation: parseGeneration(generation),
        txId: parseTxId(txid),
      })),
    })),
  }));
}

async function alone(
  names: readonly string[],
  { replica: wanted, grace }: Partial<PruneFlags>,
  io: Io,
  { path, confirm }: { readonly path: string; readonly confirm: boolean },
): Promise<Report[]> {
  const { retentionPolicy } = await import("@pageferry/functions");
  await using opened = await openReplicaWork(names, path, wanted, io);
  const { config, works, isWanted } = opened;
  const policy = retentionPolicy(config);
  if (policy === undefined) throw new PageferryError("bad-config", `${path}: nothing says what stays`);
  const reports: Report[] = [];
  for (const { database, replicas, unopened } of works) {
    const rows: PruneReport[] = [];
    const options = {
      dryRun: !confirm,
      signal: io.signal,
      ...(grace === undefined ? {} : { graceMs: grace }),
    };
    for (const replica of replicas.filter(isWanted))
      rows.push(await replica.prune(undefined, policy, options));
    const failures = unopened.map((replica) => ({ replica, why: "it could not be opened" }));
    reports.push({ database, replicas: rows, failures });
  }
  return reports;
}

function jsonOf(report: Report): unknown {
  return JSON.parse(JSON.stringify(report, (_, value) => (typeof value === "bigint" ? hexOf(value) : value)));
}

const hexOf = (id: bigint): string => id.toString(16).padStart(16, "0");
