// The databases of a running agent, kept as the configuration, the directories and the control socket want them: one change after the
// other, and what does not succeed is an alarm and tried again.

import { stat } from "node:fs/promises";
import { basename, extname, resolve } from "node:path";
import type { Agent, AgentStatus } from "@pageferry/agent";
import { type Config, type DatabaseConfig, PageferryError, parseDatabaseName } from "@pageferry/format";
import { inParallel } from "../in-parallel.ts";
import type { Log } from "../log.ts";
import type { DirectoryLooker } from "./directory-looker.ts";
import { chooseMembers, type Member, type Origin, planFleet, waitingKeys } from "./fleet-plan.ts";
import {
  asPageferryError,
  collisionAlarm,
  collisionError,
  problemAlarm,
  takenError,
  unknownError,
} from "./fleet-words.ts";
import { createStandingAlarms, type FleetTeller, type StandingAlarms } from "./standing-alarms.ts";

/** What it works with. */
export interface FleetOptions {
  /** It runs already, with the configuration's `databases`. */
  readonly agent: Pick<Agent, "register" | "unregister"> & { status(): AgentStatus };
  readonly config: Config;
  /** One for each of its directories, each of which has looked. */
  readonly lookers: readonly DirectoryLooker[];
  /** Makes those of another configuration. What the ones before know of the same entry is known to them. */
  readonly openLookers: (config: Config, before: readonly DirectoryLooker[]) => DirectoryLooker[];
  readonly teller: FleetTeller;
  readonly log: Log;
  /** How long the last commits of a database that is let go may take, ms. Default 10 s. */
  readonly flushMs?: number;
  /** When what did not succeed is tried again, ms. Default a minute. */
  readonly againMs?: number;
}

/** What a change came to, by name. */
export interface FleetChange {
  readonly registered: readonly string[];
  readonly unregistered: readonly string[];
  readonly restarted: readonly string[];
  /** What did not succeed, and is tried again. */
  readonly failed: readonly { readonly name: string; readonly message: string }[];
}

/** What a reload came to. */
export interface Reloaded extends FleetChange {
  /** Keys that are different, and take effect at the next start. */
  readonly waiting: readonly string[];
}

/** A database, and where it comes from. */
export interface MemberView {
  readonly name: string;
  readonly path: string;
  readonly origin: Origin;
}

/** The databases of a running agent. */
export interface Fleet {
  /** Registers what was found, and begins to watch. */
  start(): Promise<FleetChange>;
  /** Adds a database until the agent ends. Errors: `exists`, `bad-name`, what registering throws. */
  register(path: string, name?: string): Promise<MemberView & { readonly isNew: boolean }>;
  /** Lets a database go, wherever it comes from, until a reload or a start wants it. Errors: `not-found`. */
  unregister(name: string): Promise<MemberView>;
  /** Takes another configuration. Errors: `bad-config`; then everything stays as it is. */
  reload(config: Config): Promise<Reloaded>;
  /** Looks at the directories that are watched, without waiting for an event. */
  look(): Promise<void>;
  members(): readonly MemberView[];
  /** Ends watching, after what is under way. */
  stop(): Promise<void>;
}

interface FleetState extends Omit<FleetOptions, "config" | "lookers"> {
  readonly flushMs: number;
  readonly alarms: StandingAlarms;
  readonly abort: AbortController;
  /** Named at the control socket. */
  readonly registered: Map<string, DatabaseConfig>;
  /** Names let go at the control socket. */
  readonly dismissed: Set<string>;
  readonly failures: Map<string, PageferryError>;
  /** What the agent has. */
  readonly actual: Map<string, DatabaseConfig>;
  config: Config;
  lookers: readonly DirectoryLooker[];
  members: readonly Member[];
  isLookDue: boolean;
  /** What is under way; one thing at a time. */
  turn: Promise<unknown>;
}

/** Databases opened or let go at a time: each waits for some writes to be durable. */
const atATime = 8;

const flushMsDefault = 10_000;
const againMsDefault = 60_000;

