// A configuration's entry, or a URL, to a store. Drivers come by dynamic import: who uses files loads no cloud client.

import { parseConfig, type ReplicaConfig, replicaLabel } from "@pageferry/format";
import type { Store } from "../store.ts";
import type { RetryingOptions } from "./retrying.ts";

/** Longer than an SFTP server's fsync may take, which the driver itself gives up after two minutes. */
const sftpIdleMs = 150_000;

export interface OpenStoreOptions {
  /** Whether this process keeps the store in order, as by sweeping what killed writers left. Default false. */
  readonly isOwner?: boolean;
}

/** Opens a store; nothing is read or made until it is used. Errors: `bad-config`. */
export async function openStore(
  entry: ReplicaConfig | string,
  options: OpenStoreOptions = {},
): Promise<Store> {
  const config = typeof entry === "string" ? entryOf(entry) : entry;
  const sweep = options.isOwner ?? false;
  const name = replicaLabel(config);
  switch (config.type) {
    case "file": {
      const { fileStore } = await import("./file.ts");
      return fileStore({ directory: config.path, name, sweep });
    }
    case "s3": {
      const { s3Store } = await import("./s3.ts");
      const { type: _, ...keys } = config;
      return retried(s3Store({ ...keys, name, sweep }));
    }
    case "sftp": {
      const { sftpStore } = await import("./sftp.ts");
      const { type: _, ...keys } = config;
      return retried(sftpStore({ ...keys, name, sweep }), { idleMs: sftpIdleMs });
    }
    case "nats": {
      const { natsStore } = await import("./nats.ts");
      return retried(natsStore({ ...config, name, sweep }));
    }
  }
}

/** A remote store fails now and then: what passes within seconds is repeated before anybody hears of it. A disk is not wrapped. */
async function retried(store: Store, options: RetryingOptions = {}): Promise<Store> {
  const { retrying } = await import("./retrying.ts");
  return retrying(store, options);
}

function entryOf(url: string): ReplicaConfig {
  const [config] = parseConfig({ replicas: [url] }, { source: "replica" }).replicas;
  return config as ReplicaConfig;
}
