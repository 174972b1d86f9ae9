// The seed's controller for Node: one database that tells its commits, one agent that keeps them. What the agent does with them is
// what it does with those of any other source.
import { basename, dirname, extname, join, resolve } from "node:path";
import { type Config, PageferryError } from "@pageferry/format";
import { type Agent, type AgentOptions, createAgent, type StopOptions } from "../agent.ts";
import type { AgentEvents, AgentListener } from "../agent-events.ts";
import type { DatabaseStatus } from "../database-status.ts";
import type { Logger } from "../logger.ts";
import type { Queue } from "../queue.ts";
import { createHttpQueue } from "../queues/http.ts";
import type { ObservedDatabase } from "./observed-database.ts";
import { type ObserverSource, type ObserverStatus, openObserverSource } from "./observer-source.ts";
import type { ObserverTimes } from "./observer-state.ts";
import type { PageFlushInfo, PageFlushObserver } from "./page-flush.ts";

/**
 * The configuration of an observer: the seed's keys, and all others. What belongs to the host (`retention`, `replicas`, …) is read
 * by the host; `restore` is read by `restoreStandalone(config)`, before the database is opened.
 */
export type ObserverConfig = Partial<Config>;

/** What an observer needs besides its configuration. */
export interface ObserverOptions {
  /** Where envelopes go: `(await localHost(config)).queue`, or `createHttpQueue`. Default: the configuration's `queue`. */
  readonly queue?: Queue;
  /** The database was restored since it was last backed up: a new generation begins. */
  readonly isRestored?: boolean;
  /** This machine's name, for `generation.json`. Default: the host name. */
  readonly host?: string;
  /** pino, or anything like it. Default: silent. */
  readonly logger?: Logger;
  /** Milliseconds since the epoch. */
  readonly now?: () => number;
  /** For tests. */
  readonly times?: Partial<ObserverTimes>;
}

/** A controller's options: the configuration, and what else an observer needs. */
export interface ControllerOptions extends ObserverOptions {
  readonly config: ObserverConfig;
}

/** What a controller knows. */
export interface ControllerStatus extends DatabaseStatus {
  /** Calls of `onPageFlush`, and what became of them. */
  readonly observer: ObserverStatus;
}

/** One observed database. Disposing of it closes it with the default deadline. */
export interface Controller extends PageFlushObserver, AsyncDisposable {
  /** Begins: looks at the database, and captures what it is told from now on. Throws `locked` when another agent has it. */
  start(): Promise<void>;
  /**
   * Takes a copy of a committed transaction and returns at once. Calls may come concurrently, late, in any order and more than once.
   * Never throws: what goes wrong is an `alarm` event, and counted in `status().observer`.
   */
  onPageFlush(info: PageFlushInfo): void;
  /** Age of the oldest transaction that was told and is not durable at the host, ms; 0 when all are. */
  dataLossWindow(): number;
  /** `undefined` before it was started. */
  status(): ControllerStatus | undefined;
  /** Listens to an event until the returned function is called. */
  on<Name extends keyof AgentEvents>(name: Name, listener: AgentListener<Name>): () => void;
  /** Sends what was told, and ends; what the deadline cuts off is in the shadow. Calling it twice is nothing. */
  close(options?: StopOptions): Promise<void>;
}

/**
 * Makes the controller of a database. Throws `bad-config` without a queue, `bad-name` for a name that is none.
 *
 * ```ts
 * await using controller = createController(db, { config, queue: host.queue });
 * await controller.start();
 * db.onCommit((info) => controller.onPageFlush(info));
 * ```
 */
export function createController(db: ObservedDatabase, options: ControllerOptions): Controller {
  let source: ObserverSource | undefined;
  const { now = Date.now } = options;
  const agent = createAgent({
    ...agentOptions(db, options),
    openSource(opened) {
      source = openObserverSource({
        ...opened,
        database: db,
        onLook(reason) {
          const fields = { database: db.path, reason };
          if (reason === "start") options.logger?.info(fields, "the observed database is looked at");
          else options.logger?.warn(fields, "what was told does not lead on; the database is looked at");
        },
        ...(options.times === undefined ? {} : { times: options.times }),
      });
      return source;
    },
  });
  const close = (stop?: StopOptions): Promise<void> => agent.stop(stop);
  return {
    start: () => agent.start(),
    // Before the first look nothing is missed: it finds what was committed until then.
    onPageFlush: (info) => source?.flush(info),
    dataLossWindow() {
      const oldestMs = source?.oldestMs();
      const waitingMs = oldestMs === undefined ? 0 : now() - oldestMs;
      return Math.max(0, waitingMs, agent.status().databases[0]?.lagMs ?? 0);
    },
    status: () => statusOf(agent, source),
    on: agent.on,
    close,
    [Symbol.asyncDispose]: () => close(),
  };
}

function statusOf(agent: Agent, source: ObserverSource | undefined): ControllerStatus | undefined {
  const [database] = agent.status().databases;
  return database && source && { ...database, observer: source.status() };
}

function agentOptions(db: ObservedDatabase, options: ControllerOptions): AgentOptions {
  const { config, host, logger, now } = options;
  const { shadowDir, syncIntervalMs, granularity, snapshotIntervalMs, compression } = config;
  const { shadowBytesMax, shadowPolicy } = config;
  const { maxReadRate, baseDeadlineMs, dataLossWindowThresholdMs } = config;
  const directory = config.dataDir === undefined ? undefined : join(config.dataDir, "shadow");
  const given = {
    ...{ syncIntervalMs, granularity, snapshotIntervalMs, compression, shadowBytesMax },
    shadowPolicy,
    ...{ maxReadRate, baseDeadlineMs, dataLossWindowThresholdMs, host, logger, now },
  };
  return {
    ...(Object.fromEntries(
      Object.entries(given).filter(([, value]) => value !== undefined),
    ) as Partial<AgentOptions>),
    databases: [
      {
        path: db.path,
        name: nameOf(db, config),
        isRestored: options.isRestored ?? false,
        sourceKind: "observer",
      },
    ],
    queue: queueOf(options),
    // The seed's own default.
    shadowDir: shadowDir ?? directory ?? join(dirname(resolve(db.path)), "stream"),
  };
}

function nameOf(db: ObservedDatabase, { databases = [] }: ObserverConfig): string {
  const known = databases.find(({ path }) => resolve(path) === resolve(db.path));
  return known?.name ?? basename(db.path, extname(db.path));
}

function queueOf({ config, queue }: Pick<ControllerOptions, "config" | "queue">): Queue {
  if (queue !== undefined) return queue;
  if (config.queue !== undefined) return createHttpQueue(config.queue);
  const hasReplicas = (config.replicas ?? []).length > 0;
  const what = hasReplicas ? "replicas: nobody here writes to them" : "queue: there is none";
  const hint =
    "Open `localHost(config)` of @pageferry/functions in this process and pass its `queue`, or name a host by `queue.url`.";
  throw new PageferryError(
    "bad-config",
    `${what}; an observer sends to a queue, such as \`localHost(config)\``,
    {
      hint,
    },
  );
}

/** Throws `bad-config` where an observer of this configuration would have nobody to send to. */
export function checkQueue(config: ObserverConfig, options: ObserverOptions): void {
  queueOf({ config, ...(options.queue === undefined ? {} : { queue: options.queue }) });
}
