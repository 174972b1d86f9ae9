// The host that an agent sends to: whether it is there, takes the token, lets restores, and has the same time.

import type { Queue } from "@pageferry/agent";
import { type Config, formatDuration, isPageferryError, type QueueConfig } from "@pageferry/format";
import { manifestKeyRoute } from "@pageferry/functions/routes";
import { openQueue } from "../agent-queue.ts";
import { createHostClient } from "../host-client.ts";
import { apiOf } from "../host-origin.ts";
import type { Io } from "../io.ts";
import { checkRestoreToken, readingHost, restoreToken } from "../restore-source.ts";
import { type Finding, failed, ok } from "./finding.ts";

interface HostOptions {
  readonly config: Config;
  readonly dataDir: string;
  readonly io: Io;
}

/** Points are found by time within this. */
const skewWarnMs = 5000;

/** Signatures of stores and tokens that expire do not bear more. */
const skewFailMs = 5 * 60_000;

/** A host that does not answer by then is not there. */
const answerMs = 10_000;

/** Looks at the host of the configuration; nothing where agent and host are one process. */
export async function lookAtHost(options: HostOptions): Promise<Finding[]> {
  const { queue } = options.config;
  if (queue === undefined) return [];
  const api = apiOf(queue);
  const found = await Promise.all([
    api === undefined ? [] : lookAtClock(api, options.io),
    lookAtQueue(queue, options),
    lookAtRestore(options),
  ]);
  return found.flat();
}

/** The host's time, to the second as HTTP has it, against ours in the middle of the call. */
async function lookAtClock(url: string, { now, signal }: Io): Promise<Finding[]> {
  const begunMs = now();
  let response: Response;
  try {
    response = await fetch(`${url.replace(/\/+$/, "")}/healthz`, {
      signal: AbortSignal.any([signal, AbortSignal.timeout(answerMs)]),
    });
    await response.arrayBuffer();
  } catch {
    signal.throwIfAborted();
    // That the host is not there is the queue's finding.
    return [];
  }
  const date = Date.parse(response.headers.get("date") ?? "");
  if (Number.isNaN(date)) return [];
  return [judgeClock(url, date + 500 - (begunMs + now()) / 2)];
}

/** `skewMs`: how far the host's clock is ahead of ours. */
export function judgeClock(subject: string, skewMs: number): Finding {
  const size = Math.abs(skewMs);
  const area = "clock";
  // Half a second is what a Date header cannot tell.
  if (size <= skewWarnMs)
    return ok(area, subject, "this machine and the host have the same time, to some seconds");
  return {
    ...{ level: size > skewFailMs ? "fail" : "warn", area, subject },
    says: `this machine is ${formatDuration(Math.round(size / 1000) * 1000)} ${skewMs > 0 ? "behind" : "ahead of"} the host: points are found by times that are wrong by as much`,
    todo: "Set both clocks by NTP (`timedatectl set-ntp true`).",
  };
}

async function lookAtQueue(queue: QueueConfig, options: HostOptions): Promise<Finding[]> {
  const client = await openQueue(queue, options, answerMs);
  const api = apiOf(queue);
  const asked = api === undefined ? [] : await askNeeds(client, api, options);
  if (api === queue.url) return asked;
  const untried: Finding = {
    ...{ level: "note", area: "queue", subject: client.name },
    says: "whether the agent may send there only a message could tell, and none was sent",
    todo: "After the start, `pageferry check --end-to-end DB` proves it.",
  };
  return [...asked, untried];
}

async function askNeeds(client: Queue, api: string, { config, io }: HostOptions): Promise<Finding[]> {
  const word = api === config.queue?.url ? "takes" : "knows";
  const asked = config.databases.map(async ({ name }): Promise<Finding> => {
    const begunMs = performance.now();
    try {
      await client.needs(name, { signal: io.signal });
      return ok(
        "queue",
        api,
        `${word} ${name}, and answers in ${Math.round(performance.now() - begunMs)} ms`,
      );
    } catch (error) {
      io.signal.throwIfAborted();
      return failed("queue", `${api} for ${name}`, error);
    }
  });
  return Promise.all(asked);
}

async function lookAtRestore(options: HostOptions): Promise<Finding[]> {
  const { config, io } = options;
  if (!config.restore.enabled) return [];
  let url = "restore.enabled";
  try {
    await checkRestoreToken(options);
    url = readingHost(config);
    await createHostClient(url, await restoreToken(options)).call(manifestKeyRoute, {
      ...{ params: {}, signal: io.signal },
    });
    return [ok("restore", url, "a restore on start may read there")];
  } catch (error) {
    io.signal.throwIfAborted();
    // That nobody answers is the queue's finding.
    if (isPageferryError(error, "unavailable")) return [];
    return [failed("restore", url, error)];
  }
}
