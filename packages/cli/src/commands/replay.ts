// `pageferry replay`: another chance for messages that were set aside.

import { counted } from "@pageferry/format";
import { type AnswerOf, replayRoute } from "@pageferry/functions/routes";
import { type CommandSpec, dataOption, jsonOption } from "../command.ts";
import { defaultDataDir } from "../data-dir.ts";
import { asFlag } from "../host-call.ts";
import { createHostClient, hostToken } from "../host-client.ts";
import { hostOrigin } from "../host-origin.ts";

interface ReplayOptions {
  readonly replica: string;
  readonly database: string;
  readonly forks: boolean;
  readonly json: boolean;
  readonly data: string;
}

/** The command. */
export const replayCommand: CommandSpec<ReplayOptions> = {
  name: "replay",
  summary: "try messages again that could not be delivered and were set aside",
  arguments: [{ syntax: "[host]", description: "http://HOST:PORT (default: the host that runs on DIR)" }],
  options: [
    { flags: "--replica <name>", description: "those of one replica, as `status` names it (default: all)" },
    { flags: "--database <name>", description: "those of one database (default: all)" },
    { flags: "--forks", description: "also take envelopes again of generations that were refused as forked" },
    dataOption,
    jsonOption,
  ],
  examples: `
Examples:
  pageferry replay --replica file:///mnt/backup
  pageferry replay --replica s3://backups/bolt --database app http://10.0.0.5:7373
  pageferry replay --database app --forks

Mend the cause first: \`pageferry status\` names it. Doing it twice is harmless.
The token is PAGEFERRY_TOKEN; for a host on this machine, DIR/token.`,
  async run([host], { replica, database, forks = false, json, data = defaultDataDir }, io) {
    const origin = await hostOrigin(host, data);
    const client = createHostClient(origin, await hostToken(origin, data, io));
    const query = { replica, database, forks: asFlag(forks) };
    const answer = await client.call(replayRoute, { params: {}, query, signal: io.signal });
    io.out(json ? `${JSON.stringify(answer)}\n` : formatReplay(answer));
  },
};

function formatReplay({ replayed, forks }: AnswerOf<typeof replayRoute>): string {
  const lines = replayed.map(({ replica, messages }) =>
    messages === 0
      ? `${replica}: nothing was set aside`
      : `${replica}: ${counted(messages, "message is", "messages are")} tried again`,
  );
  if (forks > 0) lines.push(`${counted(forks, "generation is", "generations are")} taken again`);
  return lines.map((line) => `${line}\n`).join("");
}
