// `pageferry demo`: a recorded application is backed up, lost, restored and compared, with nothing but Node.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type CommandSpec, jsonOption } from "../command.ts";

interface DemoOptions {
  readonly keep: boolean;
  readonly json: boolean;
}

/** The command. */
export const demoCommand: CommandSpec<DemoOptions> = {
  name: "demo",
  summary: "back up, lose and restore a recorded application, and prove what comes back",
  options: [
    { flags: "--keep", description: "keep the directory with the archive and the restored files" },
    jsonOption,
  ],
  examples: `
Examples:
  pageferry demo
  pageferry demo --keep

It works in a directory of its own under the system's temporary directory, and takes some fifteen seconds.`,
  async run(_args, { keep, json }, io) {
    const directory = await mkdtemp(join(tmpdir(), "pageferry-demo-"));
    let step = 0;
    try {
      const tell = (sentence: string) => io.out(json ? "" : `${++step}. ${sentence}\n`);
      const { runDemo } = await import("../demo.ts");
      const report = await runDemo(io, { directory, tell });
      if (json) return io.out(`${JSON.stringify(report)}\n`);
      io.out(
        `All ${report.restores.length} restores hold the recorded truth. ${report.seconds.toFixed(1)} s in all.\n`,
      );
      if (keep) io.out(`Kept: ${directory}\n`);
    } finally {
      if (!keep) await rm(directory, { recursive: true, force: true });
    }
  },
};
