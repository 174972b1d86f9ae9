// `pageferry compact [DB…]`: merges what is fine and old into fewer objects, and builds the snapshots that are due; through the host that serves the
// databases, or straight from a configuration.

import { tmpdir } from "node:os";
import { join } from "node:path";
import { counted, PageferryError } from "@pageferry/format";
import { type CompactReportJson, compactRoute } from "@pageferry/functions/routes";
import { type CommandSpec, jsonOption } from "../command.ts";
import { asFlag } from "../host-call.ts";
import type { Io } from "../io.ts";
import { formatCompact } from "../time-format.ts";
import { callEach, openHostWork, openReplicaWork, type WorkFlags, workOptions } from "../upkeep-work.ts";

interface CompactFlags extends WorkFlags {
  readonly replica: string;
  readonly dryRun: boolean;
  readonly json: boolean;
}

type Report = CompactReportJson;

/** The command. */
export const compactCommand: CommandSpec<CompactFlags> = {
  name: "compact",
  summary: "merge what is fine and old into fewer objects, and build the snapshots that are due",
  arguments: [{ syntax: "[db...]", description: "names of databases (default: all)" }],
  options: [
    { flags: "--replica <name>", description: "only this replica, as `status` names it" },
    { flags: "--dry-run", description: "only say what would be merged" },
    ...workOptions,
    jsonOption,
  ],
  examples: `
Examples:
  pageferry compact                                all databases of the host that runs here
  pageferry compact --dry-run app                  what would be merged
  pageferry compact --config pageferry.yml app     without a host

A host does it by itself, every half minute. Nothing is removed: what was merged stays until \`prune\` lets it go.`,
  async run(names, flags, io) {
    const { json = false, config } = flags;
    const reports =
      config === undefined ? await byHost(names, flags, io) : await alone(names, flags, io, config);
    io.out(json ? `${JSON.stringify(reports)}\n` : formatCompact(reports));
    throwFailures(reports);
  },
};

async function byHost(names: readonly string[], flags: Partial<CompactFlags>, io: Io): Promise<Report[]> {
  const query = { replica: flags.replica, dryRun: asFlag(flags.dryRun) };
  const work = await openHostWork(names, flags, io);
  return callEach(work, compactRoute, query, io);
}

async function alone(
  names: readonly string[],
  { replica: wanted, dryRun = false }: Partial<CompactFlags>,
  io: Io,
  path: string,
): Promise<Report[]> {
  const { compactReplica, buildSnapshots } = await import("@pageferry/functions");
  await using opened = await openReplicaWork(names, path, wanted, io);
  const { config, works, isWanted } = opened;
  const { levelsMs } = config.compaction;
  const { snapshotIntervalMs } = config;
  const scratchDir = join(config.dataDir ?? tmpdir(), "scratch");
  const { signal, now } = io;
  const reports: Report[] = [];
  for (const { database, replicas, unopened } of works) {
    const rows: Report["replicas"][number][] = [];
    for (const replica of replicas.filter(isWanted)) {
      const report = await compactReplica(replica, { levelsMs, now, dryRun, signal });
      const build = () =>
        buildSnapshots(replica, {
          scratchDir,
          snapshotIntervalMs,
          levelsMs,
          nowMs: now(),
          signal,
          threads: 0,
        });
      rows.push({ ...report, snapshots: dryRun ? [] : await build() });
    }
    const failures = unopened.map((replica) => ({ replica, why: "it could not be opened" }));
    reports.push({ database, replicas: rows, failures });
  }
  return reports;
}

/** What could not be done is told by the exit code, too. */
export function throwFailures(reports: readonly Pick<Report, "database" | "failures">[]): void {
  const failed = reports.flatMap(({ database, failures }) =>
    failures.map(({ replica, why }) => `${replica} of ${database}: ${why}`),
  );
  const [first] = failed;
  if (first === undefined) return;
  throw new PageferryError(
    "unavailable",
    `${counted(failed.length, "replica")} could not be worked on, the first: ${first}`,
    {
      hint: "Run it again when they are back; it goes on where it was.",
    },
  );
}
