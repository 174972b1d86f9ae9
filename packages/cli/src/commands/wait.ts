// `pageferry wait DB`: returns when so many replicas can restore what was committed. For scripts: after a deployment, before a migration.

import {
  formatDuration,
  PageferryError,
  parseDatabaseName,
  parseDuration,
  parseTxId,
} from "@pageferry/format";
import { type AnswerOf, databasesRoute } from "@pageferry/functions/routes";
import { type CommandSpec, dataOption, jsonOption } from "../command.ts";
import { defaultDataDir } from "../data-dir.ts";
import { createHostClient, hostToken } from "../host-client.ts";
import { hostOrigin } from "../host-origin.ts";
import { type WaitAnswer, waitInTurns } from "../wait-turns.ts";

interface WaitFlags {
  readonly txid: bigint;
  readonly replicas: number;
  readonly timeout: number;
  readonly host: string;
  readonly data: string;
  readonly json: boolean;
}

const timeoutMsDefault = 30_000;

/** The command. */
export const waitCommand: CommandSpec<WaitFlags> = {
  name: "wait",
  summary: "wait until what was committed can be restored from the replicas",
  arguments: [{ syntax: "[db]", description: "the name of a database (default: the only one)" }],
  options: [
    {
      flags: "--txid <id>",
      description: "this transaction or a later one (default: the newest that was captured)",
      parse: parseTxId,
    },
    { flags: "--replicas <n>", description: "how many must have it (default: all)", parse: parseCount },
    {
      flags: "--timeout <duration>",
      description: "how long to wait at most (default 30s)",
      parse: parseDuration,
    },
    { flags: "--host <url>", description: "http://HOST:PORT (default: the host that runs on DIR)" },
    dataOption,
    jsonOption,
  ],
  examples: `
Examples:
  pageferry wait app                                           all replicas have what was captured by now
  pageferry wait app --replicas 1 --timeout 5m && ./migrate
  pageferry wait app --txid 00000000000004d2 --json

It forces nothing: it only waits for what is on its way. Ends with 0 when it is there, with 11 when the time is over.`,
  async run([name], flags, io) {
    const { data = defaultDataDir, json = false, timeout: timeoutMs = timeoutMsDefault } = flags;
    const origin = await hostOrigin(flags.host, data);
    const client = createHostClient(origin, await hostToken(origin, data, io));
    const database =
      name ?? onlyDatabase(await client.call(databasesRoute, { params: {}, signal: io.signal }));
    const answer = await waitInTurns(client, parseDatabaseName(database), {
      txid: flags.txid,
      replicas: flags.replicas,
      timeoutMs,
      signal: io.signal,
    });
    io.out(json ? `${JSON.stringify(answer)}\n` : wordsOf(answer));
  },
};

function parseCount(text: string): number {
  if (/^[1-9]\d?$/.test(text)) return Number(text);
  throw new PageferryError("bad-request", `--replicas: ${JSON.stringify(text.slice(0, 40))} is no count`);
}

/** The name of the only database that a host has. Errors: `bad-request`. */
export function onlyDatabase({ databases }: AnswerOf<typeof databasesRoute>): string {
  const [only, ...others] = databases;
  if (only !== undefined && others.length === 0) return only.name;
  const names = databases.slice(0, 20).map((one) => one.name);
  throw new PageferryError("bad-request", "which database is waited for is not said", {
    hint: names.length === 0 ? "No database is backed up there yet." : `There are ${names.join(", ")}.`,
  });
}

function wordsOf({ database, txid, waitedMs, replicas }: WaitAnswer): string {
  const have = replicas.filter(({ hasIt }) => hasIt).map((replica) => replica.name);
  return `${txid ?? "something"} of ${database} is in ${have.join(", ")} after ${formatDuration(waitedMs)}\n`;
}
