// The flags that `up`, `serve` and `replicate` share, and what they mean in the words of the configuration.

import type { Config } from "@pageferry/format";
import { PageferryError, parseDuration } from "@pageferry/format";
import { parseCommandLine } from "./application.ts";
import { jsonOption, type OptionSpec } from "./command.ts";
import { type ConfigOverrides, loadConfig } from "./config-file.ts";
import { defaultDataDir } from "./data-dir.ts";
import type { Io } from "./io.ts";

/** What the flags say; the values are checked with the configuration. */
export interface RunOptions {
  readonly config: string;
  readonly data: string;
  readonly port: number;
  readonly listen: string;
  readonly granularity: string;
  readonly syncInterval: string;
  readonly host: string;
  readonly queue: string;
  readonly staging: string;
  readonly api: string;
  readonly stage: string;
  readonly shadow: string;
  readonly shadowDirectory: string;
  readonly restore: boolean;
  readonly exec: readonly string[];
  /** Milliseconds, like the others. */
  readonly killAfter: number;
  readonly flushDeadline: number;
  readonly json: boolean;
}

/** A configuration that a command can start with. */
export interface RunSettings {
  readonly config: Config;
  readonly dataDir: string;
}

/** For all three. */
export const commonOptions: readonly OptionSpec[] = [
  {
    flags: "--config <file>",
    description: "the configuration (default $PAGEFERRY_CONFIG, else /etc/pageferry.yml)",
  },
  {
    flags: "--data <dir>",
    description: `where queue, token and shadow are kept (default ${defaultDataDir})`,
  },
  jsonOption,
];

/** For those that listen. */
export const hostOptions: readonly OptionSpec[] = [
  {
    flags: "--port <n>",
    description: "the port to listen on (default 7373, or a free one)",
    parse: parsePort,
  },
  { flags: "--listen <address>", description: "the address to listen on (default 127.0.0.1)" },
];

/** For those that capture. */
export const agentOptions: readonly OptionSpec[] = [
  {
    flags: "--granularity <g>",
    description: "transaction: every commit is a point; interval: one per batch (default)",
  },
  {
    flags: "--sync-interval <duration>",
    description: "how long commits are gathered, such as 250ms (default 1s)",
  },
  {
    flags: "--shadow-directory <dir>",
    description:
      "take the commits of one database from where witchbolt's `stream` writes them, not from its file",
  },
  {
    flags: "--restore",
    description: "first bring a database back that is missing or not sound (restore.enabled)",
  },
  {
    flags: "--exec <command>",
    description: "run the application: it starts when this has, gets its signals, and its end is the end",
    parse: parseCommandLine,
  },
  {
    flags: "--kill-after <duration>",
    description: "with --exec: how long it may go on after a signal to end (default: as long as it takes)",
    parse: parseDuration,
  },
  {
    flags: "--flush-deadline <duration>",
    description: "how long storing the last commits may take at the end (default 30s)",
    parse: parseDuration,
  },
];

/** Where an agent sends to. */
export const queueOptions: readonly OptionSpec[] = [
  { flags: "--host <url>", description: "the host, as `pageferry serve` prints it" },
  {
    flags: "--queue <url>",
    description: "instead: an SQS queue, by its URL or sqs://ACCOUNT/NAME?region=REGION",
  },
  { flags: "--staging <url>", description: "with --queue: the bucket for large bodies, s3://BUCKET" },
  { flags: "--api <url>", description: "with --queue: the API that knows what is missing" },
  {
    flags: "--stage <name>",
    description: "with --queue: the deploy stage that is sent to, such as production",
  },
];

/** Reads the configuration and lays the flags over it. Errors: `bad-config`, `bad-request`. */
export async function loadRunSettings(
  databases: readonly string[],
  options: Partial<RunOptions>,
  io: Io,
): Promise<RunSettings> {
  const listen = given({ host: options.listen, port: options.port });
  const overrides: ConfigOverrides = given({
    databases: databasesOf(databases, options.shadowDirectory),
    granularity: options.granularity,
    syncInterval: options.syncInterval,
    queue: queueOf(options),
    shadowDir: options.shadow,
    dataDir: options.data,
    listen: Object.keys(listen).length === 0 ? undefined : listen,
  });
  const { config } = await loadConfig(io, options.config, overrides);
  const restore = { ...config.restore, ...(options.restore === true ? { enabled: true } : {}) };
  return { config: { ...config, restore }, dataDir: config.dataDir ?? defaultDataDir };
}

/** Reads the configuration again, with the same flags over it. Errors: as at the start. */
export function loaderOf(
  databases: readonly string[],
  options: Partial<RunOptions>,
  { io, command }: { readonly io: Io; readonly command: string },
): () => Promise<Config> {
  return async () => {
    const { config } = await loadRunSettings(databases, options, io);
    requireDatabases(config, command);
    return config;
  };
}

/** What of the flags a start takes, beside the configuration. */
export function startOptions({ exec, flushDeadline }: Partial<RunOptions>) {
  return {
    isBeforeApplication: exec !== undefined,
    ...(flushDeadline === undefined ? {} : { stopDeadlineMs: flushDeadline }),
  };
}

/** The flags take the place of the file's `queue` as a whole: a bucket of the one and a queue of the other would not fit. */
function queueOf({ host, queue, staging, api, stage }: Partial<RunOptions>): object | undefined {
  if (host !== undefined && queue !== undefined) {
    throw new PageferryError("bad-request", "--host and --queue: commits are sent to one of the two");
  }
  const written = given({ url: queue ?? host, staging, api, stage });
  return Object.keys(written).length === 0 ? undefined : written;
}

function databasesOf(paths: readonly string[], shadowDirectory: string | undefined): unknown {
  if (shadowDirectory === undefined) return paths.length > 0 ? paths.map(shieldVariables) : undefined;
  const [path, ...others] = paths;
  if (path === undefined || others.length > 0) {
    throw new PageferryError("bad-request", "--shadow-directory: it is of one database", {
      hint: "Name that database's file, too; for several, set `shadowDirectory` of each in the configuration.",
    });
  }
  return [{ path: shieldVariables(path), shadowDirectory: shieldVariables(shadowDirectory) }];
}

/** A path typed at a shell has had its variables filled in; what is left of `${` is the path's own. */
function shieldVariables(path: string): string {
  return path.replaceAll("${", "$${");
}

function given(fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

function parsePort(text: string): number {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN;
  if (!(port <= 65_535)) {
    throw new PageferryError("bad-request", `--port: ${JSON.stringify(text)} is not a port from 0 to 65535`);
  }
  return port;
}

/** `up` and `replicate` have nothing to do without a database. */
export function requireDatabases({ databases, directories }: Config, command: string): void {
  if (databases.length > 0 || directories.length > 0) return;
  throw new PageferryError("bad-request", "no database is named", {
    hint: `Name one: \`pageferry ${command} path/to/app.db\`, or list it under \`databases\` in the configuration.`,
  });
}
