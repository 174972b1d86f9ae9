// `pageferry version`: this program's version, Node's and the machine's, as a bug report needs them.

import { type CommandSpec, jsonOption } from "../command.ts";
import { packageVersion } from "../version.ts";

/** What `pageferry --version` prints, too. */
export function versionText(): string {
  const { version: node, platform, arch } = process;
  return `pageferry ${packageVersion()} (Node ${node}, ${platform} ${arch})`;
}

/** The command. */
export const versionCommand: CommandSpec<{ json: boolean }> = {
  name: "version",
  summary: "print the version",
  options: [jsonOption],
  examples: `
Examples:
  pageferry version
  pageferry version --json`,
  run(_args, { json }, io) {
    const { version: node, platform, arch } = process;
    if (json) io.out(`${JSON.stringify({ version: packageVersion(), node, platform, arch })}\n`);
    else io.out(`${versionText()}\n`);
  },
};
