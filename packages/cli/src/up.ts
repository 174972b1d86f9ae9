// The parts of `up`: a host and an agent over one data directory. `serve` is the one, `replicate` the other; `demo` is both.

import { rm } from "node:fs/promises";
import { hostname } from "node:os";
import { resolve } from "node:path";
import { type Agent, type AgentStatus, createAgent, type DatabaseStatus, type Queue } from "@pageferry/agent";
import { type Config, type DatabaseConfig, formatTxId, PageferryError } from "@pageferry/format";
import { writeFileDurable } from "@pageferry/format/node";
import type { Alarm as AgentAlarm, LocalHost } from "@pageferry/functions";
import { openQueue } from "./agent-queue.ts";
import { shadowDir, urlFile } from "./data-dir.ts";
import { promoteStandbys } from "./follow/promote.ts";
import { createHostClient } from "./host-client.ts";
import type { Io } from "./io.ts";
import { createLog, type ToldAlarm, tellAlarm, tellOver } from "./log.ts";
import type { MemberView } from "./many/fleet.ts";
import { type ManagedParts, type Preparation, prepareMany } from "./many/managing.ts";
import { withStageProgress } from "./progress.ts";
import { restoreOnStart } from "./restore-on-start.ts";
import {
  checkRestoreToken,
  openFromHost,
  openFromReplicas,
  readingHost,
  restoreToken,
} from "./restore-source.ts";

/** What to start with. */
export interface StartOptions {
  readonly config: Config;
  readonly dataDir: string;
  readonly io: Io;
  /** An application starts when this has: see `restoreOnStart`. Default false. */
  readonly isBeforeApplication?: boolean;
  /** Reads the configuration again: then databases may come and go. Absent: those of the start are all. */
  readonly load?: () => Promise<Config>;
  /** How long a stop may take before what is under way is left for the next start. Default 30 s. */
  readonly stopDeadlineMs?: number;
}

/** Something that runs until it is stopped. */
export interface Running {
  /** Takes nothing more, lets go what waits, and ends. What could not be let go in time is durable, and goes on at the next start. */
  stop(deadlineMs?: number): Promise<void>;
}

/** An agent that sends to a host elsewhere. */
export interface RunningAgent extends Running {
  readonly queue: Queue;
  status(): AgentStatus;
  /** The databases that it has, and where each comes from. */
  members(): readonly MemberView[];
}

/** A host, with or without an agent beside it. */
export interface RunningHost extends Running {
  readonly url: string;
  readonly host: LocalHost;
}

/** A host with its agent. */
export type RunningBoth = RunningHost & Pick<RunningAgent, "members">;

const defaultStopDeadlineMs = 30_000;

/** What is left of a stop for a host whose agent took all of it. */
const hostStopMsMin = 1000;

/** Starts agent and host in this process. Errors: `locked`, `bad-config`, what reading the token throws. */
export async function startUp(options: StartOptions): Promise<RunningBoth> {
  const many = await prepareMany(options);
  const running = await startHost({ ...options, config: many.known }).catch((error: unknown) => {
    many[Symbol.dispose]();
    throw error;
  });
  try {
    const { queue, token } = running.host;
    await promoteStandbys(restoreParts(options));
    const open = (one: DatabaseConfig) => openFromReplicas(one, options);
    await restoreOnStart({ ...restoreParts(options), queue, open, found: many.found });
    const reader = async () => createHostClient(running.url, token);
    const agent = await startAgent(options, { queue, teller: hostTells(running.host), many, reader });
    return {
      ...{ ...running, members: agent.members },
      async stop(deadlineMs = options.stopDeadlineMs ?? defaultStopDeadlineMs) {
        const endMs = performance.now() + deadlineMs;
        await agent.stop(deadlineMs);
        await running.stop(Math.max(hostStopMsMin, endMs - performance.now()));
      },
    };
  } catch (error) {
    many[Symbol.dispose]();
    await running.stop();
    throw error;
  }
}

/** Starts a host alone. */
export async function startHost(options: StartOptions): Promise<RunningHost> {
  const { config, dataDir, io } = options;
  const directory = resolve(dataDir);
  const { localHost } = await import("@pageferry/functions");
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
    async stop(deadlineMs = options.stopDeadlineMs ?? defaultStopDeadlineMs) {
      await rm(urlFile(directory), { force: true });
      await host.close({ deadlineMs });
    },
  };
}

/** A new token is shown to a person; where standard error is a log, it must not stand in it. */
function tellToken(io: Io, token: string, path: string): void {
  io.err(`token: ${io.isTerminal ? `${token}, kept in ${path}` : `a new one is in ${path}`}\n`);
}

