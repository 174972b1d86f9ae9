// Where a running agent is reached from this machine: a socket in its shadow directory. A command finds it as the agent found it.

import { resolve } from "node:path";
import type { OptionSpec } from "../command.ts";
import { loadConfig } from "../config-file.ts";
import { defaultDataDir, shadowDir } from "../data-dir.ts";
import type { Io } from "../io.ts";

/** The socket's name in the shadow directory. */
export const controlSocket = "control.sock";

/** Flags that say which agent. */
export interface AgentFlags {
  readonly config: string;
  readonly data: string;
  readonly shadow: string;
}

/** Their options, as every command that asks an agent has them. */
export const agentFlags: readonly OptionSpec[] = [
  {
    flags: "--config <file>",
    description: "the agent's configuration (default $PAGEFERRY_CONFIG, else /etc/pageferry.yml)",
  },
  {
    flags: "--data <dir>",
    description: `the agent's data (default: the configuration's, else ${defaultDataDir})`,
  },
  {
    flags: "--shadow <dir>",
    description: "the agent's shadow (default: the configuration's, else DIR/shadow)",
  },
];

/** The agent's shadow directory. With `data` a configuration that is broken just now does not matter. Errors: `bad-config`. */
export async function agentShadowDir({ config, data, shadow }: Partial<AgentFlags>, io: Io): Promise<string> {
  if (shadow !== undefined) return resolve(shadow);
  const loaded = await loadConfig(io, config).catch((error: unknown) => {
    if (data === undefined) throw error;
  });
  return resolve(loaded?.config.shadowDir ?? shadowDir(data ?? loaded?.config.dataDir ?? defaultDataDir));
}
