// `pageferry status [HOST]`: how each database stands in each replica, and what is wrong.

import { readFile } from "node:fs/promises";
import { PageferryError } from "@pageferry/format";
import { type CommandSpec, dataOption, jsonOption } from "../command.ts";
import { defaultDataDir, urlFile } from "../data-dir.ts";
import { createHostClient, hostToken } from "../host-client.ts";
import { formatStatus, parseStatus } from "../status-format.ts";

/** The command. */
export const statusCommand: CommandSpec<{ json: boolean; data: string }> = {
  name: "status",
  summary: "show how each database stands in each replica, and what is wrong",
  arguments: [{ syntax: "[host]", description: "http://HOST:PORT (default: the host that runs on DIR)" }],
  options: [dataOption, jsonOption],
  examples: `
Examples:
  pageferry status
  pageferry status http://10.0.0.5:7373
  pageferry status --json | jq '.databases[].lagMs'

The token is PAGEFERRY_TOKEN; for a host on this machine, DIR/token.`,
  async run([host], { json, data = defaultDataDir }, io) {
    const origin = originOf(host ?? (await runningHost(data)));
    const client = createHostClient(origin, await hostToken(origin, data, io));
    const answer = await client.getJson(`${origin}/v1/databases`, io.signal);
    io.out(json ? `${JSON.stringify(answer)}\n` : formatStatus(parseStatus(answer)));
  },
};

function originOf(host: string): string {
  const url = URL.parse(host);
  if (url === null || !/^https?:$/.test(url.protocol) || url.username !== "") {
    throw new PageferryError("bad-request", "HOST is not http://HOST:PORT");
  }
  return url.origin;
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
