// What a fleet is at the moment, and how its agent is brought from the databases that it has to those that it is to have. What does not succeed
// is remembered as a failure, and tried again with the next change.

import { stat } from "node:fs/promises";
import { resolve } from "node:path";
import type { Agent, AgentStatus } from "@pageferry/agent";
import {
  type Config,
  type DatabaseConfig,
  type Farewell,
  isPageferryError,
  type PageferryError,
} from "@pageferry/format";
import { inParallel } from "../in-parallel.ts";
import type { Log } from "../log.ts";
import type { DirectoryLooker } from "./directory-looker.ts";
import type { Farewells, Speaker } from "./farewells.ts";
import { type Collision, chooseMembers, type Member, planFleet } from "./fleet-plan.ts";
import { asPageferryError, collisionAlarm, problemAlarm } from "./fleet-words.ts";
import type { FleetTeller, StandingAlarms } from "./standing-alarms.ts";

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
  /** Speaks for databases that the agent does not have any more. */
  readonly speaker: Speaker;
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
  /** Of these the host could not be told yet that they are no longer backed up, on purpose. */
  readonly untold: readonly string[];
}

/** A fleet at work. */
export interface FleetState extends Omit<FleetOptions, "config" | "lookers" | "speaker"> {
  readonly flushMs: number;
  readonly farewells: Farewells;
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
  /** Files that are left out, since their names were taken. */
  collisions: readonly Collision[];
  isLookDue: boolean;
  /** What is under way; one thing at a time. */
  turn: Promise<unknown>;
}

/** Databases opened or let go at a time: each waits for some writes to be durable. */
const atATime = 8;

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

/** Chooses the databases to have. */
export async function choose({ configured, lookers, named, state }: Choice) {
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

/** Why one that is let go is no longer backed up, on purpose; undefined: nobody said so. */
type Why = (member: Member | undefined, name: string) => Promise<Farewell | undefined>;

/** A file that is gone for long was not let go by anybody. */
const nobodySaid: Why = async () => undefined;

/** Brings the agent from what it has to what is wanted. */
export async function reconcile(state: FleetState, why: Why = nobodySaid): Promise<FleetChange> {
  const { config, lookers, registered } = state;
  const before = new Map(state.members.map((member) => [member.database.name, member]));
  const named = [...config.databases, ...registered.values()];
  const { members, collisions } = await choose({ configured: config.databases, lookers, named, state });
  Object.assign(state, { members, collisions });
  const plan = planFleet(state.actual, members);
  const restarting = plan.restart.map(({ name }) => name);
  const leaving = [...plan.unregister, ...restarting];
  await inParallel(restarting, atATime, (name) => letGo(state, name));
  await inParallel(plan.unregister, atATime, (name) => letGoFor(state, name, why(before.get(name), name)));
  const coming = [...plan.restart, ...plan.register].filter(({ name }) => !state.actual.has(name));
  await inParallel(coming, atATime, (database) => takeIn(state, database));
  const tried = new Set([...leaving, ...coming.map(({ name }) => name)]);
  for (const name of state.failures.keys()) if (!tried.has(name)) state.failures.delete(name);
  const failures = [...state.failures].map(([database, { code, message, hint }]) => {
    return { code, message, hint, database };
  });
  state.alarms.keep([...lookers.flatMap(problemAlarm), ...collisions.map(collisionAlarm), ...failures]);
  const done = (names: readonly string[]) => names.filter((name) => !state.failures.has(name));
  return {
    registered: done(plan.register.map(({ name }) => name)),
    unregistered: done(plan.unregister),
    restarted: done(plan.restart.map(({ name }) => name)),
    failed: failures.map(({ database, message }) => ({ name: database, message })),
    untold: state.farewells.owed(),
  };
}

async function takeIn(
  { agent, actual, failures, farewells, abort, log }: FleetState,
  database: DatabaseConfig,
): Promise<void> {
  const { name, path } = database;
  if (abort.signal.aborted) return;
  try {
    await agent.register(database);
    actual.set(name, database);
    failures.delete(name);
    farewells.forget(name);
    log.info({ database: name, path }, "registered");
  } catch (error) {
    if (!abort.signal.aborted) failures.set(name, asPageferryError(error));
  }
}

async function letGoFor(state: FleetState, name: string, why: Promise<Farewell | undefined>): Promise<void> {
  await letGo(state, name, await why);
}

async function letGo(state: FleetState, name: string, farewell?: Farewell): Promise<void> {
  const { agent, actual, failures, farewells, flushMs, teller, log } = state;
  const options = { deadlineMs: flushMs, ...(farewell === undefined ? {} : { farewell }) };
  try {
    const { isTold } = await agent.unregister(name, options);
    if (!isTold && farewell !== undefined) farewells.owe(name, farewell);
  } catch (error) {
    if (farewell !== undefined) farewells.owe(name, farewell);
    // One that is not there any more is let go.
    if (!isPageferryError(error, "not-found")) return void failures.set(name, asPageferryError(error));
  }
  actual.delete(name);
  failures.delete(name);
  log.info({ database: name }, "unregistered; its backups stay");
  teller.letGo(name);
}

/** Paths are compared, so each is said in one way. */
export function withPaths(config: Config): Config {
  const databases = config.databases.map((one) => ({
    ...{ ...one, path: resolve(one.path) },
    ...(one.shadowDirectory === undefined ? {} : { shadowDirectory: resolve(one.shadowDirectory) }),
  }));
  return { ...config, databases };
}
