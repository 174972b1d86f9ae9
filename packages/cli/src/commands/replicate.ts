// `pageferry replicate DB…`: the agent alone. It sends to a host elsewhere, and can neither read nor delete a backup.

import type { CommandSpec } from "../command.ts";
import {
  agentOptions,
  commonOptions,
  loadRunSettings,
  type RunOptions,
  requireDatabases,
  startOptions,
} from "../run-options.ts";
import { say, untilOver } from "../until-terminated.ts";

/** The command. */
export const replicateCommand: CommandSpec<RunOptions> = {
  name: "replicate",
  summary: "send the commits of databases to a host",
  arguments: [
    { syntax: "[databases...]", description: "bolt database files (default: those of the configuration)" },
  ],
  options: [
    { flags: "--host <url>", description: "the host, as `pageferry serve` prints it" },
    {
      flags: "--shadow <dir>",
      description: "where commits are kept until a replica has them (default DIR/shadow)",
    },
    ...agentOptions,
    ...commonOptions,
  ],
  examples: `
Examples:
  PAGEFERRY_TOKEN=… pageferry replicate app.db --host http://10.0.0.5:7373
  pageferry replicate --config pageferry.yml

  pageferry replicate --config pageferry.yml --restore --exec "app --db app.db"   restores, runs it, flushes, ends as it ended

Everything is kept in the shadow first: a host that is away for hours loses nothing. SIGTERM drains and ends with 0.
--exec runs a program without a shell, with this process's streams; it gets no token. Restores take PAGEFERRY_RESTORE_TOKEN.`,
  async run(databases, options, io) {
    const { config, dataDir } = await loadRunSettings(databases, options, io);
    requireDatabases(config, "replicate");
    const { startReplicate } = await import("../up.ts");
    const agent = await startReplicate({ config, dataDir, io, ...startOptions(options) });
    try {
      const names = config.databases.map(({ name, path }) => `${name} (${path})`).join(", ");
      const { databases, queue } = config;
      const json = `${JSON.stringify({ host: queue?.url, databases })}\n`;
      say(io, options, options.json ? json : `ready: sending ${names} to ${queue?.url}\n`);
      return await untilOver(options, io);
    } finally {
      await agent.stop();
    }
  },
};
