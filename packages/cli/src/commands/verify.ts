// `pageferry verify [DB…|FROM…]`: restores from each replica and checks what comes of it; through the host, from a configuration, or straight
// from replicas.

import { tmpdir } from "node:os";
import { resolve } from "node:path";
import { type Config, PageferryError, parseConfig, parseDatabaseName } from "@pageferry/format";
import type { Replica, VerifyReport } from "@pageferry/functions";
import { type CommandSpec, dataOption, jsonOption } from "../command.ts";
import { loadConfig } from "../config-file.ts";
import { defaultDataDir } from "../data-dir.ts";
import { createHostClient, hostToken } from "../host-client.ts";
import { hostOrigin } from "../host-origin.ts";
import type { Io } from "../io.ts";
import { failureOf, formatVerify, parseVerify } from "../verify-format.ts";

interface VerifyFlags {
  readonly replica: string;
  readonly chain: boolean;
  readonly full: boolean;
  readonly evidence: boolean;
  readonly scratch: string;
  readonly json: boolean;
  readonly data: string;
  readonly config: string;
  readonly host: string;
}

/** The command. */
export const verifyCommand: CommandSpec<VerifyFlags> = {
  name: "verify",
  summary: "restore from each replica into scratch, check what comes of it, and compare",
  arguments: [
    {
      syntax: "[db or from...]",
      description: "names of databases (default: all), or the replicas of one (paths or URLs)",
    },
  ],
  options: [
    { flags: "--replica <name>", description: "only this replica, as `status` names it" },
    {
      flags: "--chain",
      description: "read headers only: what is missing, swapped, rolled back, foreign, forked",
    },
    { flags: "--full", description: "the drill, the chain, and every object read to its end" },
    { flags: "--evidence", description: "without a host: write evidence into the replicas, as a host does" },
    {
      flags: "--scratch <dir>",
      description: "without a host: where databases are put together (default: the system's)",
    },
    { flags: "--config <file>", description: "verify the replicas of this configuration, without a host" },
    { flags: "--host <url>", description: "http://HOST:PORT (default: the host that runs on DIR)" },
    dataOption,
    jsonOption,
  ],
  examples: `
Examples:
  pageferry verify                                      all databases of the host that runs here
  pageferry verify --chain app                          headers only
  pageferry verify --full /mnt/backup/app               one replica, all of it, without a host
  pageferry verify s3://backups/app /mnt/backup/app     two of them, and compared
  pageferry verify --config pageferry.yml --json app

From each replica alone, the newest point and a random older one are restored, checked and removed again. FOUND: all equal.
LATE: sound, but more than a minute behind. LOST: something cannot be reached. CORRUPT: an object does not hold. FORK: two
states of one transaction. Nothing is written to replicas but, by a host or with --evidence, small documents in evidence/.

The exit code is 0 only where every replica is FOUND; else LATE 9, LOST 7, CORRUPT 4, FORK 5, by the worst of them.`,
  async run(args, flags, io) {
    if (flags.chain && flags.full)
      throw new PageferryError("bad-request", "--chain reads headers only, --full reads all: choose one");
    const reports = await reportsOf(args, flags, io);
    io.out(flags.json ? `${JSON.stringify(reports)}\n` : formatVerify(reports));
    const failure = failureOf(reports);
    if (failure !== undefined) throw failure;
  },
};

function reportsOf(args: readonly string[], flags: Partial<VerifyFlags>, io: Io): Promise<VerifyReport[]> {
  const froms = args.filter((arg) => /[/\\]/.test(arg) || arg === "." || arg === "..");
  if (froms.length > 0 && froms.length < args.length)
    throw new PageferryError("bad-request", "names of databases and places of replicas cannot be mixed", {
      hint: "A path has a slash: write ./name.",
    });
  if (froms.length > 0) return ofPlaces(froms, flags, io);
  return flags.config === undefined ? byHost(args, flags, io) : ofConfig(args, flags, io, flags.config);
}

