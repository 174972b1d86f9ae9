// `pageferry points FROM`: everything that can be restored, newest first.

import { openBackupSource } from "../backup-source.ts";
import { type CommandSpec, dataOption, jsonOption } from "../command.ts";
import { formatPoints, pointToJson } from "../points-format.ts";

/** The command. */
export const pointsCommand: CommandSpec<{ json: boolean; data: string }> = {
  name: "points",
  summary: "list what can be restored, newest first",
  arguments: [
    { syntax: "<from>", description: "a replica's root (path or file://), or http://HOST/v1/databases/NAME" },
  ],
  options: [dataOption, jsonOption],
  examples: `
Examples:
  pageferry points pageferry-data/replica/app
  pageferry points --json http://127.0.0.1:7373/v1/databases/app | jq -r '.[0].txid'

For a host, the token is PAGEFERRY_TOKEN; for one on this machine, DIR/token.`,
  async run([from = ""], { json, data }, io) {
    const source = await openBackupSource(from, io, data);
    const points = await source.points(io.signal);
    if (json) io.out(`${JSON.stringify(points.map(pointToJson), null, 1)}\n`);
    else if (points.length === 0) io.out(`${source.name}: no point can be restored yet\n`);
    else io.out(formatPoints(points));
  },
};
