// The pageferry command, run from sources or as built, and the archive it leaves behind.
import { readFile } from "node:fs/promises";
import type { Machine } from "./machines.ts";
import { type ProcessResult, type RunningProcess, runProcess, startProcess } from "./processes.ts";
import { freePort } from "./temporary.ts";

const root = new URL("..", import.meta.url).pathname;
const fromSources = [
  "-C",
  "@pageferry/source",
  "--disable-warning=ExperimentalWarning",
  `${root}packages/cli/src/bin.ts`,
];
const asBuilt = [`${root}packages/cli/dist/bin.js`];

/** What comes before pageferry's own arguments: a program and its first arguments. Benchmarks run what users install. */
export function pageferryCommand(args: readonly string[]): readonly [string, string[]] {
  return [process.execPath, [...(process.env.PAGEFERRY_BUILT === "1" ? asBuilt : fromSources), ...args]];
}

/** Runs `pageferry ARGS` to its end. */
export function pageferry(
  args: readonly string[],
  options: { readonly env?: Readonly<Record<string, string>>; readonly timeoutMs?: number } = {},
): Promise<ProcessResult> {
  return runProcess(...pageferryCommand(args), {
    env: options.env ?? {},
    timeoutMs: options.timeoutMs ?? 120_000,
  });
}

/** Runs `pageferry ARGS`, which must end with 0, and returns what it printed. */
export async function pageferryOk(
  args: readonly string[],
  options: { readonly env?: Readonly<Record<string, string>> } = {},
): Promise<string> {
  const result = await pageferry(args, options);
  if (result.code !== 0) {
    throw new Error(
      `pageferry ${args.join(" ")}: ${result.code ?? result.signal}\n${result.stdout}${result.stderr}`,
    );
  }
  return result.stdout;
}

/** A `pageferry up` or `serve` that is ready. */
export interface Host extends RunningProcess {
  readonly url: string;
  readonly dataDir: string;
  /** The root of a database's file replica. */
  replica(database: string): string;
  /** The token that `up` and `serve` made. */
  token(): Promise<string>;
}

export interface HostOptions {
  readonly dataDir: string;
  readonly port?: number;
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly readyMs?: number;
}

async function startHost(
  verb: "up" | "serve",
  databases: readonly string[],
  options: HostOptions,
): Promise<Host> {
  const port = options.port ?? (await freePort());
  const args = [
    verb,
    ...databases,
    "--data",
    options.dataDir,
    "--port",
    String(port),
    ...(options.args ?? []),
  ];
  const child = startProcess(...pageferryCommand(args), { env: options.env ?? {} });
  const url = `http://127.0.0.1:${port}`;
  try {
    await child.line(new RegExp(`http://(127\\.0\\.0\\.1|localhost):${port}`), options.readyMs ?? 30_000);
  } catch (error) {
    await child[Symbol.asyncDispose]();
    throw error;
  }
  return {
    ...child,
    url,
    dataDir: options.dataDir,
    replica: (database) => `${options.dataDir}/replica/${database}`,
    token: async () => (await readFile(`${options.dataDir}/token`, "utf8")).trim(),
  };
}

/** Starts `pageferry up DB…` and waits for the line with its URL. */
export function startUp(databases: readonly string[], options: HostOptions): Promise<Host> {
  return startHost("up", databases, options);
}

/** Starts `pageferry serve` and waits for the line with its URL. */
export function startServe(options: HostOptions): Promise<Host> {
  return startHost("serve", [], options);
}

/** A point that can be restored. */
export interface Point {
  readonly generation: string;
  readonly txid: string;
  readonly time: string;
}

/** The points of a replica root or of a host's database, as `pageferry points --json` prints them. */
export async function listPoints(from: string, env: Readonly<Record<string, string>> = {}): Promise<Point[]> {
  const text = (await pageferryOk(["points", "--json", from], { env })).trim();
  if (text === "") {
    return [];
  }
  const parsed: unknown = text.startsWith("[")
    ? JSON.parse(text)
    : text.split("\n").map((line) => JSON.parse(line));
  return parsed as Point[];
}

/** Restores one point, or the newest, into `out`, which must not exist. Returns the run, successful or not. */
export function restore(
  from: string,
  out: string,
  point: { readonly txid?: string; readonly generation?: string; readonly timestamp?: string } = {},
  options: { readonly args?: readonly string[]; readonly env?: Readonly<Record<string, string>> } = {},
): Promise<ProcessResult> {
  const args = ["restore", "-o", out];
  for (const key of ["txid", "generation", "timestamp"] as const) {
    const value = point[key];
    if (value !== undefined) {
      args.push(`--${key}`, value);
    }
  }
  return pageferry([...args, ...(options.args ?? []), from], { env: options.env ?? {} });
}

/** A txid as pageferry prints it. */
export function hexTxId(txId: number | bigint): string {
  return txId.toString(16).padStart(16, "0");
}

/** Starts `pageferry replicate DB…`, which sends to a host that runs elsewhere. */
export function startReplicate(
  databases: readonly string[],
  options: {
    readonly host: string;
    readonly token: string;
    readonly shadowDir: string;
    readonly args?: readonly string[];
    readonly env?: Readonly<Record<string, string>>;
    /** Default: this one. */
    readonly machine?: Machine;
  },
): RunningProcess {
  const args = ["replicate", ...databases, "--host", options.host, "--shadow", options.shadowDir];
  const command = pageferryCommand([...args, ...(options.args ?? [])]);
  return startProcess(...(options.machine?.runs(...command) ?? command), {
    env: { ...options.env, PAGEFERRY_TOKEN: options.token },
  });
}
