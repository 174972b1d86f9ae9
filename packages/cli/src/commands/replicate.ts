// `pageferry replicate DB…`: the agent alone. It sends to a host elsewhere, and can neither read nor delete a backup.

import type { CommandSpec } from "../command.ts";
import {
  agentOptions,
  commonOptions,
  loadRunSettings,
  queueOptions,
  type RunOptions,
  requireDatabases,
} from "../run-options.ts";
import { untilTerminated } from "../until-terminated.ts";

/** The command. */
export const replicateCommand: CommandSpec<RunOptions> = {
  name: "replicate",
  summary: "send the commits of databases to a host or to an SQS queue",
  arguments: [
    { syntax: "[databases...]", description: "bolt database files (default: those of the configuration)" },
  ],
  options: [
    ...queueOptions,
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
  pageferry replicate app.db --queue 'sqs://123456789012/backup?region=eu-west-1' --staging s3://backup-stage
  pageferry replicate --config pageferry.yml

With --queue AWS's credentials come by its default chain, such as the machine's role; PAGEFERRY_TOKEN is for --api.
Everything is kept in the shadow first: a host that is away for hours loses nothing. SIGTERM drains and ends with 0.`,
  async run(databases, options, io) {
    const { config, dataDir } = await loadRunSettings(databases, options, io);
    requireDatabases(config, "replicate");
    const { startReplicate } = await import("../up.ts");
    const agent = await startReplicate({ config, dataDir, io });
    try {
      const names = config.databases.map(({ name, path }) => `${name} (${path})`).join(", ");
      if (options.json)
        io.out(`${JSON.stringify({ host: config.queue?.url, databases: config.databases })}\n`);
      else io.out(`ready: sending ${names} to ${config.queue?.url}\n`);
      await untilTerminated(io);
    } finally {
      await agent.stop();
    }
  },
};
