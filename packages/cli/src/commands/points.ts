// `pageferry points FROM`: everything that can be restored, newest first.

import { openBackupSource } from "../backup-source.ts";
import { type CommandSpec, dataOption, fromConfigOption, fromDescription, jsonOption } from "../command.ts";
import { formatPoints, pointToJson } from "../points-format.ts";

/** The command. */
export const pointsCommand: CommandSpec<{ json: boolean; data: string; config: string }> = {
  name: "points",
  summary: "list what can be restored, newest first",
  arguments: [{ syntax: "<from...>", description: fromDescription }],
  options: [fromConfigOption, dataOption, jsonOption],
  examples: `
Examples:
  pageferry points pageferry-data/replica/app
  pageferry points s3://backups/app file:///mnt/backup/app                      of both together
  pageferry points --json http://127.0.0.1:7373/v1/databases/app | jq -r '.[0].txid'

For a host, the token is PAGEFERRY_TOKEN; for one on this machine, DIR/token.`,
  async run(froms, { json, data, config }, io) {
    await using source = await openBackupSource(froms, io, { dataDir: data, config });
    const points = await source.points(io.signal);
    if (json) io.out(`${JSON.stringify(points.map(pointToJson), null, 1)}\n`);
    else if (points.length === 0) io.out(`${source.name}: no point can be restored yet\n`);
    else io.out(formatPoints(points));
  },
};
