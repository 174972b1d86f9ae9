// `pageferry doctor`: is everything there that backups and restores need? Before the first start, and when something is odd.

import { resolve } from "node:path";
import { type Config, counted, isPageferryError, parseDuration } from "@pageferry/format";
import type { CommandEnd, CommandSpec } from "../command.ts";
import { shadowDir } from "../data-dir.ts";
import { type Finding, failed, formatFindings, ok } from "../doctor/finding.ts";
import type { Io } from "../io.ts";
import { withFound } from "../many/open-lookers.ts";
import {
  commonOptions,
  loadRunSettings,
  queueOptions,
  type RunOptions,
  type RunSettings,
} from "../run-options.ts";

interface DoctorOptions extends RunOptions {
  /** Milliseconds. */
  readonly sample: number;
}

/** Long enough to see etcd's commits, which are a tenth of a second apart, and short enough to wait for. */
const sampleMsDefault = 3000;

/** The command. */
export const doctorCommand: CommandSpec<DoctorOptions> = {
  name: "doctor",
  summary: "look whether everything is there that backups and restores need, and say what to do",
  arguments: [
    { syntax: "[databases...]", description: "bolt database files (default: those of the configuration)" },
  ],
  options: [
    ...queueOptions,
    {
      flags: "--shadow <dir>",
      description: "where commits are kept until a replica has them (default DIR/shadow)",
    },
    { flags: "--restore", description: "as if restore.enabled were set" },
    {
      flags: "--sample <duration>",
      description: "how long commits are counted (default 3s)",
      parse: parseDuration,
    },
    ...commonOptions,
  ],
  examples: `
Examples:
  pageferry doctor /srv/app/app.db                             what \`up\` would need
  pageferry doctor --config /etc/pageferry.yml
  PAGEFERRY_TOKEN=… pageferry doctor app.db --host http://10.0.0.5:7373      with --host or --queue: what \`replicate\` would need
  pageferry doctor --json | jq '.findings[] | select(.level == "fail")'

It looks at the configuration, each database (format, freelist, how fast it commits, whether that can be followed), rights, clock, disk,
the host, and each replica, where it writes, reads, lists and deletes an object of its own. Nothing else is written, and no lock is taken:
it may run beside \`up\`. Ends with 0, or with 1 if something fails; every finding says what to do.`,
  async run(databases, options, io): Promise<CommandEnd | undefined> {
    const findings = await examine(databases, options, io);
    const isWell = findings.every(({ level }) => level !== "fail");
    io.out(options.json ? `${JSON.stringify({ ok: isWell, findings })}\n` : formatFindings(findings));
    return isWell ? undefined : { exitCode: 1 };
  },
};

async function examine(
  databases: readonly string[],
  options: Partial<DoctorOptions>,
  io: Io,
): Promise<readonly Finding[]> {
  let settings: RunSettings;
  try {
    const loaded = await loadRunSettings(databases, options, io);
    settings = { ...loaded, config: await withFound(loaded.config, loaded.dataDir, io) };
  } catch (error) {
    if (!isPageferryError(error)) throw error;
    // Nothing else can be looked at.
    return [failed("configuration", options.config ?? "configuration", error)];
  }
  const { config } = settings;
  const dataDir = resolve(settings.dataDir);
  const shadow = resolve(config.shadowDir ?? shadowDir(dataDir));
  const [{ lookAtSource }, { lookAtPlaces }, { lookAtHost }, { lookAtReplicas }] = await Promise.all([
    import("../doctor/source.ts"),
    import("../doctor/places.ts"),
    import("../doctor/host.ts"),
    import("../doctor/replicas.ts"),
  ]);
  const { signal } = io;
  const look = { config, shadowDir: shadow, signal, sampleMs: options.sample ?? sampleMsDefault };
  const [looked, host, replicas] = await Promise.all([
    Promise.all(config.databases.map((database) => lookAtSource(database, look))),
    lookAtHost({ config, dataDir, io }),
    lookAtReplicas({ config, dataDir, signal }),
  ]);
  const sizes = looked.map(({ bytes }) => bytes);
  return [
    ...configurationFindings(config),
    ...(await openFilesFindings(config.databases.length)),
    ...looked.flatMap(({ findings }) => findings),
    ...(await lookAtPlaces({ config, dataDir, shadowDir: shadow, sizes })),
    ...host,
    ...replicas,
  ];
}

/** The service may have another limit than the shell that asks. */
async function openFilesFindings(databases: number): Promise<Finding[]> {
  const { requireOpenFiles } = await import("@pageferry/agent");
  try {
    requireOpenFiles(databases);
    return [];
  } catch (error) {
    const { subject: _, ...finding } = failed("configuration", "databases", error);
    return [{ ...finding, level: "warn" }];
  }
}

function configurationFindings({ databases, queue, replicas, alarms }: Config): Finding[] {
  const side =
    queue === undefined ? counted(Math.max(1, replicas.length), "replica") : `sends to ${queue.url}`;
  const found = [ok("configuration", undefined, `${counted(databases.length, "database")}, ${side}`)];
  const isTold = alarms.webhooks.length > 0 || alarms.heartbeat !== undefined;
  if (isTold || databases.some(({ heartbeat }) => heartbeat !== undefined)) return found;
  return [
    ...found,
    {
      ...{ level: "note", area: "alarms" },
      says: "alarms go to standard error and to `status`, and to nobody who is not looking",
      todo: "Set alarms.webhooks or alarms.heartbeat (docs/monitoring.md).",
    },
  ];
}
