// Which databases an agent is to have, out of what is configured, registered and found; and what is to be done to the ones that it has.

import type { Config, DatabaseConfig } from "@pageferry/format";
import type { FoundFile } from "./find-databases.ts";

/** Where a database comes from: the configuration, the control socket, or a directory. */
export type Origin = "configured" | "registered" | "found";

/** A database that the agent is to have. */
export interface Member {
  readonly origin: Origin;
  readonly database: DatabaseConfig;
}

/** A file whose name another database has. */
export interface Collision {
  readonly name: string;
  readonly path: string;
  readonly other: Member;
}

/** A file that was found, with what its directory says of it. */
export type FoundDatabase = FoundFile & Pick<DatabaseConfig, "profile">;

/** What there is to choose from. */
export interface Candidates {
  readonly configured: readonly DatabaseConfig[];
  readonly registered: readonly DatabaseConfig[];
  readonly found: readonly FoundDatabase[];
  /** Files that were named, by absolute path and by id: a directory that holds them, too, adds nothing. */
  readonly named: ReadonlySet<string>;
  /** The paths of those at work, by name: a file that comes later does not take a name away. */
  readonly holders?: ReadonlyMap<string, string>;
}

/** The databases to have, one of a name, and the files that are left out because theirs was taken. */
export function chooseMembers({ configured, registered, found, named, holders = new Map() }: Candidates): {
  readonly members: readonly Member[];
  readonly collisions: readonly Collision[];
} {
  const members = new Map<string, Member>();
  const collisions: Collision[] = [];
  const add = (member: Member): void => {
    const { name, path } = member.database;
    const other = members.get(name);
    if (other === undefined) members.set(name, member);
    else if (other.database.path !== path) collisions.push({ name, path, other });
  };
  for (const database of configured) add({ origin: "configured", database });
  for (const database of registered) add({ origin: "registered", database });
  const unnamed = found.filter(({ path, id }) => !named.has(path) && !named.has(id));
  const holds = ({ name, path }: FoundDatabase) => holders.get(name) === path;
  for (const { id: _, ...database } of [...unnamed.filter(holds), ...unnamed.filter((file) => !holds(file))])
    add({ origin: "found", database });
  return { members: [...members.values()], collisions };
}

/** What brings an agent from the databases that it has to those that it is to have, by name. */
export interface FleetPlan {
  readonly unregister: readonly string[];
  /** Let go, and taken again from elsewhere. */
  readonly restart: readonly DatabaseConfig[];
  readonly register: readonly DatabaseConfig[];
}

/** Compares by what the agent depends on; heartbeat and profile are the host's. */
export function planFleet(
  actual: ReadonlyMap<string, DatabaseConfig>,
  wanted: readonly Pick<Member, "database">[],
): FleetPlan {
  const databases = wanted.map(({ database }) => database);
  const names = new Set(databases.map(({ name }) => name));
  const ofAgent = ({ heartbeat: _, profile: __, ...own }: DatabaseConfig) =>
    JSON.stringify(Object.entries(own).sort());
  const isOther = (database: DatabaseConfig): boolean => {
    const now = actual.get(database.name);
    return now !== undefined && ofAgent(now) !== ofAgent(database);
  };
  return {
    unregister: [...actual.keys()].filter((name) => !names.has(name)),
    restart: databases.filter(isOther),
    register: databases.filter(({ name }) => !actual.has(name)),
  };
}

/** What a reload takes over; the host's part of a database's settings is not among it. */
const reloaded: ReadonlySet<string> = new Set(["databases", "directories"]);

/** The keys, as they are written, whose new values wait for a restart. Their values are not told: some are secrets. */
export function waitingKeys(now: Config, next: Config): string[] {
  const keys = changedKeys(now, next).filter((key) => !reloaded.has(key));
  const told = new Map(now.databases.map((database) => [database.name, database]));
  const ofDatabases = next.databases.flatMap(({ name, heartbeat, profile }) => {
    const before = told.get(name);
    const isChanged = before?.heartbeat !== heartbeat || before?.profile !== profile;
    return isChanged && (before !== undefined || heartbeat !== undefined || profile !== undefined)
      ? [`databases: heartbeat or profile of ${name}`]
      : [];
  });
  return [
    ...keys.flatMap((key) => {
      const [a, b] = [now[key as keyof Config], next[key as keyof Config]];
      const isNested = isFields(a) && isFields(b);
      return isNested ? changedKeys(a, b).map((nested) => `${key}.${written(nested)}`) : [written(key)];
    }),
    ...ofDatabases,
  ];
}

function changedKeys(now: object, next: object): string[] {
  const keys = new Set([...Object.keys(now), ...Object.keys(next)]);
  const textOf = (fields: object, key: string) => JSON.stringify((fields as Record<string, unknown>)[key]);
  return [...keys].filter((key) => textOf(now, key) !== textOf(next, key));
}

function isFields(value: unknown): value is object {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Inside, a duration has its unit in its name. */
function written(key: string): string {
  return key.replace(/Ms$/, "");
}
