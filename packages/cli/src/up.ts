// The parts of `up`: a host and an agent over one data directory. `serve` is the one, `replicate` the other; `demo` is both.

import { rm } from "node:fs/promises";
import { hostname } from "node:os";
import { resolve } from "node:path";
import { type Agent, createAgent, createQueue, type Queue } from "@pageferry/agent";
import { type Config, PageferryError, parseQueueUrl, type QueueConfig } from "@pageferry/format";
import { writeFileDurable } from "@pageferry/format/node";
import { type Alarm as AgentAlarm, createAlarmSinks, type LocalHost, localHost } from "@pageferry/functions";
import { shadowDir, urlFile } from "./data-dir.ts";
import { hostToken } from "./host-client.ts";
import type { Io } from "./io.ts";
import { createLog, type ToldAlarm, tellAlarm, tellOver } from "./log.ts";
import { withStageProgress } from "./progress.ts";
import { restoreMissing } from "./restore-on-start.ts";

/** What to start with. */
export interface StartOptions {
  readonly config: Config;
  readonly dataDir: string;
  readonly io: Io;
}

/** Something that runs until it is stopped. */
export interface Running {
  /** Takes nothing more, lets go what waits, and ends. What could not be let go in time is durable, and goes on at the next start. */
  stop(): Promise<void>;
}

/** A host, with or without an agent beside it. */
export interface RunningHost extends Running {
  readonly url: string;
  readonly host: LocalHost;
}

/** How long a stop may take before what is under way is left for the next start. */
const stopDeadlineMs = 30_000;

/** Starts agent and host in this process. Errors: `locked`, `bad-config`, what reading the token throws. */
export async function startUp(options: StartOptions): Promise<RunningHost> {
  const { config, dataDir, io } = options;
  const running = await startHost(options);
  try {
    const restored = await restoreMissing(config, dataDir, io);
    const agent = await startAgent(options, running.host.queue, restored, hostTells(running.host));
    return {
      ...running,
      async stop() {
        await agent.stop();
        await running.stop();
      },
    };
  } catch (error) {
    await running.stop();
    throw error;
  }
}

/** Starts a host alone. */
export async function startHost({ config, dataDir, io }: StartOptions): Promise<RunningHost> {
  const directory = resolve(dataDir);
  const host = await localHost(
    { ...config, dataDir: directory },
    { env: io.env, hasDatabases: !config.isGoForm, logger: alarmLogger(io), now: io.now },
  );
  const url = host.url ?? "";
  if (host.madeTokenFile !== undefined) tellToken(io, host.token, host.madeTokenFile);
  await writeFileDurable(urlFile(directory), Buffer.from(`${url}\n`), { overwrite: true });
  return {
    url,
    host,
    async stop() {
      await rm(urlFile(directory), { force: true });
      await host.close({ deadlineMs: stopDeadlineMs });
    },
  };
}

/** A new token is shown to a person; where standard error is a log, it must not stand in it. */
function tellToken(io: Io, token: string, path: string): void {
  io.err(`token: ${io.isTerminal ? `${token}, kept in ${path}` : `a new one is in ${path}`}\n`);
}

/** Starts an agent that sends to the host of the configuration. Errors: `bad-config` without one. */
export async function startReplicate(options: StartOptions): Promise<Running> {
  const { config } = options;
  if (config.queue === undefined) {
    throw new PageferryError("bad-config", "no host to send to", {
      hint: "Name it with --host http://HOST:7373, an SQS queue with --queue, or as `queue` in the configuration.",
    });
  }
  if (config.restore.enabled) {
    throw new PageferryError("bad-config", "restore.enabled: an agent cannot read backups", {
      hint: "Restore with `pageferry restore` before the agent starts, or run `up`.",
    });
  }
  const queue = await openQueue(config, config.queue, options);
  const teller = webhooksTell(options);
  const agent = await startAgent(options, queue, new Set(), teller);
  return {
    async stop() {
      await agent.stop();
      await teller.stop();
    },
  };
}

/** The most that a message waits for those of other databases, ms: requests are what SQS costs. */
const gatherMsMax = 250;

async function openQueue(config: Config, queue: QueueConfig, { dataDir, io }: StartOptions): Promise<Queue> {
  // At SQS the token is the API's alone.
  const tokenFor = parseQueueUrl(queue.url) === undefined ? queue.url : queue.api;
  const token = queue.token ?? (tokenFor === undefined ? undefined : await hostToken(tokenFor, dataDir, io));
  // One database has nobody to wait for; several may wait for a part of what commits wait anyway.
  const gatherMs = config.databases.length > 1 ? Math.min(gatherMsMax, config.syncIntervalMs / 4) : 0;
  return createQueue({ ...queue, ...(token === undefined ? {} : { token }), gatherMs, now: io.now });
}

/** Who tells of an agent's alarms. */
interface Teller {
  raised(alarm: AgentAlarm): void;
  cleared(alarm: AgentAlarm): void;
}

/** Beside a host they are the host's: in its status, its metrics and its webhooks, and in the way of a heartbeat. */
function hostTells(host: LocalHost): Teller {
  return { raised: host.raise, cleared: host.clear };
}

/** An agent alone has its own webhooks. */
function webhooksTell({ config, io }: StartOptions): Teller & Running {
  const sinks = createAlarmSinks({
    ...config.alarms,
    ...{ host: hostname(), random: Math.random },
    onTrouble: (message) => message !== undefined && createLog(io).warn({}, `webhook: ${message}`),
  });
  return {
    raised(alarm) {
      tellAlarm(io, alarm);
      sinks.raised(alarm);
    },
    cleared(alarm) {
      tellOver(io, alarm);
      sinks.cleared(alarm);
    },
    stop: sinks.stop,
  };
}

async function startAgent(
  { config, dataDir, io }: StartOptions,
  queue: Queue,
  restored: ReadonlySet<string>,
  teller: Teller,
): Promise<Running> {
  const agent: Agent = createAgent({
    ...config,
    databases: config.databases.map((database) => ({ ...database, isRestored: restored.has(database.name) })),
    queue: withStageProgress(queue, io),
    shadowDir: resolve(config.shadowDir ?? shadowDir(dataDir)),
    logger: createLog(io),
    now: io.now,
  });
  agent.on("alarm", ({ database, alarm }) => teller.raised({ ...alarm, database }));
  agent.on("cleared", ({ database, alarm }) => {
    // Two parts of it may tell the same.
    const standing = agent.status().databases.find(({ name }) => name === database)?.alarms ?? [];
    if (!standing.some(({ code }) => code === alarm.code)) teller.cleared({ ...alarm, database });
  });
  await agent.start();
  return { stop: () => agent.stop({ deadlineMs: stopDeadlineMs }) };
}

/** The host logs its alarms; people get them as lines, like the agent's. */
function alarmLogger(io: Io) {
  const log = createLog(io);
  const told = (fields: object) => (fields as { readonly alarm?: ToldAlarm }).alarm;
  return {
    ...log,
    info(fields: object, message: string) {
      const alarm = told(fields);
      if (alarm !== undefined) tellOver(io, { ...alarm, message: message.replace(/^over: /, "") });
      else log.info(fields, message);
    },
    warn(fields: object, message: string) {
      const alarm = told(fields);
      if (alarm !== undefined) tellAlarm(io, { ...alarm, message });
      else log.warn(fields, message);
    },
  };
}
