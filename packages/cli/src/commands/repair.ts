// `pageferry repair [DB…]`: brings to each replica what another one can restore, and makes whole what is broken; through the host that
// serves them, or straight from a configuration.

import { type Config, PageferryError, parseDatabaseName } from "@pageferry/format";
import type { RepairReport } from "@pageferry/functions";
import { type CommandSpec, dataOption, jsonOption } from "../command.ts";
import { loadConfig } from "../config-file.ts";
import { defaultDataDir } from "../data-dir.ts";
import { createHostClient, hostToken } from "../host-client.ts";
import { hostOrigin } from "../host-origin.ts";
import type { Io } from "../io.ts";
import { formatRepair, parseRepair } from "../repair-format.ts";

interface RepairFlags {
  readonly replica: string;
  readonly verify: boolean;
  readonly dryRun: boolean;
  readonly json: boolean;
  readonly data: string;
  readonly config: string;
  readonly host: string;
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
    { flags: "--config <file>", description: "work on the replicas of this configuration, without a host" },
    { flags: "--host <url>", description: "http://HOST:PORT (default: the host that runs on DIR)" },
    dataOption,
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
): Promise<RepairReport[]> {
  const { data = defaultDataDir, replica, verify = false, dryRun = false } = flags;
  const origin = await hostOrigin(flags.host, data);
  const client = createHostClient(origin, await hostToken(origin, data, io));
  const chosen = names.length > 0 ? names : await databasesOf(origin, client, io);
  const query = new URLSearchParams();
  if (replica !== undefined) query.set("replica", replica);
  if (verify) query.set("verify", "true");
  if (dryRun) query.set("dryRun", "true");
  const reports: RepairReport[] = [];
  for (const name of chosen) {
    const url = `${origin}/v1/databases/${parseDatabaseName(name)}/repair?${query}`;
    reports.push(parseRepair(await client.postJson(url, io.signal), url));
  }
  return reports;
}

async function databasesOf(
  origin: string,
  client: ReturnType<typeof createHostClient>,
  io: Io,
): Promise<string[]> {
  const answer = (await client.getJson(`${origin}/v1/databases`, io.signal)) as { databases?: unknown };
  if (!Array.isArray(answer.databases))
    throw new PageferryError("unavailable", `${origin}: the answer is not one of a host`);
  return answer.databases.map((database: { readonly name?: unknown }) => String(database.name));
}

async function alone(
  names: readonly string[],
  flags: Partial<RepairFlags>,
  io: Io,
  path: string,
): Promise<RepairReport[]> {
  const { config } = await loadConfig(io, path);
  const { openReplicaSet, repairDatabase, retentionPolicy } = await import("@pageferry/functions");
  if (config.replicas.length < 2) {
    throw new PageferryError(
      "bad-config",
      `${path}: names ${config.replicas.length} replicas, repair needs two`,
    );
  }
  await using opened = new AsyncDisposableStack();
  const sets = await Promise.all(
    config.replicas.map((entry) => openReplicaSet(entry, { hasDatabases: !config.isGoForm })),
  );
  for (const set of sets) opened.use(set);
  const wanted = flags.replica;
  if (wanted !== undefined && !sets.some(({ name }) => name === wanted)) {
    const hint = `There are ${sets.map(({ name }) => name).join(", ")}.`;
    throw new PageferryError("not-found", `replica ${wanted.slice(0, 200)} is not configured`, { hint });
  }
  const reports: RepairReport[] = [];
  for (const name of chosenOf(names, config)) {
    const database = parseDatabaseName(name);
    const found = await Promise.allSettled(sets.map((set) => set.of(database)));
    const replicas = found.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
    for (const [at, one] of found.entries()) {
      if (one.status === "rejected")
        io.err(`warning: ${sets[at]?.name} is left out: ${wordsOf(one.reason)}\n`);
    }
    const isTarget = ({ name: replica }: { readonly name: string }): boolean =>
      wanted === undefined || replica === wanted || replica.startsWith(`${wanted}/`);
    const report = await repairDatabase({
      ...{ database, replicas, isTarget, now: io.now, signal: io.signal, retention: retentionPolicy(config) },
      ...{ verify: flags.verify ?? false, dryRun: flags.dryRun ?? false },
    });
    const unopened = sets.filter((_, at) => found[at]?.status === "rejected").map((set) => set.name);
    const unlisted = [...report.unlisted, ...unopened];
    reports.push({ ...report, unlisted, isWhole: report.isWhole && unlisted.length === 0 });
  }
  return reports;
}

/** The Go implementation's form names no database: there is one, and its replicas' paths are its roots. */
function chosenOf(names: readonly string[], config: Config): readonly string[] {
  if (names.length > 0) return names;
  const configured = config.databases.map(({ name }) => name);
  return config.isGoForm && configured.length === 0 ? ["database"] : configured;
}

function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