/** Starts an agent that sends to the host of the configuration. Errors: `bad-config` without one. */
export async function startReplicate(options: StartOptions): Promise<RunningAgent> {
  const { config } = options;
  if (config.queue === undefined) {
    throw new PageferryError("bad-config", "no host to send to", {
      hint: "Name it with --host http://HOST:7373, an SQS queue with --queue, or as `queue` in the configuration.",
    });
  }
  await checkRestoreToken(options);
  const queue = await openQueue(config.queue, options);
  const many = await prepareMany(options);
  let teller: Teller & Running;
  try {
    await promoteStandbys(restoreParts(options));
    const open = (one: DatabaseConfig) => openFromHost(one, options);
    await restoreOnStart({ ...restoreParts(options), queue, open, found: many.found });
    teller = await webhooksTell(options);
  } catch (error) {
    many[Symbol.dispose]();
    throw error;
  }
  const reader = async () => {
    const token = await restoreToken(options);
    return token === undefined ? undefined : createHostClient(readingHost(config), token);
  };
  const agent = await startAgent(options, { queue, teller, many, reader });
  return {
    ...agent,
    async stop(deadlineMs) {
      await agent.stop(deadlineMs);
      await teller.stop();
    },
  };
}

function restoreParts({ config, dataDir, io, isBeforeApplication = false }: StartOptions) {
  return { config, io, isBeforeApplication, shadowDir: shadowOf(config, dataDir) };
}

function shadowOf(config: Config, dataDir: string): string {
  return resolve(config.shadowDir ?? shadowDir(dataDir));
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

/** An agent alone has its own webhooks. Without any nothing of the host's side is loaded: an agent is to be small. */
async function webhooksTell({ config, io }: StartOptions): Promise<Teller & Running> {
  const told = {
    raised: (alarm: AgentAlarm) => tellAlarm(io, alarm),
    cleared: (alarm: AgentAlarm) => tellOver(io, alarm),
  };
  if (config.alarms.webhooks.length === 0) return { ...told, async stop() {} };
  const { createAlarmSinks } = await import("@pageferry/functions");
  const sinks = createAlarmSinks({
    ...config.alarms,
    ...{ host: hostname(), random: Math.random },
    onTrouble: (message) => message !== undefined && createLog(io).warn({}, `webhook: ${message}`),
  });
  return {
    raised(alarm) {
      told.raised(alarm);
      sinks.raised(alarm);
    },
    cleared(alarm) {
      told.cleared(alarm);
      sinks.cleared(alarm);
    },
    stop: sinks.stop,
  };
}

interface AgentParts extends Pick<ManagedParts, "reader"> {
  readonly queue: Queue;
  readonly teller: Teller;
  readonly many: Preparation;
}

async function startAgent(
  { config, dataDir, io, stopDeadlineMs = defaultStopDeadlineMs }: StartOptions,
  { queue, teller, many, reader }: AgentParts,
): Promise<RunningAgent> {
  const agent: Agent = createAgent({
    ...many.first,
    queue: withStageProgress(queue, io),
    shadowDir: shadowOf(config, dataDir),
    logger: createLog(io),
    now: io.now,
  });
  const letGo = tellAlarmsOf(agent, teller);
  try {
    await agent.start();
  } catch (error) {
    many[Symbol.dispose]();
    throw error;
  }
  const stopAgent = async (deadlineMs: number) => {
    await agent.stop({ deadlineMs });
    for (const status of agent.status().databases) tellUnsent(io, status);
  };
  try {
    const shadow = shadowOf(config, dataDir);
    const managed = await many.manage({
      agent,
      queue,
      shadowDir: shadow,
      teller: { ...teller, letGo },
      reader,
    });
    return {
      ...{ queue, status: agent.status, members: managed.members },
      async stop(deadlineMs = stopDeadlineMs) {
        await managed.stop();
        await stopAgent(deadlineMs);
      },
    };
  } catch (error) {
    many[Symbol.dispose]();
    await stopAgent(stopDeadlineMs);
    throw error;
  }
}

/** Tells of what the databases raise; gives what to call when one is let go, for nobody looks then whether what stands is over. */
function tellAlarmsOf(agent: Agent, teller: Teller): (database: string) => void {
  const told = new Map<string, AgentAlarm>();
  const keyOf = (database: string, code: string) => `${database}\n${code}`;
  const clear = (database: string, alarm: AgentAlarm) => {
    told.delete(keyOf(database, alarm.code));
    teller.cleared(alarm);
  };
  agent.on("alarm", ({ database, alarm }) => {
    told.set(keyOf(database, alarm.code), { ...alarm, database });
    teller.raised({ ...alarm, database });
  });
  agent.on("cleared", ({ database, alarm }) => {
    // Two parts of it may tell the same.
    const standing = agent.status().databases.find(({ name }) => name === database)?.alarms ?? [];
    if (!standing.some(({ code }) => code === alarm.code)) clear(database, { ...alarm, database });
  });
  return (database) => {
    for (const alarm of told.values()) if (alarm.database === database) clear(database, alarm);
  };
}

/** What a deadline cut off is not lost, and not yet elsewhere. */
function tellUnsent(io: Io, { name, shadowedTxId, acknowledgedTxId }: DatabaseStatus): void {
  if (shadowedTxId === null || shadowedTxId <= (acknowledgedTxId ?? -1n)) return;
  const reached = acknowledgedTxId === null ? "nothing" : `up to ${formatTxId(acknowledgedTxId)}`;
  io.err(
    `note: ${name}: captured up to ${formatTxId(shadowedTxId)}, the host has ${reached}; the rest is in the shadow, and is sent at the next start\n`,
  );
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
