// The agent: captures the databases it is given and sends them to a queue, until it is stopped.
import { hostname } from "node:os";
import { basename, extname, join, resolve } from "node:path";
import { type DatabaseName, type Farewell, PageferryError, parseDatabaseName } from "@pageferry/format";
import { type AgentEvents, type AgentListener, createAgentEmitter } from "./agent-events.ts";
import { openDatabase } from "./database.ts";
import type { DatabasePlace, SharedParts } from "./database-state.ts";
import type { DatabaseStatus } from "./database-status.ts";
import { createGate } from "./gate.ts";
import { type Logger, silentLogger } from "./logger.ts";
import { requireOpenFiles } from "./open-files.ts";
import { createPulse } from "./pulse.ts";
import type { Queue } from "./queue.ts";
import type { SegmentSource } from "./range-segment.ts";
import { createBudget } from "./recent.ts";
import { createRoster, nameHint } from "./roster.ts";
import { type AgentSettings, basesAtATime, defaultSettings } from "./settings.ts";
import { openBoltFileSource } from "./sources/bolt-file.ts";
import type { BoltFileSourceOptions, CaptureSource } from "./sources/capture-event.ts";

/** A database to back up. */
export interface AgentDatabase {
  /** The database file. It may not exist yet. */
  readonly path: string;
  /** Its name in every replica: the file's stem unless told. */
  readonly name?: string;
  /**
   * Where a Go application's witchbolt `stream` writes its commits when it has no replicas, such as `<path's directory>/stream`: then these
   * are captured instead of the file, and removed from there once they are stored.
   */
  readonly shadowDirectory?: string;
  /** Small files beside it that are backed up when they change: paths, in which `*` and `?` stand for names of one directory. */
  readonly files?: readonly string[];
  /** It was restored since it was last backed up: a new generation begins. */
  readonly isRestored?: boolean;
  /** What captures it, as its segments say: `bolt-file` unless told. */
  readonly sourceKind?: SegmentSource;
}

/** What an agent is made of. Everything but the first three has a default. */
export interface AgentOptions extends Partial<AgentSettings> {
  /** Paths, or paths with names. More may be registered later. */
  readonly databases: readonly (string | AgentDatabase)[];
  /** Where envelopes go: `createHttpQueue({ url })`, or a host in this process. */
  readonly queue: Queue;
  /** The agent's own directory: its durable log and its page tables. Not on a network file system. */
  readonly shadowDir: string;
  /** This machine's name, for `generation.json`. Default: the host name. */
  readonly host?: string;
  /** pino, or anything like it. Default: silent; `status()` and the events say everything. */
  readonly logger?: Logger;
  /** Milliseconds since the epoch. */
  readonly now?: () => number;
  /** 0 to 1, for the jitter of retries. */
  readonly random?: () => number;
  /** What captures a file. Default: `openBoltFileSource`. `null`: nothing is captured, only what the shadow holds is sent. */
  readonly openSource?: ((options: BoltFileSourceOptions) => CaptureSource) | null;
}

/** What `status` says. */
export interface AgentStatus {
  readonly queue: string;
  readonly databases: readonly DatabaseStatus[];
}

/** How to stop. */
export interface StopOptions {
  /** How long capturing the last commits and sending them may take, ms. Default 10 s. What is left is in the shadow. */
  readonly deadlineMs?: number;
}

/** How to let a database go. */
export interface UnregisterOptions extends StopOptions {
  /** Why it is no longer backed up, on purpose: the host is told, and its silence is no alarm there. Default: nothing is told. */
  readonly farewell?: Farewell;
}

/** What came of it. */
export interface Unregistered {
  /** Whether the host took the farewell, if there was one. Else it can be said later, by an agent that opens the database with `openSource: null`. */
  readonly isTold: boolean;
}

/** An agent. Disposing of it stops it with the default deadline. */
export interface Agent extends AsyncDisposable {
  /**
   * Begins to capture. Throws `locked` when another agent has one of the databases, `bad-config` when this process may not open the files that so
   * many need; then none is captured.
   */
  start(): Promise<void>;
  status(): AgentStatus;
  /** Begins to capture one more database. Throws `locked` when another agent has it, `bad-config` when its name is taken, or no files are left. */
  register(database: string | AgentDatabase): Promise<void>;
  /** Captures what is committed, sends what is left, and lets the database go; its shadow stays. Throws `not-found`. */
  unregister(name: string, options?: UnregisterOptions): Promise<Unregistered>;
  /** Sends what is captured of a database without waiting for the sync interval; nothing where there is none of that name. */
  hasten(name: string): void;
  /** Captures what is committed, sends what is left, and ends. Calling it twice is nothing. */
  stop(options?: StopOptions): Promise<void>;
  /** Listens to an event until the returned function is called. */
  on<Name extends keyof AgentEvents>(name: Name, listener: AgentListener<Name>): () => void;
}

const tickMs = 1000;

const defaultDeadlineMs = 10_000;

/**
 * Databases opened at a time: each needs a tenth of a megabyte for a moment, and what a thousand need at once is not given back by the
 * allocator.
 */
const openedAtATime = 8;

/** Bases encoded at a time: each uses several threads by itself. */
const encodedAtATime = 1;

/** Sets of companion files read at a time: each may be 8 MiB. */
const setsAtATime = 2;

/** Calls to the host at a time. A large body holds a place for as long as it takes; there are enough others. */
const callsAtATime = 16;

