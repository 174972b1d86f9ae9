// `pageferry pin DB`: keeps a point until somebody lets it go, whatever retention says.

import { formatTxId, PageferryError, parseDatabaseName, parseTxId } from "@pageferry/format";
import { type AnswerOf, pinRoute, pinsRoute, unpinRoute } from "@pageferry/functions/routes";
import { type CommandSpec, dataOption, jsonOption } from "../command.ts";
import { defaultDataDir } from "../data-dir.ts";
import { createHostClient, hostToken } from "../host-client.ts";
import { hostOrigin } from "../host-origin.ts";
import { formatTable } from "../table.ts";

interface PinFlags {
  readonly txid: bigint;
  readonly timestamp: string;
  readonly generation: string;
  readonly note: string;
  readonly list: boolean;
  readonly remove: boolean;
  readonly host: string;
  readonly data: string;
  readonly json: boolean;
}

type PinJson = AnswerOf<typeof pinsRoute>["pins"][number];

/** The command. */
export const pinCommand: CommandSpec<PinFlags> = {
  name: "pin",
  summary: "keep a point until somebody lets it go, whatever retention says",
  arguments: [{ syntax: "<db>", description: "the name of a database" }],
  options: [
    { flags: "--txid <id>", description: "the point: 16 hex digits, or a shorter decimal", parse: parseTxId },
    { flags: "--timestamp <time>", description: "the newest point that is not later, RFC 3339" },
    { flags: "--generation <id>", description: "of this generation" },
    { flags: "--note <text>", description: "why, for those who find it" },
    { flags: "--list", description: "list what is pinned" },
    { flags: "--remove", description: "let the point of --txid go" },
    { flags: "--host <url>", description: "http://HOST:PORT (default: the host that runs on DIR)" },
    dataOption,
    jsonOption,
  ],
  examples: `
Examples:
  pageferry pin app --timestamp 2026-11-22T13:07:11Z --note "before the migration"
  pageferry pin app                                            the newest point
  pageferry pin app --list
  pageferry pin app --remove --txid 00000000000004d2

A pin keeps one point, and what is needed to restore it, in every replica.`,
  async run([name = ""], flags, io) {
    const { data = defaultDataDir, json = false, list = false, remove = false } = flags;
    const origin = await hostOrigin(flags.host, data);
    const client = createHostClient(origin, await hostToken(origin, data, io));
    const call = { params: { database: parseDatabaseName(name) }, signal: io.signal };
    if (list) {
      const { pins } = await client.call(pinsRoute, call);
      io.out(json ? `${JSON.stringify(pins)}\n` : formatPins(pins));
      return;
    }
    if (remove && flags.txid === undefined) throw new PageferryError("bad-request", "--remove needs --txid");
    const { timestamp, generation, note } = flags;
    const txid = flags.txid === undefined ? undefined : formatTxId(flags.txid as never);
    const target = { txid, timestamp, generation };
    const answer = await (remove
      ? client.call(unpinRoute, { ...call, query: target })
      : client.call(pinRoute, { ...call, query: { ...target, note } }));
    if (json) io.out(`${JSON.stringify(answer)}\n`);
    else
      io.out(
        `${answer.txid} of ${answer.generation} ${remove ? "is let go" : "stays"}: ${answer.replicas.join(", ")}\n`,
      );
  },
};

function formatPins(pins: readonly PinJson[]): string {
  if (pins.length === 0) return "nothing is pinned\n";
  const rows = pins.map(({ generation, txid, createdAtMs, note, replicas }) => [
    txid,
    generation,
    createdAtMs === null ? "-" : new Date(createdAtMs).toISOString(),
    String(replicas.length),
    note ?? "",
  ]);
  return formatTable(["TXID", "GENERATION", "PINNED", "REPLICAS", "NOTE"], rows);
}
