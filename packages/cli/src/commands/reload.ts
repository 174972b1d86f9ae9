// `pageferry reload`: a running agent reads its configuration again.

import { type CommandSpec, jsonOption } from "../command.ts";
import { callAgent } from "../control/control-client.ts";
import { type AgentFlags, agentFlags, agentShadowDir } from "../control/control-socket.ts";
import type { Reloaded } from "../many/fleet.ts";
import { reloadedWords } from "../many/reloaded-words.ts";

/** The command. */
export const reloadCommand: CommandSpec<AgentFlags & { readonly json: boolean }> = {
  name: "reload",
  summary: "let a running agent read its configuration again",
  options: [...agentFlags, jsonOption],
  examples: `
Examples:
  pageferry reload
  pageferry reload --data /var/lib/pageferry --json | jq .registered

The same as SIGHUP, and says what came of it; with --exec it is the only way, for there SIGHUP is the application's. Databases come and go;
other keys wait for the next start, and are named. A configuration that is wrong is refused, and everything goes on as before.`,
  async run(_args, flags, io) {
    const answer = await callAgent<Reloaded>({
      ...{ shadowDir: await agentShadowDir(flags, io), method: "POST", path: "/v1/reload" },
      signal: io.signal,
    });
    io.out(flags.json ? `${JSON.stringify(answer)}\n` : reloadedWords(answer));
  },
};