/**
 * Makes an agent. Throws `bad-config` for databases of one name, `bad-name` for a name that is none.
 *
 * ```ts
 * await using agent = createAgent({
 *   databases: ["app.db"],
 *   queue: createHttpQueue({ url: "http://127.0.0.1:7373", token }),
 *   shadowDir: "shadow",
 * });
 * await agent.start();
 * ```
 */
export function createAgent(options: AgentOptions): Agent {
  const places = placesOf(options);
  const parts = sharedOf(options);
  const { heartbeatMs } = parts.settings;
  const { queue } = options;
  const pulse = createPulse({
    queue,
    heartbeatMs,
    databases: () => roster.all(),
    count: () => roster.size(),
  });
  const shared: SharedParts = { ...parts, aloneMs: pulse.aloneMs };
  const roster = createRoster((place) => openDatabase(shared, place));
  let starting: Promise<void> | undefined;
  let stopping: Promise<void> | undefined;
  const timer = setInterval(() => {
    for (const database of roster.all()) database.tick();
    pulse.tick();
  }, tickMs);
  timer.unref();

  async function openAll(): Promise<void> {
    requireOpenFiles(places.length);
    const gate = createGate(openedAtATime);
    const { signal } = new AbortController();
    const opened = places.map((place) => gate.pass(() => roster.open(place), signal));
    const answers = await Promise.allSettled(opened);
    const refused = answers.find((answer) => answer.status === "rejected");
    if (refused !== undefined) throw refused.reason;
  }

  async function stopAll(deadlineMs: number): Promise<void> {
    clearInterval(timer);
    pulse.stop();
    await roster.stop(deadlineMs);
  }

  function start(): Promise<void> {
    if (starting !== undefined || stopping !== undefined) throw new RangeError("an agent is started once");
    timer.ref();
    starting = openAll().catch(async (error: unknown) => {
      await stopAll(0);
      throw error;
    });
    return starting;
  }

  async function register(database: string | AgentDatabase): Promise<void> {
    await starting;
    if (starting === undefined || stopping !== undefined) throw new RangeError("the agent does not run");
    requireOpenFiles(roster.size() + 1);
    for (const place of placesOf({ ...options, databases: [database] })) await roster.open(place);
  }

  async function unregister(
    name: string,
    { deadlineMs = defaultDeadlineMs, farewell }: UnregisterOptions = {},
  ): Promise<Unregistered> {
    await starting;
    return { isTold: await roster.close(parseDatabaseName(name), deadlineMs, farewell) };
  }

  function stop({ deadlineMs = defaultDeadlineMs }: StopOptions = {}): Promise<void> {
    // One that is still starting is stopped when it has.
    const started = starting?.catch(() => {}) ?? Promise.resolve();
    stopping ??= started.then(() => stopAll(deadlineMs));
    return stopping;
  }

  return {
    start,
    stop,
    register,
    unregister,
    hasten: (name) => roster.get(name)?.hasten(),
    status: () => ({
      queue: shared.queue.name,
      databases: roster.all().map((database) => database.status()),
    }),
    on: shared.emitter.on,
    [Symbol.asyncDispose]: () => stop(),
  };
}

function sharedOf(options: AgentOptions): Omit<SharedParts, "aloneMs"> {
  const logger = options.logger ?? silentLogger;
  const settings = settingsOf(options);
  return {
    queue: options.queue,
    settings,
    host: (options.host ?? hostname()).slice(0, 255),
    now: options.now ?? Date.now,
    random: options.random ?? Math.random,
    logger,
    emitter: createAgentEmitter(logger),
    budget: createBudget(settings.recentBytesMax),
    encodeGate: createGate(encodedAtATime),
    snapshotPlaces: createGate(basesAtATime),
    callGate: createGate(callsAtATime),
    readGate: createGate(setsAtATime),
    openSource: options.openSource === undefined ? openBoltFileSource : options.openSource,
  };
}

/** The defaults, with what was given; an option given as `undefined` is not given. */
function settingsOf(options: AgentOptions): AgentSettings {
  const given = Object.keys(defaultSettings).map(
    (key) => [key, options[key as keyof AgentSettings]] as const,
  );
  return { ...defaultSettings, ...Object.fromEntries(given.filter(([, value]) => value !== undefined)) };
}

function placesOf({ databases, shadowDir }: AgentOptions): DatabasePlace[] {
  const places = databases.map((given): DatabasePlace => {
    const database = typeof given === "string" ? { path: given } : given;
    const name = parseDatabaseName(database.name ?? basename(database.path, extname(database.path)));
    const path = resolve(database.path);
    return {
      name,
      path,
      shadowDirectory: database.shadowDirectory === undefined ? undefined : resolve(database.shadowDirectory),
      directory: join(resolve(shadowDir), name),
      files: database.files ?? [],
      isRestored: database.isRestored ?? false,
      sourceKind: database.sourceKind ?? (database.shadowDirectory === undefined ? "bolt-file" : "shadow"),
    };
  });
  const seen = new Map<DatabaseName, string>();
  for (const { name, path } of places) {
    const other = seen.get(name);
    if (other !== undefined) {
      throw new PageferryError("bad-config", `databases: ${other} and ${path} both have the name ${name}`, {
        hint: nameHint,
      });
    }
    seen.set(name, path);
  }
  return places;
}
