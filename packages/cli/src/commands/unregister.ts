// `pageferry unregister NAME`: a running agent lets a database go.

import { PageferryError } from "@pageferry/format";
import { type CommandSpec, jsonOption } from "../command.ts";
import { callAgent } from "../control/control-client.ts";
import { type AgentFlags, agentFlags, agentShadowDir } from "../control/control-socket.ts";
import type { MemberView } from "../many/fleet.ts";

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
back. Its backups stay. One of the configuration, or of a directory that is watched, comes back at the next \`pageferry reload\` or start.`,
  async run([name = "", ...others], flags, io) {
    if (others.length > 0) throw new PageferryError("bad-request", "one database is let go at a time");
    const answer = await callAgent<MemberView>({
      ...{ shadowDir: await agentShadowDir(flags, io), method: "POST", path: "/v1/unregister" },
      ...{ body: { name }, signal: io.signal },
    });
    if (flags.json) return io.out(`${JSON.stringify(answer)}\n`);
    io.out(`${answer.name} (${answer.path}) is backed up no longer; its backups stay\n`);
    if (answer.origin !== "registered")
      io.err("note: it is still configured, and comes back at the next reload or start\n");
  },
};
