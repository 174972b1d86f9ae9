// The single-process host: a durable queue, the fan-out, the lanes and the API over one data directory. It puts the parts
// together; what they decide is decided in them.

import { rm } from "node:fs/promises";
import { join } from "node:path";
import { createAdaptorServer, type ServerType } from "@hono/node-server";
import {
  type Config,
  type DatabaseName,
  type Needs,
  PageferryError,
  parseDatabaseName,
  type ReplicaConfig,
  replicaLabel,
} from "@pageferry/format";
import { makeDirectoryDurable } from "@pageferry/format/node";
import { type Alarm, type Alarms, createAlarms } from "../alarms.ts";
import { createApi } from "../api.ts";
import { checkToken, tokenFromFile } from "../auth.ts";
import { createRepairs, type Repairs } from "../behind.ts";
import { startConsumer } from "../consumer.ts";
import { createDatabases, type Databases } from "../databases.ts";
import { createForks } from "../forks.ts";
import { type IngestOptions, ingest } from "../ingest.ts";
import { startMaintenance } from "../maintenance.ts";
import { type DurableQueue, openQueue, queueBytesMaxDefault } from "../queue.ts";
import { createRelief, laneBounds, type Relief } from "../relief.ts";
import type { RepairReport } from "../repair.ts";
import { type RepairRequest, startRepairer } from "../repairer.ts";
import { replay } from "../replay.ts";
import { openReplicaSet, type ReplicaSet } from "../replicas.ts";
import { createRoom } from "../room.ts";
import { errorLine } from "../settle.ts";
import { createSources } from "../sources.ts";
import { openStage } from "../stage.ts";
import { type AlarmStatus, alarmStatus, type DatabaseStatus } from "../status.ts";
import type { CallOptions, ReplayableBody } from "../store.ts";
import { createTarget, type Target } from "../targets.ts";
import { createVerified } from "../verified.ts";
import { createVerifier, type Verifier, type VerifierOptions, type VerifyRequest } from "../verifier.ts";
import type { VerifyReport } from "../verify-report.ts";

/** Where the host listens when nobody says where, if that port is free. */
const portDefault = 7373;

/** How long `close` waits for what waits in the queue; it is durable, and goes on at the next start. */
const closeDeadlineMs = 10_000;

/** A connection on which nothing moves for this long is gone. */
const idleConnectionMs = 120_000;

/** For waits: a clock that is set back must not leave a replica alone for that long. */
const monotonic = (): number => performance.now();

/** What the host takes of the configuration. */
export type LocalHostConfig = { readonly dataDir: string } & Partial<
  Pick<
    Config,
    | "databases"
    | "replicas"
    | "listen"
    | "token"
    | "packWindowMs"
    | "queueRetentionMs"
    | "retention"
    | "snapshotIntervalMs"
    | "dataLossWindowThresholdMs"
  >
>;

export interface LocalHostOptions {
  /** For PAGEFERRY_TOKEN; without it there is none. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Whether a replica's path holds one directory for each database. Default true; the Go implementation's form is false. */
  readonly hasDatabases?: boolean;
  /** False: no HTTP, for those who use `queue` in this process. Default true. */
  readonly http?: boolean;
  readonly logger?: HostLogger;
  readonly now?: () => number;
  /** Bodies that may wait in the queue. Default 1 GiB. */
  readonly queueBytesMax?: number;
  /** How long a hole must last before an agent is asked to fill it. Default 90 s. */
  readonly settleMs?: number;
}

