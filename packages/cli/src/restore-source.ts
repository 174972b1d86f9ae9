// Where a restore on start reads from: beside a host its replicas, elsewhere the host, with a token of its own for that.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { type Config, type DatabaseConfig, isPageferryError, PageferryError } from "@pageferry/format";
import { manifestKeyRoute } from "@pageferry/functions/routes";
import type { BackupSource } from "./backup-source.ts";
import { replicaDir } from "./data-dir.ts";
import { isLoopback } from "./host-client.ts";
import { apiOf } from "./host-origin.ts";
import { openHostDatabase, openHostSource } from "./host-source.ts";
import type { Io } from "./io.ts";
import { manifestReader } from "./manifest-reader.ts";
import { openReplicaSource } from "./replica-source.ts";

interface Place {
  readonly config: Config;
  readonly dataDir: string;
  readonly io: Io;
}

/** A database in all replicas of `up`. */
export function openFromReplicas(
  { name }: DatabaseConfig,
  { config, dataDir, io }: Place,
): Promise<BackupSource> {
  const own = { type: "file", path: replicaDir(dataDir) } as const;
  const replicas = config.replicas.length > 0 ? config.replicas : [own];
  return openReplicaSource([name], io, { ...config, replicas });
}

/** A database of a host, by manifest. */
export async function openFromHost({ name }: DatabaseConfig, place: Place): Promise<BackupSource> {
  const { config, dataDir, io } = place;
  const hostUrl = readingHost(config);
  const from = `${hostUrl.replace(/\/+$/, "")}/v1/databases/${encodeURIComponent(name)}`;
  const token = await restoreToken(place);
  const source = await openHostSource(
    from,
    { dataDir, token, read: await manifestReader(undefined, io), acknowledge: config.restore.acknowledge },
    io,
  );
  return {
    ...source,
    async plan(target, signal, without) {
      try {
        return await source.plan(target, signal, without);
      } catch (error) {
        // "There is none" may also be the word of a proxy that knows no host; only a host has a key.
        if (isPageferryError(error, "not-found")) {
          const { client } = await openHostDatabase(from, dataDir, io, token);
          await client.call(manifestKeyRoute, { params: {}, signal }).catch((cause: unknown) => {
            throw new PageferryError("unavailable", `${source.name}: not found, and no host says so`, {
              cause,
            });
          });
        }
        throw error;
      }
    },
  };
}

/** Asked before anything is lost: whoever finds out in need that there is no token is too late. Errors: `bad-config`. */
export async function checkRestoreToken(place: Place): Promise<void> {
  if (!place.config.restore.enabled) return;
  readingHost(place.config);
  if ((await restoreToken(place)) !== undefined) return;
  throw new PageferryError("bad-config", "restore.enabled: there is no token to restore with", {
    hint: "Set PAGEFERRY_RESTORE_TOKEN. At the host: `pageferry token create --scopes restore --database NAME` makes one.",
  });
}

/** The host that backups are read from. Errors: `bad-config` where nobody who could be asked is known. */
export function readingHost({ queue }: Config): string {
  const url = queue === undefined ? undefined : apiOf(queue);
  if (url !== undefined) return url;
  throw new PageferryError("bad-config", "an SQS queue alone cannot say what there is, or is stored", {
    hint: "Set `queue.api`, or --api, to the URL of the API.",
  });
}

/** PAGEFERRY_RESTORE_TOKEN, else `restore.token`; for a host on this machine the one in its data. The agent's own can read nothing. */
export async function restoreToken({ config, dataDir, io }: Place): Promise<string | undefined> {
  const given = io.env.PAGEFERRY_RESTORE_TOKEN || config.restore.token;
  if (given) return given;
  const url = URL.parse((config.queue && apiOf(config.queue)) ?? "");
  if (url === null || !isLoopback(url.hostname)) return undefined;
  return readFile(join(dataDir, "token"), "utf8").then(
    (text) => text.trim() || undefined,
    () => undefined,
  );
}
