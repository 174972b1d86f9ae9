// Evaluates an sst.config.ts without a cloud account, an engine or a provider: SST's own components run, under Pulumi's mocks, and what
// they would make is a graph. It leans on SST's inside, so `sst` is pinned, and this is run at every upgrade.

import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Graph } from "./graph.ts";
import { repository } from "./platform.ts";
import type { Mutation } from "./program.ts";

export interface EvaluateOptions {
  readonly root: string;
  readonly config: string;
  readonly stage: string;
  readonly secrets?: Readonly<Record<string, string>>;
  readonly mutations?: readonly Mutation[];
  /** Whether bundles that do nothing stand in for this repository's own: they are quicker. */
  readonly standIns?: boolean;
  /** As `sst dev` would run it. */
  readonly dev?: boolean;
}

/** Much longer than any evaluation takes. */
const timeoutMs = 120_000;

const run = promisify(execFile);

/** The graph of a configuration, this repository's own unless told. Throws what the program throws, by its message. */
export async function evaluate(options: Partial<EvaluateOptions> = {}): Promise<Graph> {
  const root = options.root ?? repository;
  const config = options.config ?? join(root, "sst.config.ts");
  const directory = await mkdtemp(join(tmpdir(), "pageferry-graph-"));
  const file = join(directory, "graph.json");
  const asked: EvaluateOptions = { stage: "production", ...options, root, config };
  try {
    await run(process.execPath, [join(import.meta.dirname, "evaluate-run.ts"), file, JSON.stringify(asked)], {
      cwd: root,
      timeout: timeoutMs,
      // Nothing of the machine's own account, and no call home.
      env: { PATH: process.env.PATH, HOME: directory, SST_TELEMETRY_DISABLED: "1", NODE_NO_WARNINGS: "1" },
    });
    return JSON.parse(await readFile(file, "utf8")) as Graph;
  } catch (cause) {
    const said = (cause as { readonly stderr?: string }).stderr?.trim();
    throw new Error(said || `the evaluation of ${config} failed`, { cause });
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
