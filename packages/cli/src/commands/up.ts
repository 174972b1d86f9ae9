// `pageferry up DB…`: agent and host in one process; the main job.

import { type Config, replicaLabel } from "@pageferry/format";
import type { CommandSpec } from "../command.ts";
import { replicaDir } from "../data-dir.ts";
import type { Io } from "../io.ts";
import { allOf, databaseWords } from "../many/database-words.ts";
import {
  agentOptions,
  commonOptions,
  hostOptions,
  loaderOf,
  loadRunSettings,
  type RunOptions,
  requireDatabases,
  startOptions,
} from "../run-options.ts";
import { isOnSameDisk } from "../same-disk.ts";
import { say, untilOver } from "../until-terminated.ts";
import type { RunningBoth, RunningHost } from "../up.ts";

/** The command. */
export const upCommand: CommandSpec<RunOptions> = {
  name: "up",
  summary: "back up databases, for as long as this runs",
  arguments: [
    { syntax: "[databases...]", description: "bolt database files (default: those of the configuration)" },
  ],
  options: [...hostOptions, ...agentOptions, ...commonOptions],
  examples: `
Examples:
  pageferry up path/to/app.db
  pageferry up --sync-interval 250ms --granularity transaction app.db other.db
  pageferry up --config pageferry.yml
  pageferry up app.db --restore --exec "app --db app.db"     brings app.db back if it is lost, runs app, ends as it ended

The archive of app.db is in DIR/replica/app unless replicas are configured. The application needs no change and is never
locked out. SIGTERM drains and ends with 0, SIGHUP reads the configuration again; with --exec both go to the application, and its end is the end
(\`pageferry reload\` reads the configuration). Alarms come on standard error; PAGEFERRY_LOG=info adds logs.`,
  async run(databases, options, io) {
    const { config, dataDir } = await loadRunSettings(databases, options, io);
    requireDatabases(config, "up");
    const { startUp } = await import("../up.ts");
    const load = loaderOf(databases, options, { io, command: "up" });
    const up = await startUp({ config, dataDir, io, load, ...startOptions(options) });
    try {
      say(io, options, readyWords(up, { config, dataDir, json: options.json === true }));
      tellSignIn(io, up);
      if (await isOnSameDisk(config, dataDir)) {
        io.err(
          "note: same disk: not off-host yet. Configure a replica elsewhere (docs/operations.md#configuration).\n",
        );
        up.host.setCaution(sameDisk);
      }
      return await untilOver(options, io);
    } finally {
      await up.stop();
    }
  },
};

/** What the page says of it. */
const sameDisk = {
  sentence: "Everything is stored, but not off this machine yet.",
  because: "Every replica is on the disk of a database: it survives the application, not the disk.",
  todo: "Configure a replica elsewhere: docs/operations.md#configuration.",
};

/** A link that signs in at the page once is shown to a person on this machine; it must not stand in a log. */
function tellSignIn(io: Io, { url, host }: RunningHost): void {
  if (!io.isTerminal || !isLoopback(url)) return;
  io.err(`page: ${url}/sign-in?code=${host.makeSignInCode()} (signs in once, within ten minutes)\n`);
}

function isLoopback(url: string): boolean {
  return /^http:\/\/(?:127\.\d+\.\d+\.\d+|localhost|\[::1\]):/.test(url);
}

function readyWords(
  { url, members }: RunningBoth,
  { config, dataDir, json }: { readonly config: Config; readonly dataDir: string; readonly json: boolean },
): string {
  const { databases } = config;
  const replicas = config.replicas.length === 0 ? [replicaDir(dataDir)] : config.replicas.map(replicaLabel);
  if (json) return `${JSON.stringify({ url, databases: allOf(config, members()), replicas })}\n`;
  const [only] = databases;
  // What `restore` takes, so that it can be copied.
  const places =
    config.replicas.length === 0 && databases.length === 1 && config.directories.length === 0
      ? replicas.map((path) => `${path}/${only?.name}`)
      : replicas;
  return `ready at ${url}: backing up ${databaseWords(config, members())} to ${places.join(", ")}\n`;
}
