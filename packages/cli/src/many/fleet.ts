// The databases of a running agent, kept as the configuration, the directories and the control socket want them: one change after the
// other, and what does not succeed is an alarm and tried again.

import { basename, extname, resolve } from "node:path";
import { type Config, PageferryError, parseDatabaseName } from "@pageferry/format";
import { createFarewells, farewellOfReload } from "./farewells.ts";
import { type Member, type Origin, waitingKeys } from "./fleet-plan.ts";
import { collisionError, takenError, unknownError } from "./fleet-words.ts";
import {
  choose,
  type FleetChange,
  type FleetOptions,
  type FleetState,
  reconcile,
  withPaths,
} from "./reconcile.ts";
import { createStandingAlarms } from "./standing-alarms.ts";

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

/** A database that was let go by name. */
export interface LetGo {
  readonly name: string;
  /** Null: the agent did not have it any more, and only spoke for it. */
  readonly path: string | null;
  readonly origin: Origin | null;
  /** Whether the host knows. Else it is told as soon as it can be. */
  readonly isTold: boolean;
}

/** The databases of a running agent. */
export interface Fleet {
  /** Registers what was found, and begins to watch. */
  start(): Promise<FleetChange>;
  /** Adds a database until the agent ends. Errors: `exists`, `bad-name`, what registering throws. */
  register(path: string, name?: string): Promise<MemberView & { readonly isNew: boolean }>;
  /** Lets a database go, wherever it comes from, until a reload or a start wants it, and tells the host. Errors: `not-found`. */
  unregister(name: string): Promise<LetGo>;
  /** Takes another configuration. Errors: `bad-config`; then everything stays as it is. */
  reload(config: Config): Promise<Reloaded>;
  /** Looks at the directories that are watched, without waiting for an event. */
  look(): Promise<void>;
  members(): readonly MemberView[];
  /** Ends watching, after what is under way. */
  stop(): Promise<void>;
}

/** As long as the last commits of a database that is let go may take. */
export const flushMsDefault = 10_000;
const againMsDefault = 60_000;

/** Makes the fleet of an agent. */
export function createFleet(options: FleetOptions): Fleet {
  const config = withPaths(options.config);
  const members = config.databases.map((database): Member => ({ origin: "configured", database }));
  const state: FleetState = {
    ...{ flushMs: flushMsDefault, ...options, config, members, collisions: [] },
    alarms: createStandingAlarms(options.teller),
    farewells: createFarewells(options.speaker, options.log),
    abort: new AbortController(),
    ...{ registered: new Map(), dismissed: new Set(), failures: new Map(), isLookDue: false },
    actual: new Map(config.databases.map((database) => [database.name, database])),
    turn: Promise.resolve(),
  };
  const again = () => {
    if (state.failures.size > 0) inTurn(state, () => reconcile(state)).catch(() => {});
    if (state.farewells.owed().length > 0)
      inTurn(state, () => state.farewells.sayAgain(state.abort.signal)).catch(() => {});
  };
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
      // A reload that was under way has lookers of its own.
      for (const looker of state.lookers) looker[Symbol.dispose]();
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

async function register(state: FleetState, path: string, given: string | undefined) {
  const name: string = parseDatabaseName(given ?? basename(path, extname(path)));
  const same = state.members.find(({ database }) => database.path === path);
  if (same !== undefined && (given ?? same.database.name) === same.database.name)
    return { ...viewOf(same), isNew: await hasCome(state, same.database.name) };
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

/** Whether a database that is to be had had to be tried again, and has come now. Errors: what registering throws. */
async function hasCome(state: FleetState, name: string): Promise<boolean> {
  if (state.actual.has(name)) return false;
  await reconcile(state);
  const failure = state.failures.get(name);
  if (failure !== undefined) throw failure;
  return true;
}

async function unregister(state: FleetState, name: string): Promise<LetGo> {
  const { farewells } = state;
  const member = state.members.find(({ database }) => database.name === name);
  if (member === undefined) {
    // It was let go before, or left the configuration while no agent ran.
    if (!(await farewells.knows(name))) throw unknownError(name, [...state.actual.keys()]);
    return { name, path: null, origin: null, isTold: await farewells.say(name, "unregistered") };
  }
  const isActual = state.actual.has(name);
  state.registered.delete(name);
  state.dismissed.add(name);
  await reconcile(state, async (_, leaving) => (leaving === name ? "unregistered" : undefined));
  // One that the agent was to have, and could not: what it sent before, it speaks for.
  if (!isActual && (await farewells.knows(name))) await farewells.say(name, "unregistered");
  return { ...viewOf(member), isTold: !farewells.owed().includes(name) };
}

async function reload(state: FleetState, next: Config): Promise<Reloaded> {
  const opened = state.openLookers(next, state.lookers);
  try {
    for (const looker of opened) await looker.look({ isReload: true, signal: state.abort.signal });
    const named = [...next.databases, ...state.registered.values()];
    const seen = { ...state, dismissed: new Set<string>() };
    const { collisions } = await choose({
      ...{ configured: next.databases, lookers: opened, named, state: seen },
    });
    const standing = new Set(state.collisions.map(({ path }) => path));
    const first = collisions.find(({ path }) => !standing.has(path));
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
  const change = await reconcile(state, farewellOfReload);
  watch(state);
  return { ...change, waiting };
}

function viewOf({ origin, database: { name, path } }: Member): MemberView {
  return { name, path, origin };
}
