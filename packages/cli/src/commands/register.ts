// `pageferry register DB`: a running agent takes one more database, until it ends.

import { resolve } from "node:path";
import { PageferryError } from "@pageferry/format";
import { type CommandSpec, jsonOption } from "../command.ts";
import { callAgent } from "../control/control-client.ts";
import { type AgentFlags, agentFlags, agentShadowDir } from "../control/control-socket.ts";
import type { MemberView } from "../many/fleet.ts";

interface RegisterFlags extends AgentFlags {
  readonly name: string;
  readonly json: boolean;
}

/** The command. */
export const registerCommand: CommandSpec<RegisterFlags> = {
  name: "register",
  summary: "give a running agent one more database",
  arguments: [{ syntax: "<db>", description: "a bolt database file; it may not exist yet" }],
  options: [
    { flags: "--name <name>", description: "its name in every replica (default: the file's stem)" },
    ...agentFlags,
    jsonOption,
  ],
  examples: `
Examples:
  pageferry register /srv/app/tenant7.db
  pageferry register /srv/app/tenant7/app.db --name tenant7 --data /var/lib/pageferry

It is backed up from now until the agent ends: what is to be backed up after a restart, too, stands in the configuration under
\`databases\` (\`pageferry reload\` reads it again), or lies in a directory that is watched.`,
  async run([db = "", ...others], flags, io) {
    if (others.length > 0) throw new PageferryError("bad-request", "one database is registered at a time");
    const { name, json } = flags;
    const answer = await callAgent<MemberView & { readonly isNew: boolean }>({
      ...{ shadowDir: await agentShadowDir(flags, io), method: "POST", path: "/v1/register" },
      body: { path: resolve(db), ...(name === undefined ? {} : { name }) },
      signal: io.signal,
    });
    if (json) return io.out(`${JSON.stringify(answer)}\n`);
    const what = `${answer.name} (${answer.path})`;
    if (!answer.isNew) return io.out(`${what} is backed up already\n`);
    io.out(`${what} is backed up from now on, until the agent ends\n`);
    io.err("note: it is not kept over a restart: list it under `databases` in the configuration for that\n");
  },
};
