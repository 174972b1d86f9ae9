// `pageferry sync [NAME…]`: what is committed now is at the host, or in the replicas, when this ends.

import { formatDuration, parseDuration, parseTxId } from "@pageferry/format";
import { formatCaughtUp } from "../catch-up.ts";
import { type CommandSpec, jsonOption } from "../command.ts";
import { callAgent } from "../control/control-client.ts";
import { type AgentFlags, agentFlags, agentShadowDir } from "../control/control-socket.ts";
import type { SyncReport } from "../control/handlers.ts";

interface SyncFlags extends AgentFlags {
  readonly wait: boolean;
  /** Milliseconds. */
  readonly timeout: number;
  readonly json: boolean;
}

const timeoutMsDefault = 30_000;

/** The command. */
export const syncCommand: CommandSpec<SyncFlags> = {
  name: "sync",
  summary: "let a running agent send now what is committed, and wait until it is there",
  arguments: [{ syntax: "[names...]", description: "names of databases (default: all)" }],
  options: [
    { flags: "--wait", description: "wait until replicas have it, not only the host" },
    {
      flags: "--timeout <duration>",
      description: `how long at most, up to 1h (default ${formatDuration(timeoutMsDefault)})`,
      parse: parseDuration,
    },
    ...agentFlags,
    jsonOption,
  ],
  examples: `
Examples:
  pageferry sync                             the host has what all databases hold now
  pageferry sync app --wait && ./migrate     and so has every replica
  pageferry sync --wait --timeout 5m --json

It does not wait for \`syncInterval\`. What is committed meanwhile is not waited for. --wait is content with one replica where the agent may
not see them all: beside its host it may, elsewhere with PAGEFERRY_RESTORE_TOKEN. Ends with 0, or with 11 when the time is over.`,
  async run(names, flags, io) {
    const { wait = false, timeout: timeoutMs = timeoutMsDefault, json } = flags;
    const { databases } = await callAgent<SyncReport>({
      ...{ shadowDir: await agentShadowDir(flags, io), method: "POST", path: "/v1/sync" },
      ...{ body: { names, wait, timeoutMs }, signal: io.signal },
    });
    if (json) return io.out(`${JSON.stringify({ databases })}\n`);
    io.out(formatCaughtUp(databases.map(({ txid, ...rest }) => ({ ...rest, txId: parseTxId(txid) }))));
  },
};
