// `pageferry status [HOST]`: how each database stands in each replica, and what is wrong.

import { databasesRoute } from "@pageferry/functions/routes";
import { type CommandSpec, dataOption, jsonOption } from "../command.ts";
import { defaultDataDir } from "../data-dir.ts";
import { createHostClient, hostToken } from "../host-client.ts";
import { hostOrigin } from "../host-origin.ts";
import { formatStatus } from "../status-format.ts";

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

A table where the terminal is wide enough, else a paragraph for each replica; docs/operations.md#status says what each figure
means. The token is PAGEFERRY_TOKEN; for a host on this machine, DIR/token.`,
  async run([host], { json, data = defaultDataDir }, io) {
    const origin = await hostOrigin(host, data);
    const client = createHostClient(origin, await hostToken(origin, data, io));
    const answer = await client.call(databasesRoute, { params: {}, signal: io.signal });
    const layout = { nowMs: io.now(), columns: io.columns };
    io.out(json ? `${JSON.stringify(answer)}\n` : formatStatus(answer, layout));
  },
};
