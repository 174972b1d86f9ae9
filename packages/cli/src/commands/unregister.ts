// `pageferry unregister NAME`: a running agent lets a database go.

import { PageferryError } from "@pageferry/format";
import { type CommandSpec, jsonOption } from "../command.ts";
import { callAgent } from "../control/control-client.ts";
import { type AgentFlags, agentFlags, agentShadowDir } from "../control/control-socket.ts";
import type { LetGo } from "../many/fleet.ts";

/** The command. */
export const unregisterCommand: CommandSpec<AgentFlags & { readonly json: boolean }> = {
  name: "unregister",
  summary: "let a running agent back a database up no longer",
  arguments: [{ syntax: "<name>", description: "its name, as `pageferry status --agent` shows it" }],
  options: [...agentFlags, jsonOption],
  examples: `
Examples:
  pageferry unregister tenant7
  pageferry unregister tenant7 --data /var/lib/pageferry && rm /srv/app/tenant7.db

What is committed is captured and sent first, for ten seconds at most; what is left is in the shadow, and is sent when the database comes
back. Its backups stay. One of the configuration, or of a directory that is watched, comes back at the next \`pageferry reload\` or start.
The host is told, so that it does not take the silence for an alarm, and \`pageferry status\` says since when it is no longer backed up. One that
the agent has no longer, because it left the configuration while the agent was stopped, or its file was moved, is named the same way.`,
  async run([name = "", ...others], flags, io) {
    if (others.length > 0) throw new PageferryError("bad-request", "one database is let go at a time");
    const answer = await callAgent<LetGo>({
      ...{ shadowDir: await agentShadowDir(flags, io), method: "POST", path: "/v1/unregister" },
      ...{ body: { name }, signal: io.signal },
    });
    if (flags.json) return io.out(`${JSON.stringify(answer)}\n`);
    const { path, origin, isTold } = answer;
    const which = path === null ? answer.name : `${answer.name} (${path})`;
    io.out(`${which} is backed up no longer; its backups stay${isTold ? ", and the host knows" : ""}\n`);
    if (!isTold)
      io.err(
        "warning: the host could not be told yet, and takes its silence for an alarm; the agent tries again each minute\n",
      );
    if (origin === "configured" || origin === "found")
      io.err("note: it is still configured, and comes back at the next reload or start\n");
  },
};