/** Makes the fleet of an agent. */
export function createFleet(options: FleetOptions): Fleet {
  const config = withPaths(options.config);
  const members = config.databases.map((database): Member => ({ origin: "configured", database }));
  const state: FleetState = {
    ...{ flushMs: flushMsDefault, ...options, config, members },
    alarms: createStandingAlarms(options.teller),
    abort: new AbortController(),
    ...{ registered: new Map(), dismissed: new Set(), failures: new Map(), isLookDue: false },
    actual: new Map(config.databases.map((database) => [database.name, database])),
    turn: Promise.resolve(),
  };
  const again = () => void (state.failures.size > 0 && inTurn(state, () => reconcile(state)).catch(() => {}));
  const timer = setInterval(again, options.againMs ?? againMsDefault).unref();
  return {
    start: () =>
      inTurn(state, async () => {
        const change = await reconcile(state);
        watch(state);
        return change;
      }),
    register: (path, name) => inTurn(state, () => register(state, resolve(path), name)),
    unregister: (name) => inTurn(state, () => unregister(state, name)),
    reload: (next) => inTurn(state, () => reload(state, withPaths(next))),
    look: () => inTurn(state, () => look(state)),
    members: () => state.members.map(viewOf),
    async stop() {
      clearInterval(timer);
      state.abort.abort();
      for (const looker of state.lookers) looker[Symbol.dispose]();
      await state.turn;
    },
  };
}

function inTurn<T>(state: FleetState, work: () => Promise<T>): Promise<T> {
  const done = state.turn.then(() => {
    if (state.abort.signal.aborted) throw new PageferryError("unavailable", "the agent is ending");
    return work();
  });
  state.turn = done.catch(() => {});
  return done;
}

function watch(state: FleetState): void {
  for (const looker of state.lookers) looker.start(() => lookSoon(state));
}

function lookSoon(state: FleetState): void {
  if (state.isLookDue) return;
  state.isLookDue = true;
  const { signal } = state.abort;
  const looked = inTurn(state, () => look(state));
  looked.catch((err: unknown) => signal.aborted || state.log.error({ err }, "a look at directories failed"));
}

async function look(state: FleetState): Promise<void> {
  state.isLookDue = false;
  const watched = state.lookers.filter(({ entry }) => entry.watch);
  for (const looker of watched) await looker.look({ signal: state.abort.signal });
  if (watched.length > 0) await reconcile(state);
}

/** All databases of a configuration. A file found under a name that another one has is left out: at a start nobody is there to be asked. */
export async function allDatabases(
  config: Config,
  lookers: readonly DirectoryLooker[],
): Promise<readonly DatabaseConfig[]> {
  const { databases } = withPaths(config);
  const { members } = await choose({ configured: databases, lookers, named: databases });
  return members.map(({ database }) => database);
}

interface Choice {
  readonly configured: readonly DatabaseConfig[];
  readonly lookers: readonly DirectoryLooker[];
  /** Whose files are not found anew, also those that were let go. */
  readonly named: readonly DatabaseConfig[];
  readonly state?: Pick<FleetState, "registered" | "dismissed" | "actual">;
}

async function choose({ configured, lookers, named, state }: Choice) {
  const isWanted = ({ name }: { readonly name: string }) => state?.dismissed.has(name) !== true;
  return chooseMembers({
    configured: configured.filter(isWanted),
    registered: [...(state?.registered.values() ?? [])],
    found: lookers.flatMap(databasesIn).filter(isWanted),
    named: await namesOfFiles(named.map(({ path }) => path)),
    holders: new Map([...(state?.actual.values() ?? [])].map(({ name, path }) => [name, path])),
  });
}

function databasesIn({ entry: { profile }, files }: DirectoryLooker) {
  return files().map((file) => ({ ...file, ...(profile === undefined ? {} : { profile }) }));
}

/** The files at some paths, by path and by what they are. */
async function namesOfFiles(paths: readonly string[]): Promise<ReadonlySet<string>> {
  const ids = paths.map(async (path) => {
    const stats = await stat(path, { bigint: true }).catch(() => undefined);
    return stats === undefined ? [] : [`${stats.dev}:${stats.ino}`];
  });
  return new Set([...paths, ...(await Promise.all(ids)).flat()]);
}

