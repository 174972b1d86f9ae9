// `pageferry repair [DB…]`: brings to each replica what another one can restore, and makes whole what is broken; through the host that
// serves them, or straight from a configuration.

import { PageferryError } from "@pageferry/format";
import { type RepairReportJson, repairRoute } from "@pageferry/functions/routes";
import { type CommandSpec, jsonOption } from "../command.ts";
import { asFlag } from "../host-call.ts";
import type { Io } from "../io.ts";
import { formatRepair } from "../repair-format.ts";
import { callEach, openHostWork, openReplicaWork, type WorkFlags, workOptions } from "../upkeep-work.ts";

interface RepairFlags extends WorkFlags {
  readonly replica: string;
  readonly verify: boolean;
  readonly dryRun: boolean;
  readonly json: boolean;
}

/** The command. */
export const repairCommand: CommandSpec<RepairFlags> = {
  name: "repair",
  summary: "bring to each replica what another one has, and make whole what is broken",
  arguments: [{ syntax: "[db...]", description: "names of databases (default: all)" }],
  options: [
    { flags: "--replica <name>", description: "only this replica, as `status` names it; the others give" },
    { flags: "--verify", description: "read every object to find broken ones, instead of listings only" },
    { flags: "--dry-run", description: "only say what would be done" },
    ...workOptions,
    jsonOption,
  ],
  examples: `
Examples:
  pageferry repair                                            all databases of the host that runs here
  pageferry repair --dry-run app                              what is missing where
  pageferry repair --verify --replica sftp://nas:22/srv/bolt  read all of one replica, and heal it
  pageferry repair --config pageferry.yml app                 without a host

A host repairs by itself every hour, and when a replica comes back. What retention or compaction removed is not brought back. A
broken object is replaced only when another replica has it whole; its bytes are kept in the replica's quarantine/.
The exit code is 0 only when every replica is whole.`,
  async run(names, flags, io) {
    const { json = false } = flags;
    const reports =
      flags.config === undefined
        ? await byHost(names, flags, io)
        : await alone(names, flags, io, flags.config);
    io.out(json ? `${JSON.stringify(reports)}\n` : formatRepair(reports));
    const left = reports.filter(({ isWhole }) => !isWhole).map(({ database }) => database);
    if (left.length === 0 || flags.dryRun === true) return;
    throw new PageferryError("unavailable", `not every replica of ${left.join(", ")} is whole`, {
      hint: "The report names what is missing and why; run it again when the replica is back.",
    });
  },
};

async function byHost(
  names: readonly string[],
  flags: Partial<RepairFlags>,
  io: Io,
): Promise<RepairReportJson[]> {
  const { replica, verify = false, dryRun = false } = flags;
  const query = { replica, verify: asFlag(verify), dryRun: asFlag(dryRun) };
  const work = await openHostWork(names, flags, io);
  return callEach(work, repairRoute, query, io);
}

async function alone(
  names: readonly string[],
  flags: Partial<RepairFlags>,
  io: Io,
  path: string,
): Promise<RepairReportJson[]> {
  const { repairDatabase, retentionPolicy } = await import("@pageferry/functions");
  await using opened = await openReplicaWork(names, path, flags.replica, io);
  const { config, works, isWanted } = opened;
  if (config.replicas.length < 2)
    throw new PageferryError("bad-config", `${path}: names one replica, repair needs two`);
  const reports: RepairReportJson[] = [];
  for (const { database, replicas, unopened } of works) {
    const report = await repairDatabase({
      ...{ database, replicas, isTarget: isWanted, now: io.now, signal: io.signal },
      ...{ verify: flags.verify ?? false, dryRun: flags.dryRun ?? false, retention: retentionPolicy(config) },
    });
    const unlisted = [...report.unlisted, ...unopened];
    reports.push({ ...report, unlisted, isWhole: report.isWhole && unlisted.length === 0 });
  }
  return reports;
}
