// `pageferry status [HOST]`: how each database stands in each replica, and what is wrong.

import { PageferryError } from "@pageferry/format";
import { databasesRoute } from "@pageferry/functions/routes";
import { formatAgentStatus } from "../agent-status-format.ts";
import { type CommandSpec, dataOption, jsonOption } from "../command.ts";
import { callAgent } from "../control/control-client.ts";
import { type AgentFlags, agentFlags, agentShadowDir } from "../control/control-socket.ts";
import type { AgentReport } from "../control/handlers.ts";
import { defaultDataDir } from "../data-dir.ts";
import { createHostClient, hostToken } from "../host-client.ts";
import { hostOrigin } from "../host-origin.ts";
import { formatStatus } from "../status-format.ts";

interface StatusFlags extends AgentFlags {
  readonly agent: boolean;
  readonly json: boolean;
}

/** The command. */
export const statusCommand: CommandSpec<StatusFlags> = {
  name: "status",
  summary: "show how each database stands in each replica, and what is wrong",
  arguments: [{ syntax: "[host]", description: "http://HOST:PORT (default: the host that runs on DIR)" }],
  options: [
    { flags: "--agent", description: "instead: what the agent on this machine says of its databases" },
    dataOption,
    ...agentFlags.filter(({ flags }) => flags !== "--data <dir>"),
    jsonOption,
  ],
  examples: `
Examples:
  pageferry status
  pageferry status http://10.0.0.5:7373
  pageferry status --json | jq '.databases[].lagMs'
  pageferry status --agent --shadow /var/lib/pageferry/shadow

A table where the terminal is wide enough, else a paragraph for each replica; docs/operations.md#status says what each figure
means. The token is PAGEFERRY_TOKEN; for a host on this machine, DIR/token.`,
  async run([host], flags, io) {
    const { json, data = defaultDataDir } = flags;
    if (flags.agent) {
      if (host !== undefined)
        throw new PageferryError("bad-request", "--agent asks the agent on this machine, and no HOST");
      const shadowDir = await agentShadowDir(flags, io);
      const report = await callAgent<AgentReport>({
        shadowDir,
        method: "GET",
        path: "/v1/status",
        signal: io.signal,
      });
      return io.out(json ? `${JSON.stringify(report)}\n` : formatAgentStatus(report));
    }
    const origin = await hostOrigin(host, data);
    const client = createHostClient(origin, await hostToken(origin, data, io));
    const answer = await client.call(databasesRoute, { params: {}, signal: io.signal });
    const layout = { nowMs: io.now(), columns: io.columns };
    io.out(json ? `${JSON.stringify(answer)}\n` : formatStatus(answer, layout));
  },
};
