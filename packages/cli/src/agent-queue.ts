// Where an agent of this process sends to, as `queue` of the configuration says, and who answers questions about what came of it.

import { createQueue, type Queue } from "@pageferry/agent";
import type { Config, QueueConfig } from "@pageferry/format";
import { hostToken } from "./host-client.ts";
import { apiOf } from "./host-origin.ts";
import type { Io } from "./io.ts";

/** The most that a message waits for those of other databases, ms: requests are what SQS costs. */
const gatherMsMax = 250;

interface Place {
  readonly config: Config;
  readonly dataDir: string;
  readonly io: Io;
}

/** Makes the queue of the configuration. `timeoutMs`: how long a host is waited for. Errors: `bad-config`. */
export async function openQueue(
  queue: QueueConfig,
  { config, dataDir, io }: Place,
  timeoutMs?: number,
): Promise<Queue> {
  // At SQS the token is the API's alone.
  const api = apiOf(queue);
  const token = queue.token ?? (api === undefined ? undefined : await hostToken(api, dataDir, io));
  // One database has nobody to wait for; several may wait for a part of what commits wait anyway.
  const mayBeSeveral = config.databases.length > 1 || config.directories.length > 0;
  const gatherMs = mayBeSeveral ? Math.min(gatherMsMax, config.syncIntervalMs / 4) : 0;
  return createQueue({
    ...queue,
    ...(token === undefined ? {} : { token }),
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
    ...{ gatherMs, now: io.now },
  });
}
