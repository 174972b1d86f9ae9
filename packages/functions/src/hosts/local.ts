// The single-process host: a durable queue, the fan-out, the lanes and the API over one data directory. It puts the parts
// together; what they decide is decided in them.

import { join } from "node:path";
import {
  type Config,
  type DatabaseName,
  isPageferryError,
  type Needs,
  parseDatabaseName,
  type ReplicaConfig,
  replicaLabel,
} from "@pageferry/format";
import { makeDirectoryDurable } from "@pageferry/format/node";
import type { Alarm, Alarms } from "../alarms.ts";
import { type ApiOptions, createApi } from "../api.ts";
import { createRepairs, type Repairs } from "../behind.ts";
import { startConsumer } from "../consumer.ts";
import { createDatabases, type Databases } from "../databases.ts";
import { createForks } from "../forks.ts";
import { createHolds, type Holds, type PointState } from "../holds.ts";
import { ingest } from "../ingest.ts";
import { startMaintenance } from "../maintenance.ts";
import type { Observe } from "../measured-store.ts";
import type { Metrics } from "../metrics.ts";
import type { PruneReport } from "../prune.ts";
import { type DurableQueue, openQueue, queueBytesMaxDefault } from "../queue.ts";
import { createRelief, laneBounds, type Relief } from "../relief.ts";
import type { RepairReport } from "../repair.ts";
import { type Repairer, type RepairRequest, startRepairer } from "../repairer.ts";
import { replay } from "../replay.ts";
import { openReplicaSet, type ReplicaSet } from "../replicas.ts";
import { createRoom } from "../room.ts";
import { errorLine } from "../settle.ts";
import { createSources } from "../sources.ts";
import { openStage, type Stage } from "../stage.ts";
import { type AlarmStatus, alarmStatus, type DatabaseStatus } from "../status.ts";
import type { CallOptions, ReplayableBody } from "../store.ts";
import { createTarget, type Target } from "../targets.ts";
import type { CompactRow, PruneRequest, TimeReport, TimeRequest } from "../timekeeper.ts";
import { createVerified } from "../verified.ts";
import type { VerifyRequest } from "../verifier.ts";
import type { VerifyReport } from "../verify-report.ts";
import { openLocalAuth } from "./local-auth.ts";
import { type LocalPage, localPage } from "./local-page.ts";
import { openLocalRestore } from "./local-restore.ts";
import { type Listening, listen } from "./local-server.ts";
import { createSignals } from "./local-signals.ts";
import { type LocalTime, startLocalTime } from "./local-time.ts";
import { createWatch, type Watch } from "./local-watch.ts";

/** How long `close` waits for what waits in the queue; it is durable, and goes on at the next start. */
const closeDeadlineMs = 10_000;

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
    | "compaction"
    | "verifyIntervalMs"
    | "dataLossWindowThresholdMs"
    | "storageBytesMax"
    | "inspect"
    | "alarms"
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
  holds(database: string, point: PointState, options?: CallOptions): Promise<boolean>;
}

export interface LocalHost extends AsyncDisposable, Omit<LocalPage, "page"> {
  /** `http://host:port`; `undefined` without HTTP. */
  readonly url: string | undefined;
  /** The host's own bearer token, which may do everything; docs/operations.md#tokens says how to make others. */
  readonly token: string;
  /** Where that token was written, if it was made at this start. */
  readonly madeTokenFile: string | undefined;
  readonly queue: HostQueue;
  status(database: string): Promise<DatabaseStatus>;
  databases(): Promise<readonly DatabaseName[]>;
  /** Brings to each replica what another one has, or to one of them. What fails is in the report. */
  repair(database: string, request?: RepairRequest): Promise<RepairReport>;
  /** Merges closed windows, and builds the snapshots that are due. */
  compact(database: string, request?: TimeRequest): Promise<TimeReport<CompactRow>>;
  /** Lets go of what retention does not keep; it is marked at first, and goes when it was marked for long enough. */
  prune(database: string, request?: PruneRequest): Promise<TimeReport<PruneReport>>;
  /** Restores from each replica into scratch and checks what comes of it. What does not hold is in the report. */
  verify(database: string, request?: VerifyRequest): Promise<VerifyReport>;
  alarms(): readonly AlarmStatus[];
  /** An alarm of somebody else in this process, such as the agent: shown and told like the host's own until it is cleared. */
  raise(alarm: Omit<Alarm, "sinceMs">): void;
  clear(alarm: Pick<Alarm, "code" | "database">): void;
  /** Takes nothing more, lets go what waits until the deadline (default 10 s), and closes. What still waits is durable. */
  close(options?: { readonly deadlineMs?: number }): Promise<void>;
}

