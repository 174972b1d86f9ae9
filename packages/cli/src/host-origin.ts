// Which host is meant: by a command the one that is named, else the one that runs on the data directory; by a queue the one behind it.

import { readFile } from "node:fs/promises";
import { PageferryError, parseQueueUrl, type QueueConfig } from "@pageferry/format";
import { urlFile } from "./data-dir.ts";

/** `http://HOST:PORT`, from what was typed or from what the running host wrote. Errors: `bad-request`, `not-found`. */
export async function hostOrigin(host: string | undefined, dataDir: string): Promise<string> {
  const url = URL.parse(host ?? (await runningHost(dataDir)));
  if (url === null || !/^https?:$/.test(url.protocol) || url.username !== "") {
    throw new PageferryError("bad-request", "HOST is not http://HOST:PORT");
  }
  return url.origin;
}

/** The host that answers: the queue's own URL, or with SQS its `api`, if there is one. */
export function apiOf({ url, api }: QueueConfig): string | undefined {
  return parseQueueUrl(url) === undefined ? url : api;
}

async function runningHost(dataDir: string): Promise<string> {
  try {
    return (await readFile(urlFile(dataDir), "utf8")).trim();
  } catch (cause) {
    throw new PageferryError("not-found", `no host runs on ${dataDir}`, {
      cause,
      hint: "Start one with `pageferry up` or `serve`, name its data with --data, or its URL.",
    });
  }
}