/** What the host logs with; pino's loggers are such. */
export interface HostLogger {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** The host as an agent in the same process sees it. */
export interface HostQueue {
  readonly name: string;
  /** Resolves when the envelope is durable. */
  send(envelope: Uint8Array, options?: CallOptions): Promise<void>;
  stage(
    database: string,
    body: ReplayableBody & { readonly digest: string },
    options?: CallOptions,
  ): Promise<void>;
  needs(database: string, options?: CallOptions): Promise<Needs>;
}

export interface LocalHost extends AsyncDisposable {
  /** `http://host:port`; `undefined` without HTTP. */
  readonly url: string | undefined;
  /** The bearer token that the API asks for. */
  readonly token: string;
  readonly queue: HostQueue;
  status(database: string): Promise<DatabaseStatus>;
  databases(): Promise<readonly DatabaseName[]>;
  /** Brings to each replica what another one has, or to one of them. What fails is in the report. */
  repair(database: string, request?: RepairRequest): Promise<RepairReport>;
  /** Restores from each replica into scratch and checks what comes of it. What does not hold is in the report. */
  verify(database: string, request?: VerifyRequest): Promise<VerifyReport>;
  alarms(): readonly AlarmStatus[];
  /** Takes nothing more, lets go what waits until the deadline (default 10 s), and closes. What still waits is durable. */
  close(options?: { readonly deadlineMs?: number }): Promise<void>;
}

/** Opens the host over `dataDir`. Errors: `locked` (another process serves from it), `bad-config`, `unauthorized`. */
export async function localHost(config: LocalHostConfig, options: LocalHostOptions = {}): Promise<LocalHost> {
  const { dataDir } = config;
  const now = options.now ?? Date.now;
  await makeDirectoryDurable(dataDir);
  const { queueBytesMax } = options;
  await using undo = new AsyncDisposableStack();
  const queue = undo.use(
    openQueue({
      path: join(dataDir, "queue.db"),
      now,
      ...(queueBytesMax === undefined ? {} : { bytesMax: queueBytesMax }),
    }),
  );
  const token = await tokenOf(config, options);
  const stage = await openStage({ directory: join(dataDir, "stage"), now });
  const alarms = createAlarms({ now, ...alarmLog(options.logger) });
  const sources = createSources({ now, alarms, notes: queue });
  const forks = createForks({ alarms, notes: queue });
  const sets = await openReplicaSets(config, options, queue, undo);
  const waiting = (lane: string) => queue.load(lane).messages;
  const shared = { stagedBody: stage.body, alarms, waiting, onFork: forks.found };
  const targets = sets.map((set) => createTarget(set, { ...shared, now: monotonic, random: Math.random }));
  const repairs = createRepairs({ queue, targets, alarms });
  const known = (config.databases ?? []).map(({ name }) => parseDatabaseName(name));
  const verified = createVerified();
  const standing = { queue, sources, targets, alarms, repairs, verified };
  const databases = createDatabases({ ...standing, known, now, ...settle(options) });
  const relief = startRelief({ ...standing, options });
  undo.defer(() => relief.stop());
  const door = {
    ...{ queue, stage, sources, now, room: createRoom(dataDir), admit: databases.admit },
    ...{ checkFork: forks.check, onNoRoom: relief.relieve },
  };
  const packWindowMs = config.packWindowMs ?? 0;
  const consumer = startConsumer({ queue, targets, alarms, relief, random: Math.random, packWindowMs });
  undo.defer(() => consumer.stop());
  const maintenance = startMaintenance({ ...standing, stage, databases, config, now });
  undo.defer(() => maintenance.stop());
  const repairer = startRepairer({ ...standing, databases: databases.databases, config, now });
  undo.defer(() => repairer.stop());
  const verifier = await startVerifier({ ...standing, config, now }, dataDir, undo);
  const api = createApi({
    token,
    stage,
    ingest: (bytes) => ingest(bytes, door),
    replay: (request) => replay(request, { queue, targets, forks }),
    ...{ ...databases, repair: repairer.repair, verify: verifier.verify },
    alarms: () => alarms.list().map(alarmStatus),
    onUnexpected: (err, where) => options.logger?.error({ err, where }, "unexpected error"),
  });
  const server = options.http === false ? undefined : await listen(api.fetch, config.listen);
  if (server !== undefined) undo.defer(() => server.close(0));
  const parts = undo.move();
  let closing: Promise<void> | undefined;
  const close = (deadlineMs: number): Promise<void> => {
    closing ??= (async () => {
      const endMs = performance.now() + deadlineMs;
      await server?.close(deadlineMs);
      await consumer.drained(Math.max(0, endMs - performance.now()));
      await parts.disposeAsync();
    })();
    return closing;
  };
  return {
    url: server?.url,
    token,
    queue: queuePort(server?.url ?? `queue in ${dataDir}`, door, databases),
    status: (database) => databases.status(parseDatabaseName(database)),
    databases: databases.databases,
    repair: (database, request) => repairer.repair(parseDatabaseName(database), request),
    verify: (database, request) => verifier.verify(parseDatabaseName(database), request),
    alarms: () => alarms.list().map(alarmStatus),
    close: ({ deadlineMs = closeDeadlineMs } = {}) => close(deadlineMs),
    [Symbol.asyncDispose]: () => close(closeDeadlineMs),
  };
}

async function startVerifier(
  options: Omit<VerifierOptions, "scratchDir">,
  dataDir: string,
  undo: AsyncDisposableStack,
): Promise<Verifier> {
  const scratchDir = join(dataDir, "verify");
  // What a verification that was killed left behind.
  await rm(scratchDir, { recursive: true, force: true });
  return undo.adopt(createVerifier({ ...options, scratchDir }), ({ stop }) => stop());
}

interface ReliefParts {
  readonly queue: DurableQueue;
  readonly targets: readonly Target[];
  readonly repairs: Repairs;
  readonly alarms: Alarms;
  readonly options: LocalHostOptions;
}

function startRelief({ queue, targets, repairs, alarms, options }: ReliefParts): Relief {
  return createRelief({
    queue,
    targets,
    bounds: laneBounds(options.queueBytesMax ?? queueBytesMaxDefault, targets.length),
    onShed: repairs.refresh,
    onError: (error) =>
      alarms.raise({
        code: "queue",
        message: `lanes cannot be kept within their bounds: ${errorLine(error)}`,
        hint: "Look at the disk that holds the queue; work goes on by itself.",
      }),
  });
}

/** The host's door for an agent in the same process: what HTTP does, without it. */
function queuePort(name: string, door: IngestOptions, databases: Databases): HostQueue {
  return {
    name,
    async send(envelope, { signal } = {}) {
      signal?.throwIfAborted();
      await ingest(envelope, door);
    },
    async stage(_database, body, { signal } = {}) {
      await door.stage.put(body.digest, body.open(), { size: body.size, signal });
    },
    needs: (database, call = {}) => databases.needs(parseDatabaseName(database), call),
  };
}

async function openReplicaSets(
  config: LocalHostConfig,
  options: LocalHostOptions,
  queue: DurableQueue,
  undo: AsyncDisposableStack,
): Promise<ReplicaSet[]> {
  const { now = Date.now, hasDatabases = true } = options;
  const sets: ReplicaSet[] = [];
  for (const entry of replicasOf(config)) {
    const note = `root/${replicaLabel(entry)}`;
    const owner = {
      get: () => queue.notes(note).get(note),
      set: (database: string) => queue.setNote(note, database),
    };
    sets.push(undo.use(await openReplicaSet(entry, { now, owner, isOwner: true, hasDatabases })));
  }
  return sets;
}

function replicasOf({ replicas, dataDir }: LocalHostConfig): readonly ReplicaConfig[] {
  return replicas === undefined || replicas.length === 0
    ? [{ type: "file", path: join(dataDir, "replica") }]
    : replicas;
}

async function tokenOf(config: LocalHostConfig, options: LocalHostOptions): Promise<string> {
  const given = options.env?.PAGEFERRY_TOKEN;
  if (given !== undefined && given !== "") return checkToken(given, "PAGEFERRY_TOKEN");
  if (config.token !== undefined) return checkToken(config.token, "the configuration");
  return tokenFromFile(join(config.dataDir, "token"));
}

function settle({ settleMs }: LocalHostOptions): { readonly settleMs?: number } {
  return settleMs === undefined ? {} : { settleMs };
}

function alarmLog(logger: HostLogger | undefined) {
  const fields = ({ message: _, ...rest }: Alarm) => rest;
  return {
    onRaised: (alarm: Alarm) => logger?.warn({ alarm: fields(alarm) }, alarm.message),
    onCleared: (alarm: Alarm) => logger?.info({ alarm: fields(alarm) }, `over: ${alarm.message}`),
  };
}

interface Listening {
  readonly url: string;
  /** Takes no new calls, gives those under way until the deadline, then cuts them off. */
  close(deadlineMs: number): Promise<void>;
}

async function listen(
  fetch: (request: Request) => Response | Promise<Response>,
  at: Config["listen"] | undefined,
): Promise<Listening> {
  const host = at?.host ?? "127.0.0.1";
  // A large body on a slow line takes as long as it goes on: only standing still ends it.
  const server = createAdaptorServer({ fetch, serverOptions: { requestTimeout: 0 } });
  if ("timeout" in server) server.timeout = idleConnectionMs;
  const port = await listenOn(server, host, at?.port ?? portDefault, at?.port === undefined);
  return {
    url: `http://${host.includes(":") ? `[${host}]` : host}:${port}`,
    async close(deadlineMs) {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      if ("closeIdleConnections" in server) server.closeIdleConnections();
      const cut = setTimeout(
        () => "closeAllConnections" in server && server.closeAllConnections(),
        deadlineMs,
      );
      await closed;
      clearTimeout(cut);
    },
  };
}

function listenOn(server: ServerType, host: string, port: number, mayMove: boolean): Promise<number> {
  return new Promise((resolve, reject) => {
    const failed = (cause: NodeJS.ErrnoException) => {
      if (cause.code === "EADDRINUSE" && mayMove) return resolve(listenOn(server, host, 0, false));
      const hint = cause.code === "EADDRINUSE" ? { hint: "Choose another with --port." } : {};
      reject(
        new PageferryError("bad-config", `cannot listen on ${host}:${port}: ${cause.code ?? cause.message}`, {
          cause,
          ...hint,
        }),
      );
    };
    server.once("error", failed);
    server.listen(port, host, () => {
      server.off("error", failed);
      const address = server.address();
      resolve(typeof address === "object" && address !== null ? address.port : port);
    });
  });
}