/** Opens the host over `dataDir`. Errors: `locked` (another process serves from it), `bad-config`, `unauthorized`. */
export async function localHost(config: LocalHostConfig, options: LocalHostOptions = {}): Promise<LocalHost> {
  const { dataDir, packWindowMs = 0 } = config;
  const { now = Date.now } = options;
  await makeDirectoryDurable(dataDir);
  await using undo = new AsyncDisposableStack();
  const queue = undo.use(openQueueIn(dataDir, options, now));
  const stage = await openStage({ directory: join(dataDir, "stage"), now });
  const watch = createWatch({ now, notes: queue });
  const { logger } = options;
  const signals = undo.use(await createSignals({ config, logger, watch, now, random: Math.random }));
  const { alarms, metrics } = signals;
  const { token, madeTokenFile, authenticate, sessions } = await openAuth(config, options, { alarms, now });
  const sources = createSources({
    ...{ now, alarms, notes: queue },
    ...{ onHeard: watch.heard, onParting: watch.parted },
  });
  const forks = createForks({ alarms, notes: queue });
  const sets = await openReplicaSets({ config, options, queue, metrics, watch }, undo);
  const waiting = (lane: string) => queue.load(lane).messages;
  const shared = { stagedBody: stage.body, alarms, waiting, onFork: forks.found };
  const targets = sets.map((set) => createTarget(set, { ...shared, now: monotonic, random: Math.random }));
  const repairs = createRepairs({ queue, targets, alarms });
  const known = (config.databases ?? []).map(({ name }) => parseDatabaseName(name));
  const { upkeep, counts } = watch;
  const standing = { queue, sources, targets, alarms, repairs, upkeep, counts, verified: createVerified() };
  const asked = { snapshotIntervalMs: config.snapshotIntervalMs, ...settle(options) };
  const databases = createDatabases({ ...standing, known, now, ...asked });
  const holds = createHolds({ targets, snapshotIntervalMs: config.snapshotIntervalMs });
  const relief = startRelief({ ...standing, options });
  undo.defer(() => relief.stop());
  const door = {
    ...{ queue, stage, sources, now, room: createRoom(dataDir), admit: databases.admit },
    ...{ checkFork: forks.check, onNoRoom: relief.relieve },
  };
  const take: Take = (bytes, mayAdd) => counted(bytes, ingest(bytes, door, mayAdd), metrics);
  const consumer = startConsumer({ queue, targets, alarms, relief, random: Math.random, packWindowMs });
  undo.defer(() => consumer.stop());
  const time = await startLocalTime({ ...standing, ...databases, config, dataDir, now, random: Math.random });
  undo.defer(() => time.stop());
  const maintenance = startMaintenance({ ...standing, stage, databases, config, now, random: Math.random });
  undo.defer(() => maintenance.stop());
  const repairer = startRepairer({ ...standing, databases: databases.databases, config, now });
  undo.defer(() => repairer.stop());
  const told = undo.use(signals.start({ queue, targets, databases }));
  const { page, ...forPeople } = localPage(config, {
    sessions,
    standing: databases.standing,
    now,
    shown: watch.shown,
  });
  const { signer, images } = undo.use(await openLocalRestore(dataDir));
  const api = createApi({
    ...{ images, signer, now, authenticate, stage, ingest: take, metrics: told.metricsText },
    replay: (request) => replay(request, { queue, targets, forks }),
    ...{ ...databases, holds, repair: repairer.repair, verify: time.verifier.verify },
    ...{ ...time.timekeeper, pins: time.pins, lease: time.lease },
    ...watch.routes({ ...standing, databases }),
    alarms: () => alarms.list().map(alarmStatus),
    ...{ page, profileOf: page.profileOf },
    ...writtenDown(config, options),
  });
  const server = options.http === false ? undefined : await listen(api.fetch, config.listen);
  if (server !== undefined) undo.defer(() => server.close(0));
  const close = closeOnce({ watch, server, consumer, parts: undo.move() });
  return {
    url: server?.url,
    ...{ token, madeTokenFile, ...forPeople },
    queue: queuePort(server?.url ?? `queue in ${dataDir}`, { take, stage, databases, holds }),
    status: (database) => databases.status(parseDatabaseName(database)),
    databases: databases.databases,
    ...byHand(repairer, time),
    alarms: () => alarms.list().map(alarmStatus),
    ...{ raise: alarms.raise, clear: alarms.clear },
    close: ({ deadlineMs = closeDeadlineMs } = {}) => close(deadlineMs),
    [Symbol.asyncDispose]: () => close(closeDeadlineMs),
  };
}

interface Closing {
  readonly watch: Watch;
  readonly server: Listening | undefined;
  readonly consumer: { drained(deadlineMs: number): Promise<unknown> };
  readonly parts: AsyncDisposableStack;
}

