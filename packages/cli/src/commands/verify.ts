// `pageferry verify [DB…|FROM…]`: restores from each replica and checks what comes of it; through the host, from a configuration, or straight
// from replicas.

import { tmpdir } from "node:os";
import { resolve } from "node:path";
import { PageferryError, parseConfig } from "@pageferry/format";
import type { Replica, RetentionPolicy } from "@pageferry/functions";
import { type VerifyReportJson, verifyRoute } from "@pageferry/functions/routes";
import { type CommandSpec, jsonOption } from "../command.ts";
import { asFlag } from "../host-call.ts";
import type { Io } from "../io.ts";
import { callEach, openHostWork, openReplicaWork, type WorkFlags, workOptions } from "../upkeep-work.ts";
import { failureOf, formatVerify } from "../verify-format.ts";

interface VerifyFlags extends WorkFlags {
  readonly replica: string;
  readonly chain: boolean;
  readonly full: boolean;
  readonly evidence: boolean;
  readonly scratch: string;
  readonly json: boolean;
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
    ...workOptions,
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

function reportsOf(
  args: readonly string[],
  flags: Partial<VerifyFlags>,
  io: Io,
): Promise<VerifyReportJson[]> {
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
): Promise<VerifyReportJson[]> {
  const { replica, chain = false, full = false } = flags;
  const query = { replica, chain: asFlag(chain), full: asFlag(full) };
  const work = await openHostWork(names, flags, io);
  return callEach(work, verifyRoute, query, io);
}

/** Each place is the root of one database's archive, whatever that is called. */
async function ofPlaces(
  froms: readonly string[],
  flags: Partial<VerifyFlags>,
  io: Io,
): Promise<VerifyReportJson[]> {
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
): Promise<VerifyReportJson[]> {
  const { retentionPolicy } = await import("@pageferry/functions");
  await using opened = await openReplicaWork(names, path, flags.replica, io);
  const retention = retentionPolicy(opened.config);
  const reports: VerifyReportJson[] = [];
  for (const { database, replicas, unopened } of opened.works) {
    const report = await verifyAlone(database, replicas, flags, io, { retention });
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
    readonly retention?: RetentionPolicy | undefined;
  },
): Promise<VerifyReportJson> {
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
