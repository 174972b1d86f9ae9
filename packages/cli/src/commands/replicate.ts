// `pageferry replicate DB…`: the agent alone. It sends to a host elsewhere, and can neither read nor delete a backup.

import { PageferryError, parseDuration } from "@pageferry/format";
import { catchUp, caughtUpJson, formatCaughtUp } from "../catch-up.ts";
import type { CommandSpec } from "../command.ts";
import { createHostClient } from "../host-client.ts";
import { allOf, databaseWords } from "../many/database-words.ts";
import { readingHost, restoreToken } from "../restore-source.ts";
import {
  agentOptions,
  commonOptions,
  loaderOf,
  loadRunSettings,
  queueOptions,
  type RunOptions,
  requireDatabases,
  startOptions,
} from "../run-options.ts";
import { say, untilOver } from "../until-terminated.ts";
import type { RunningAgent, StartOptions } from "../up.ts";

interface ReplicateOptions extends RunOptions {
  readonly once: boolean;
  readonly wait: boolean;
  /** Milliseconds. */
  readonly timeout: number;
}

const timeoutMsDefault = 10 * 60_000;

/** The command. */
export const replicateCommand: CommandSpec<ReplicateOptions> = {
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
    { flags: "--once", description: "catch up, and end when the host has acknowledged it" },
    { flags: "--wait", description: "with --once: and when replicas have it" },
    {
      flags: "--timeout <duration>",
      description: "with --once: how long at most (default 10m)",
      parse: parseDuration,
    },
    ...commonOptions,
  ],
  examples: `
Examples:
  PAGEFERRY_TOKEN=… pageferry replicate app.db --host http://10.0.0.5:7373
  pageferry replicate app.db --queue 'sqs://123456789012/backup?region=eu-west-1' --staging s3://backup-stage
  pageferry replicate --config pageferry.yml

  pageferry replicate --config pageferry.yml --restore --exec "app --db app.db"   restores, runs it, flushes, ends as it ended
  pageferry replicate --once --wait app.db --host http://10.0.0.5:7373     for cron, or before a machine is switched off

With --queue AWS's credentials come by its default chain, such as the machine's role; PAGEFERRY_TOKEN is for --api.
Everything is kept in the shadow first: a host that is away for hours loses nothing. SIGTERM drains and ends with 0;
SIGHUP reads the configuration again.
--exec runs a program without a shell, with this process's streams; it gets no token. Restores take PAGEFERRY_RESTORE_TOKEN.
--once reaches what the database held when it was looked at, not what is committed meanwhile. --wait is content with one replica; with
PAGEFERRY_RESTORE_TOKEN it sees all of them, and waits for each. Ends with 0, or with 11 when the time is over.`,
  async run(databases, options, io) {
    const { config, dataDir } = await loadRunSettings(databases, options, io);
    requireDatabases(config, "replicate");
    refuseContradiction(options);
    const { startReplicate } = await import("../up.ts");
    const load = options.once ? {} : { load: loaderOf(databases, options, { io, command: "replicate" }) };
    const agent = await startReplicate({ config, dataDir, io, ...load, ...startOptions(options) });
    try {
      if (options.once) return await reachOnce(agent, options, { config, dataDir, io });
      const host = config.queue?.url;
      const json = `${JSON.stringify({ host, databases: allOf(config, agent.members()) })}\n`;
      say(
        io,
        options,
        options.json ? json : `ready: sending ${databaseWords(config, agent.members())} to ${host}\n`,
      );
      return await untilOver(options, io);
    } finally {
      await agent.stop();
    }
  },
};

function refuseContradiction({ once, wait, timeout, exec }: Partial<ReplicateOptions>): void {
  if (once && exec !== undefined)
    throw new PageferryError(
      "bad-request",
      "--once and --exec: the one ends by itself, the other with its command",
    );
  if (!once && (wait || timeout !== undefined))
    throw new PageferryError("bad-request", `--${wait ? "wait" : "timeout"} is for --once`);
}

async function reachOnce(
  { status, queue }: RunningAgent,
  { wait = false, timeout = timeoutMsDefault, json }: Partial<ReplicateOptions>,
  place: StartOptions,
): Promise<undefined> {
  const { config, io } = place;
  const token = wait ? await restoreToken(place) : undefined;
  const caught = await catchUp({
    ...{ status, queue, isStoredToo: wait, timeoutMs: timeout, signal: io.signal },
    reader: token === undefined ? undefined : createHostClient(readingHost(config), token),
  });
  io.out(json ? caughtUpJson(caught) : formatCaughtUp(caught));
}
