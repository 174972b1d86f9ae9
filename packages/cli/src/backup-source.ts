// FROM of `restore` and `points`: replicas, wherever they are, or a database of a host. What each can give is the same.

import type { ArchiveReader } from "@pageferry/format";
import {
  type CompanionsEntry,
  type Config,
  PageferryError,
  type Point,
  type RestorePlan,
  type RestoreTarget,
  type TimelineJson,
} from "@pageferry/format";
import { loadConfig } from "./config-file.ts";
import { defaultDataDir } from "./data-dir.ts";
import { openHostSource } from "./host-source.ts";
import type { Io } from "./io.ts";
import { manifestReader } from "./manifest-reader.ts";
import { openManifestSource } from "./manifest-source.ts";
import { openReplicaSource } from "./replica-source.ts";

/** Where backups of one database are read from. */
export interface BackupSource extends AsyncDisposable {
  /** A stable word for messages. Never holds a secret. */
  readonly name: string;
  /** Every point that can be restored, newest first. */
  points(signal: AbortSignal): Promise<readonly Point[]>;
  /** From when to when it can be restored, the newest points, and what is missing where. */
  timeline(signal: AbortSignal): Promise<TimelineJson>;
  /** Plans a restore; `without` names objects that turned out to be unusable. */
  plan(target: RestoreTarget, signal: AbortSignal, without?: ReadonlySet<string>): Promise<RestorePlan>;
  /** The version of the companion files that belongs to a plan for this target; `undefined`: there is none of that time. */
  companions(
    plan: RestorePlan,
    target: RestoreTarget,
    signal: AbortSignal,
  ): Promise<Pick<CompanionsEntry, "name" | "size"> | undefined>;
  /** Every version of the companion files, newest first. */
  companionVersions(signal: AbortSignal): Promise<readonly CompanionsEntry[]>;
  /** Gives the objects of a plan. */
  readonly readers: readonly ArchiveReader[];
  /** Silence after which another reader is asked; undefined: the restore's own. */
  readonly stallMs?: number;
}

/** Where to look for what FROM does not say. */
export interface SourceOptions {
  /** Where a host on this machine keeps its token. */
  readonly dataDir?: string | undefined;
  /** A host's public key, a file or its text: manifests that it did not sign are refused. */
  readonly manifestKey?: string | undefined;
  /** The words that a host asks for where an old file does harm. */
  readonly acknowledge?: string | undefined;
  /** A configuration: its credentials serve the replicas it names, and its databases may be named by their names. */
  readonly config?: string | undefined;
}

/**
 * Opens FROM: replicas, of which each may hold what another lacks (paths, `file://`, `s3://`, `nats://`, `sftp://`, or the name of a
 * configured database for all its replicas), or one `http(s)://HOST/v1/databases/NAME`, or one manifest that was saved as `….json`. Errors: `bad-request`, `bad-config`, `not-found`.
 */
export async function openBackupSource(
  froms: readonly string[],
  io: Io,
  options: SourceOptions = {},
): Promise<BackupSource> {
  const hosts = froms.filter((from) => /^https?:\/\//i.test(from));
  const [first = ""] = froms;
  const read = await manifestReader(options.manifestKey, io);
  if (froms.length === 1 && first.endsWith(".json")) return openManifestSource(first, read, io);
  if (hosts.length === 0) {
    if (options.manifestKey !== undefined)
      throw new PageferryError("bad-request", "--manifest-key: replicas have no manifests", {
        hint: "It is for a host, or for a manifest in a file.",
      });
    return openReplicaSource(froms, io, await configOf(options, io));
  }
  if (froms.length > 1) {
    throw new PageferryError("bad-request", "FROM: a host is read alone; it takes from all its replicas", {
      hint: "Name either one host, or any number of replicas.",
    });
  }
  const { dataDir = defaultDataDir, acknowledge } = options;
  return openHostSource(first, { dataDir, read, acknowledge }, io);
}

async function configOf({ config }: SourceOptions, io: Io): Promise<Config | undefined> {
  return config === undefined ? undefined : (await loadConfig(io, config)).config;
}
