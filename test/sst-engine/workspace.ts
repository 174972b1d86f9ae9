// Where a run takes place: a home for SST with the engine and its plugins, and copies of this repository's configuration, of which one
// can be altered. Nothing of the repository itself is written to, except what SST keeps for a moment in its platform.

import { chmod, copyFile, cp, mkdir, readFile, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { platform, repository } from "../infra/platform.ts";
import { runProcess } from "../processes.ts";
import { cloudVariable } from "./cloud.ts";
import { type Engine, sstCommand } from "./engine.ts";

/** Much longer than any command takes. */
const commandTimeoutMs = 10 * 60_000;

const handlers = join("packages", "functions", "dist", "lambda");

export interface WorkspaceOptions {
  readonly directory: string;
  readonly engine: Engine;
  /** Of the local AWS that keeps SST's state. */
  readonly endpoint: string;
  readonly stage: string;
}

export interface Finished {
  readonly code: number | null;
  /** Without colours. */
  readonly output: string;
  /** The end of the engine's own words. */
  log(): Promise<string>;
}

/** A copy of the configuration, and SST's command in it. */
export interface App {
  readonly path: string;
  sst(...args: readonly string[]): Promise<Finished>;
  /** Replaces texts that a file holds once. Returns how to have the file as it was. */
  alter(file: string, replacements: Readonly<Record<string, string>>): Promise<() => Promise<void>>;
}

export interface Workspace {
  /** The file of what the provider was asked to make. */
  readonly cloud: string;
  /** A copy, of this repository's own configuration unless told. */
  app(name: string, config?: string): Promise<App>;
}

export async function makeWorkspace(options: WorkspaceOptions): Promise<Workspace> {
  const { directory, stage } = options;
  const cloud = join(directory, "cloud.jsonl");
  const home = join(directory, "home");
  const bundles = join(directory, "handlers");
  await makeHome(join(home, "sst"), options.engine);
  await mustRun(process.execPath, [join(repository, "packages/functions/build/lambda.mjs"), bundles]);
  const env = environment({ ...options, home, cloud });
  return {
    cloud,
    async app(name, config = "sst.config.ts") {
      const path = join(directory, name);
      await makeApp(path, config, bundles);
      return {
        path,
        async sst(...args) {
          const { code, stdout, stderr } = await runProcess(sstCommand, [...args, ...stageOf(args, stage)], {
            ...{ cwd: path, env, timeoutMs: commandTimeoutMs },
          });
          // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what colours are made of.
          const output = `${stdout}${stderr}`.replaceAll(/\u001b\[[\d;]*[A-Za-z]/g, "");
          return { code, output, log: () => endOfLog(path) };
        },
        alter: (file, replacements) => alter(join(path, file), replacements),
      };
    },
  };
}

async function endOfLog(path: string): Promise<string> {
  const logs = ["pulumi.log", "pulumi.err.log"].map((name) =>
    readFile(join(path, ".sst", "log", name), "utf8"),
  );
  return (await Promise.all(logs)).map((text) => text.slice(-3000)).join("\n");
}

function stageOf(args: readonly string[], stage: string): readonly string[] {
  return args.includes("--stage") ? [] : ["--stage", stage];
}

interface Surroundings extends WorkspaceOptions {
  readonly home: string;
  readonly cloud: string;
}

/** No account of this machine, no download, nothing told to anybody. */
function environment({ home, cloud, endpoint }: Surroundings): Readonly<Record<string, string>> {
  return {
    ...{ SST_TELEMETRY_DISABLED: "1", DO_NOT_TRACK: "1", SST_SKIP_DEPENDENCY_CHECK: "1", SST_NO_BUN: "1" },
    ...{ SST_AWS_NO_PROFILE: "1", AWS_EC2_METADATA_DISABLED: "true", AWS_PROFILE: "" },
    ...{ AWS_ACCESS_KEY_ID: "test", AWS_SECRET_ACCESS_KEY: "test", AWS_SESSION_TOKEN: "" },
    ...{ AWS_CONFIG_FILE: join(home, "none"), AWS_SHARED_CREDENTIALS_FILE: join(home, "none") },
    ...{ AWS_ENDPOINT_URL: endpoint, PULUMI_SKIP_UPDATE_CHECK: "true", NO_COLOR: "1" },
    ...{ XDG_CONFIG_HOME: home, [cloudVariable]: cloud },
  };
}

/** SST finds here what it would have downloaded. */
async function makeHome(home: string, engine: Engine): Promise<void> {
  await mkdir(join(home, "bin"), { recursive: true });
  // It looks for the language host beside itself, wherever a link led from.
  await copyFile(engine.path, join(home, "bin", "pulumi"));
  await makeScript(join(home, "bin", "pulumi-language-nodejs"), "language-host.ts");
  for (const name of ["aws", "random"]) {
    const { version } = JSON.parse(
      await readFile(join(platform, "node_modules/@pulumi", name, "package.json"), "utf8"),
    );
    const plugin = join(home, "plugins", `resource-${name}-v${version}`, `pulumi-resource-${name}`);
    await makeScript(plugin, "resource-provider.ts", version);
  }
}

async function makeScript(path: string, program: string, ...args: readonly string[]): Promise<void> {
  const start = [process.execPath, "-C", "@pageferry/source", "--disable-warning=ExperimentalWarning"];
  const command = [...start, join(import.meta.dirname, program), ...args];
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, `#!/bin/sh\nexec ${command.map((word) => `'${word}'`).join(" ")} "$@"\n`);
  await chmod(path, 0o755);
}

async function makeApp(path: string, config: string, bundles: string): Promise<void> {
  await mkdir(join(path, ".sst"), { recursive: true });
  const text = await readFile(join(repository, config), "utf8");
  // One that lies deeper finds infra farther up.
  await writeFile(join(path, "sst.config.ts"), text.replaceAll(/(\.\.\/)+(?=infra\/)/g, "./"));
  await cp(join(repository, "infra"), join(path, "infra"), { recursive: true });
  await cp(bundles, join(path, handlers), { recursive: true });
  await symlink(platform, join(path, ".sst", "platform"));
  const lock = join(dirname(platform), "provider-lock.json");
  await cp(lock, join(path, ".sst", "provider-lock.json"));
}

async function alter(
  path: string,
  replacements: Readonly<Record<string, string>>,
): Promise<() => Promise<void>> {
  const before = await readFile(path, "utf8");
  let text = before;
  for (const [from, to] of Object.entries(replacements)) {
    if (text.split(from).length !== 2) throw new Error(`${path} does not hold once: ${from}`);
    text = text.replace(from, () => to);
  }
  await writeFile(path, text);
  return () => writeFile(path, before);
}

async function mustRun(command: string, args: readonly string[]): Promise<void> {
  const { code, stderr } = await runProcess(command, args, { cwd: repository });
  if (code !== 0) throw new Error(`${args[0]}: ${stderr}`);
}
