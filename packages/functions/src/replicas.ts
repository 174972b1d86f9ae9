// A configured replica is one store for many databases: `<path>/<name>/` for each, or itself the archive of one.

import {
  type DatabaseName,
  type FileReplicaConfig,
  PageferryError,
  parseObjectName,
  type ReplicaConfig,
} from "@pageferry/format";
import { measured, type Observe } from "./measured-store.ts";
import { createReplica, type Replica } from "./replica.ts";
import type { CallOptions, Store } from "./store.ts";
import { fileStore } from "./stores/file.ts";
import { openStore } from "./stores/open.ts";

/** Objects that are looked at to tell an archive's root from a directory of roots: generations sort before most names. */
const lookedAtMax = 1000;

/** The archive in a directory, as the Go implementation's `NewFileReplica`: the path is the root itself. */
export function fileReplica(config: Pick<FileReplicaConfig, "path">): Replica {
  return createReplica(fileStore({ directory: config.path }), { root: "" });
}

/** One configured replica, for all databases. */
export interface ReplicaSet extends AsyncDisposable {
  /** A stable word for logs. Never holds a secret. */
  readonly name: string;
  /** The replica of a database, made when it is first asked for. `conflict` where the store is another's archive. */
  of(database: DatabaseName): Promise<Replica>;
  /** Those that were asked for. */
  opened(): ReadonlyMap<DatabaseName, Replica>;
  /** Names that may be databases with an archive here: the first part of every object's name, unless it is a root itself. */
  discover(options?: CallOptions): Promise<string[]>;
  /** Asks the store for next to nothing: resolves when it answers. */
  look(options?: CallOptions): Promise<void>;
  close(): Promise<void>;
}

export interface ReplicaSetOptions {
  /** Where no databases are listed (the Go implementation's form), the path is itself the root. Default true. */
  readonly hasDatabases?: boolean;
  readonly now?: () => number;
  /** Remembers whose archive a store is that is itself a root. */
  readonly owner?: { get(): string | undefined; set(database: string): void };
  /** Whether this process keeps the store in order. Default false. */
  readonly isOwner?: boolean;
  /** Told of what is done with the store, by the replica's name. */
  readonly observe?: (replica: string) => Observe;
  /** Told whenever what is held of a database is something else than before. */
  readonly onChange?: (database: DatabaseName) => void;
}

/** Opens a configured replica. Nothing is read until it is used. Errors: `bad-config`. */
export async function openReplicaSet(
  entry: ReplicaConfig | string,
  options: ReplicaSetOptions = {},
): Promise<ReplicaSet> {
  const store = await openStore(entry, { isOwner: options.isOwner ?? false });
  const { observe } = options;
  return replicaSetOf(observe === undefined ? store : measured(store, observe(store.name)), options);
}

/** The same over a store that is open. */
export function replicaSetOf(store: Store, options: ReplicaSetOptions = {}): ReplicaSet {
  const { hasDatabases = true, now = Date.now, owner } = options;
  const opening = new Map<DatabaseName, Promise<Replica>>();
  const opened = new Map<DatabaseName, Replica>();
  let rootOwner: string | undefined;
  let rootLook: Promise<boolean> | undefined;
  /** Looked at once, not once for each of a thousand databases: an archive is no root for one and a directory of roots for another. */
  const isRootItself = (): Promise<boolean> => {
    rootLook ??= isArchiveRoot(store).catch((error: unknown) => {
      rootLook = undefined;
      throw error;
    });
    return rootLook;
  };
  const open = async (database: DatabaseName): Promise<Replica> => {
    const isRoot = !hasDatabases || (await isRootItself());
    if (isRoot) {
      rootOwner ??= owner?.get() ?? database;
      if (rootOwner !== database) {
        throw new PageferryError(
          "conflict",
          `replica ${store.name} is the archive of ${rootOwner}, not of ${database}`,
          {
            hint: "Give the replica another path: it then holds one directory for each database.",
          },
        );
      }
      owner?.set(database);
    }
    const onChange = options.onChange === undefined ? undefined : () => options.onChange?.(database);
    const replica = createReplica(store, { root: isRoot ? "" : database, now, ownsStore: false, onChange });
    opened.set(database, replica);
    return replica;
  };
  const close = () => store.close();
  return {
    name: store.name,
    opened: () => opened,
    of(database) {
      const known = opening.get(database);
      if (known !== undefined) return known;
      const replica = open(database);
      opening.set(database, replica);
      replica.catch(() => opening.delete(database));
      return replica;
    },
    async discover(call) {
      if (!hasDatabases) return [];
      const names = new Set<string>();
      for await (const { name } of store.list("", call)) {
        const [first = "", ...rest] = name.split("/");
        if (rest.length > 0 && !isOfRoot(name) && parseObjectName(rest.join("/")) !== undefined)
          names.add(first);
      }
      return [...names];
    },
    async look(call) {
      // With a prefix that few names have no driver looks through its whole store.
      for await (const _ of store.list("_state.json", call)) break;
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}

/**
 * Tells whether a store is itself an archive's root: `_state.json` or a generation lies in it, as where the Go
 * implementation wrote.
 */
export async function isArchiveRoot(store: Store, options: CallOptions = {}): Promise<boolean> {
  for await (const { name } of store.list("_state.json", options)) if (name === "_state.json") return true;
  let lookedAt = 0;
  for await (const { name } of store.list("", options)) {
    if (isOfRoot(name)) return true;
    if (++lookedAt >= lookedAtMax) break;
  }
  return false;
}

function isOfRoot(name: string): boolean {
  const parsed = parseObjectName(name);
  return parsed !== undefined && "generation" in parsed;
}
