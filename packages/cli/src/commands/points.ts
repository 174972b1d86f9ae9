// `pageferry points FROM`: from when to when what can be restored, how finely, and what is missing; and the points themselves.

import { pointJson } from "@pageferry/format";
import { openBackupSource } from "../backup-source.ts";
import { type CommandSpec, dataOption, fromConfigOption, fromDescription, jsonOption } from "../command.ts";
import { formatPoints, formatTimeline } from "../points-format.ts";

interface PointsFlags {
  readonly all: boolean;
  readonly timeline: boolean;
  readonly json: boolean;
  readonly data: string;
  readonly config: string;
}

/** The command. */
export const pointsCommand: CommandSpec<PointsFlags> = {
  name: "points",
  summary: "list what can be restored, newest first",
  arguments: [{ syntax: "<from...>", description: fromDescription }],
  options: [
    { flags: "--all", description: "print every point, instead of the timeline and the newest 20" },
    { flags: "--timeline", description: "with --json: the timeline, instead of the list of all points" },
    fromConfigOption,
    dataOption,
    jsonOption,
  ],
  examples: `
Examples:
  pageferry points pageferry-data/replica/app
  pageferry points s3://backups/app file:///mnt/backup/app                      of both together, and which lacks what
  pageferry points --json http://127.0.0.1:7373/v1/databases/app | jq -r '.[0].txid'
  pageferry points --json --timeline pageferry-data/replica/app | jq '.generations[0].holes'

TIME is the commit's, by the clock of its machine; RECEIVED is the host's. A time between two points restores the older one; a
transaction between two is refused, and both are named. Above the point at which its child left a generation it goes on in
another history: such points are listed, and restored where --generation or --txid names them.

For a host, the token is PAGEFERRY_TOKEN; for one on this machine, DIR/token.`,
  async run(froms, { all, timeline, json, data, config }, io) {
    await using source = await openBackupSource(froms, io, { dataDir: data, config });
    const answer = async (): Promise<string> => {
      if (json) {
        const list = async () => (await source.points(io.signal)).map(pointJson);
        return `${JSON.stringify(timeline ? await source.timeline(io.signal) : await list(), null, 1)}\n`;
      }
      if (!all) return formatTimeline(await source.timeline(io.signal));
      return formatPoints((await source.points(io.signal)).map(pointJson));
    };
    const text = await answer();
    io.out(text === "" ? `${source.name}: no point can be restored yet\n` : text);
  },
};