/** Ends what is open, gives what is under way until the deadline, and lets all parts go; once, however often it is asked. */
function closeOnce({ watch, server, consumer, parts }: Closing): (deadlineMs: number) => Promise<void> {
  let closing: Promise<void> | undefined;
  const end = async (deadlineMs: number): Promise<void> => {
    const endMs = performance.now() + deadlineMs;
    watch.end();
    await server?.close(deadlineMs);
    await consumer.drained(Math.max(0, endMs - performance.now()));
    await parts.disposeAsync();
  };
  return (deadlineMs) => {
    closing ??= end(deadlineMs);
    return closing;
  };
}

/** What goes to the log and nowhere else. */
function writtenDown(
  config: LocalHostConfig,
  { logger }: LocalHostOptions,
): Pick<ApiOptions, "inspect" | "onUnexpected"> {
  return {
    inspect: config.inspect === true ? { onUse: (use) => logger?.info(use, "inspect") } : undefined,
    onUnexpected: (err, where) => logger?.error({ err, ...where }, "unexpected error"),
  };
}

/** What is done by itself, when somebody asks for it. */
function byHand(
  repairer: Repairer,
  { timekeeper, verifier }: LocalTime,
): Pick<LocalHost, "repair" | "compact" | "prune" | "verify"> {
  return {
    repair: (database, request) => repairer.repair(parseDatabaseName(database), request),
    compact: (database, request) => timekeeper.compact(parseDatabaseName(database), request),
    prune: (database, request) => timekeeper.prune(parseDatabaseName(database), request),
    verify: (database, request) => verifier.verify(parseDatabaseName(database), request),
  };
}

function openQueueIn(dataDir: string, { queueBytesMax }: LocalHostOptions, now: () => number): DurableQueue {
  const bound = queueBytesMax === undefined ? {} : { bytesMax: queueBytesMax };
  return openQueue({ path: join(dataDir, "queue.db"), now, ...bound });
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

/** In one process there is nobody to distrust. */
const anyDatabase = (): void => undefined;

/** Tells the metrics what became of an envelope. */
async function counted<Taken>(bytes: Uint8Array, taking: Promise<Taken>, metrics: Metrics): Promise<Taken> {
  try {
    const taken = await taking;
    metrics.ingested(bytes.length);
    return taken;
  } catch (error) {
    metrics.ingested(bytes.length, isPageferryError(error) ? error.code : "unexpected");
    throw error;
  }
}

type Take = (bytes: Uint8Array, mayAdd: (database: DatabaseName) => void) => Promise<unknown>;

interface DoorParts {
  readonly take: Take;
  readonly stage: Stage;
  readonly databases: Databases;
  readonly holds: Holds;
}

/** The host's door for an agent in the same process: what HTTP does, without it. */
function queuePort(name: string, { take, stage, databases, holds }: DoorParts): HostQueue {
  return {
    name,
    async send(envelope, { signal } = {}) {
      signal?.throwIfAborted();
      await take(envelope, anyDatabase);
    },
    async stage(_database, body, { signal } = {}) {
      await stage.put(body.digest, body.open(), { size: body.size, signal });
    },
    needs: (database, call = {}) => databases.needs(parseDatabaseName(database), call),
    holds: (database, point, call = {}) => holds(parseDatabaseName(database), point, call),
  };
}

interface ReplicaParts {
  readonly config: LocalHostConfig;
  readonly options: LocalHostOptions;
  readonly queue: DurableQueue;
  readonly metrics: Metrics;
  readonly watch: Watch;
}

async function openReplicaSets(
  { config, options, queue, metrics, watch }: ReplicaParts,
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
    const observe = (replica: string): Observe => {
      const both = [metrics.observe(replica), watch.counts.observe(replica)];
      return (operation) => {
        for (const one of both) one(operation);
      };
    };
    sets.push(
      undo.use(
        await openReplicaSet(entry, {
          now,
          owner,
          isOwner: true,
          hasDatabases,
          observe,
          onChange: watch.changes.changed,
        }),
      ),
    );
  }
  return sets;
}

function replicasOf({ replicas, dataDir }: LocalHostConfig): readonly ReplicaConfig[] {
  return replicas === undefined || replicas.length === 0
    ? [{ type: "file", path: join(dataDir, "replica") }]
    : replicas;
}

function openAuth(
  { dataDir, token }: LocalHostConfig,
  { env, logger }: LocalHostOptions,
  parts: { readonly alarms: Alarms; readonly now: () => number },
) {
  return openLocalAuth({
    ...{ ...parts, dataDir, given: env?.PAGEFERRY_TOKEN, configured: token },
    onMany: (address) => logger?.warn({ address }, "many wrong tokens come from one address"),
  });
}

function settle({ settleMs }: LocalHostOptions): { readonly settleMs?: number } {
  return settleMs === undefined ? {} : { settleMs };
}
