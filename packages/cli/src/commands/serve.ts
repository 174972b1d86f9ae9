// `pageferry serve`: the host alone. Agents on other machines send to it.

import { replicaLabel } from "@pageferry/format";
import type { CommandSpec } from "../command.ts";
import { replicaDir } from "../data-dir.ts";
import { commonOptions, hostOptions, loadRunSettings, type RunOptions } from "../run-options.ts";
import { untilTerminated } from "../until-terminated.ts";

/** The command. */
export const serveCommand: CommandSpec<RunOptions> = {
  name: "serve",
  summary: "take backups from agents, keep them in replicas, serve restores",
  options: [...hostOptions, ...commonOptions],
  examples: `
Examples:
  pageferry serve
  pageferry serve --data /var/lib/pageferry --listen 10.0.0.5 --port 7373
  pageferry serve --config pageferry.yml

An agent needs a token: \`pageferry token create --database app\` makes one that can do nothing but add to app. The one in DIR/token, or what
PAGEFERRY_TOKEN says, can do everything. Between machines, put TLS in front.`,
  async run(_args, options, io) {
    const { config, dataDir } = await loadRunSettings([], options, io);
    const { startHost } = await import("../up.ts");
    using _ = io.onHangup(() =>
      io.err(
        "note: SIGHUP: serve reads its configuration at its start only; agents come and go without it\n",
      ),
    );
    const { url, stop } = await startHost({ config, dataDir, io });
    try {
      const replicas =
        config.replicas.length === 0 ? [replicaDir(dataDir)] : config.replicas.map(replicaLabel);
      if (options.json) io.out(`${JSON.stringify({ url, replicas })}\n`);
      else io.out(`ready at ${url}: keeping backups in ${replicas.join(", ")}\n`);
      await untilTerminated(io);
    } finally {
      await stop();
    }
  },
};