async function byHost(
  names: readonly string[],
  flags: Partial<VerifyFlags>,
  io: Io,
): Promise<VerifyReport[]> {
  const { data = defaultDataDir, replica, chain = false, full = false } = flags;
  const origin = await hostOrigin(flags.host, data);
  const client = createHostClient(origin, await hostToken(origin, data, io));
  const query = new URLSearchParams();
  if (replica !== undefined) query.set("replica", replica);
  if (chain) query.set("chain", "true");
  if (full) query.set("full", "true");
  const reports: VerifyReport[] = [];
  for (const name of names.length > 0 ? names : await databasesOf(origin, client, io)) {
    const url = `${origin}/v1/databases/${parseDatabaseName(name)}/verify?${query}`;
    reports.push(parseVerify(await client.postJson(url, io.signal), url));
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

/** Each place is the root of one database's archive, whatever that is called. */
async function ofPlaces(
  froms: readonly string[],
  flags: Partial<VerifyFlags>,
  io: Io,
): Promise<VerifyReport[]> {
  const { createReplica, openStore } = await import("@pageferry/functions");
  await using opened = new AsyncDisposableStack();
  const replicas: Replica[] = [];
  for (const from of froms) {
    const [entry] = parseConfig({ replicas: [placeOf(from)] }, { env: io.env, source: "FROM" }).replicas;
    if (entry === undefined) throw new PageferryError("bad-request", "FROM: not a replica");
    replicas.push(createReplica(opened.use(await openStore(entry)), { root: "", ownsStore: false }));
  }
  const [first = ""] = froms;
  const database =
    first
      .replace(/[/\\]+$/, "")
      .split(/[/\\]/)
      .at(-1) ?? first;
  return [await verifyAlone(database, replicas, flags, io, {})];
}

function placeOf(from: string): string {
  return /^[a-z][a-z0-9+.-]*:\/\//i.test(from) ? from : resolve(from);
}

async function ofConfig(
  names: readonly string[],
  flags: Partial<VerifyFlags>,
  io: Io,
  path: string,
): Promise<VerifyReport[]> {
  const { config } = await loadConfig(io, path);
  const { openReplicaSet, retentionPolicy } = await import("@pageferry/functions");
  if (config.replicas.length === 0) throw new PageferryError("bad-config", `${path}: names no replica`);
  await using opened = new AsyncDisposableStack();
  const sets = await Promise.all(
    config.replicas.map((entry) => openReplicaSet(entry, { hasDatabases: !config.isGoForm })),
  );
  for (const set of sets) opened.use(set);
  const reports: VerifyReport[] = [];
  for (const name of chosenOf(names, config)) {
    const database = parseDatabaseName(name);
    const found = await Promise.allSettled(sets.map((set) => set.of(database)));
    const replicas = found.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
    const unopened = sets.filter((_, at) => found[at]?.status === "rejected").map((set) => set.name);
    const report = await verifyAlone(name, replicas, flags, io, { retention: retentionPolicy(config) });
    const unlisted = [...report.unlisted, ...unopened];
    reports.push({ ...report, unlisted, isSound: report.isSound && unlisted.length === 0 });
  }
  return reports;
}

async function verifyAlone(
  database: string,
  replicas: readonly Replica[],
  flags: Partial<VerifyFlags>,
  io: Io,
  more: {
    readonly retention?:
      | { readonly snapshotRetentionMs: number; readonly snapshotIntervalMs: number }
      | undefined;
  },
): Promise<VerifyReport> {
  const { verifyDatabase } = await import("@pageferry/functions");
  const { replica: wanted, chain, full, evidence = false, scratch = tmpdir() } = flags;
  const isTarget = ({ name }: Replica): boolean =>
    wanted === undefined || name === wanted || name.startsWith(`${wanted}/`);
  if (!replicas.some(isTarget) && wanted !== undefined) {
    const hint = `There are ${replicas.map(({ name }) => name).join(", ")}.`;
    throw new PageferryError("not-found", `replica ${wanted.slice(0, 200)} is not there`, { hint });
  }
  const depth = chain ? "chain" : full ? "full" : "drill";
  return await verifyDatabase({
    ...{ database, replicas, isTarget, depth, evidence, scratchDir: resolve(scratch), now: io.now },
    ...{ signal: io.signal, ...more },
  });
}

/** The Go implementation's form names no database: there is one, and its replicas' paths are its roots. */
function chosenOf(names: readonly string[], config: Config): readonly string[] {
  if (names.length > 0) return names;
  const configured = config.databases.map(({ name }) => name);
  return config.isGoForm && configured.length === 0 ? ["database"] : configured;
}