/** Brings the agent from what it has to what is wanted. */
async function reconcile(state: FleetState): Promise<FleetChange> {
  const { config, lookers, registered } = state;
  const named = [...config.databases, ...registered.values()];
  const { members, collisions } = await choose({ configured: config.databases, lookers, named, state });
  state.members = members;
  const plan = planFleet(state.actual, members);
  const leaving = [...plan.unregister, ...plan.restart.map(({ name }) => name)];
  await inParallel(leaving, atATime, (name) => letGo(state, name));
  await inParallel([...plan.restart, ...plan.register], atATime, (database) => takeIn(state, database));
  const wanted = new Set(members.map(({ database }) => database.name));
  for (const name of state.failures.keys()) if (!wanted.has(name)) state.failures.delete(name);
  const failures = [...state.failures].map(([database, { code, message, hint }]) => ({
    code,
    message,
    hint,
    database,
  }));
  state.alarms.keep([...lookers.flatMap(problemAlarm), ...collisions.map(collisionAlarm), ...failures]);
  const taken = (databases: readonly DatabaseConfig[]) =>
    databases.map(({ name }) => name).filter((name) => state.actual.has(name));
  return {
    ...{ registered: taken(plan.register), unregistered: plan.unregister, restarted: taken(plan.restart) },
    failed: failures.map(({ database, message }) => ({ name: database, message })),
  };
}

async function takeIn(
  { agent, actual, failures, abort, log }: FleetState,
  database: DatabaseConfig,
): Promise<void> {
  const { name, path } = database;
  if (abort.signal.aborted) return;
  try {
    await agent.register(database);
    actual.set(name, database);
    failures.delete(name);
    log.info({ database: name, path }, "registered");
  } catch (error) {
    if (!abort.signal.aborted) failures.set(name, asPageferryError(error));
  }
}

async function letGo({ agent, actual, flushMs, teller, log }: FleetState, name: string): Promise<void> {
  await agent.unregister(name, { deadlineMs: flushMs });
  actual.delete(name);
  log.info({ database: name }, "unregistered; its backups stay");
  teller.letGo(name);
}

async function register(state: FleetState, path: string, given: string | undefined) {
  const name: string = parseDatabaseName(given ?? basename(path, extname(path)));
  const same = state.members.find(
    ({ database }) => database.path === path && state.actual.has(database.name),
  );
  if (same !== undefined && (given ?? same.database.name) === same.database.name)
    return { ...viewOf(same), isNew: false };
  const other = same?.database ?? state.members.find(({ database }) => database.name === name)?.database;
  if (other !== undefined) throw takenError(other, { name, path });
  state.dismissed.delete(name);
  state.registered.set(name, { name, path });
  await reconcile(state);
  const failure = state.failures.get(name);
  if (failure === undefined) return { name, path, origin: "registered" as const, isNew: true };
  state.registered.delete(name);
  state.failures.delete(name);
  await reconcile(state);
  throw failure;
}

async function unregister(state: FleetState, name: string): Promise<MemberView> {
  const member = state.members.find(({ database }) => database.name === name);
  if (member === undefined) throw unknownError(name, [...state.actual.keys()]);
  state.registered.delete(name);
  state.dismissed.add(name);
  await reconcile(state);
  return viewOf(member);
}

async function reload(state: FleetState, next: Config): Promise<Reloaded> {
  const opened = state.openLookers(next, state.lookers);
  try {
    for (const looker of opened) await looker.look({ isReload: true, signal: state.abort.signal });
    const named = [...next.databases, ...state.registered.values()];
    const seen = { ...state, dismissed: new Set<string>() };
    const [first] = (await choose({ configured: next.databases, lookers: opened, named, state: seen }))
      .collisions;
    if (first !== undefined) throw collisionError(first);
  } catch (error) {
    for (const looker of opened) looker[Symbol.dispose]();
    throw error;
  }
  for (const looker of state.lookers) looker[Symbol.dispose]();
  const waiting = waitingKeys(state.config, next);
  state.lookers = opened;
  state.dismissed.clear();
  // What waits goes on waiting, and is told again by the next reload.
  state.config = { ...state.config, databases: next.databases, directories: next.directories };
  const change = await reconcile(state);
  watch(state);
  return { ...change, waiting };
}

function viewOf({ origin, database: { name, path } }: Member): MemberView {
  return { name, path, origin };
}

/** Paths are compared, so each is said in one way. */
function withPaths(config: Config): Config {
  const databases = config.databases.map((one) => ({
    ...{ ...one, path: resolve(one.path) },
    ...(one.shadowDirectory === undefined ? {} : { shadowDirectory: resolve(one.shadowDirectory) }),
  }));
  return { ...config, databases };
}
