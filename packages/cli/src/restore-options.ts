// The flags of `restore`, parsed at the border: what comes out is a target that the planner takes.

import {
  type CheckMode,
  type Generation,
  PageferryError,
  parseGeneration,
  parseTxId,
  type RestoreTarget,
  type TxId,
} from "@pageferry/format";
import { dataOption, fromConfigOption, jsonOption, type OptionSpec } from "./command.ts";

/** What the flags say. */
export interface RestoreOptions {
  readonly output: string;
  readonly txid: TxId;
  /** Milliseconds since the epoch. */
  readonly timestamp: number;
  readonly generation: Generation;
  readonly force: boolean;
  readonly dryRun: boolean;
  readonly ifDbNotExists: boolean;
  readonly ifReplicaExists: boolean;
  readonly parallelism: number;
  readonly integrityCheck: "none" | CheckMode;
  readonly files: string;
  readonly filesInPlace: boolean;
  readonly manifestKey: string;
  readonly acknowledge: string;
  readonly data: string;
  readonly config: string;
  readonly json: boolean;
}

/** Objects that may be under way at a time: more only fills memory. */
const parallelismMax = 64;

/** Those that name a point. */
export const pointOptions: readonly OptionSpec[] = [
  {
    flags: "--txid <txid>",
    description: "the transaction: 16 hex digits, or a shorter decimal",
    parse: named("--txid", parseTxId),
  },
  {
    flags: "--timestamp <time>",
    description: "the newest point not later than this RFC 3339 time",
    parse: parseTime,
  },
  {
    flags: "--generation <id>",
    description: "in this generation only",
    parse: named("--generation", parseGeneration),
  },
];

/** The flags. */
export const restoreOptions: readonly OptionSpec[] = [
  { flags: "-o, --output <file>", description: "the file to write", isRequired: true },
  ...pointOptions,
  { flags: "--force", description: "replace a file that is there" },
  {
    flags: "--files <dir>",
    description: "restore the companion files of that time, too, into this directory",
  },
  {
    flags: "--files-in-place",
    description: "restore them where `files` of --config names them; those that are there only with --force",
  },
  { flags: "--dry-run", description: "only say what would be fetched" },
  { flags: "--if-db-not-exists", description: "do nothing, successfully, when the file is there" },
  { flags: "--if-replica-exists", description: "do nothing, successfully, when there is no backup" },
  {
    flags: "--parallelism <n>",
    description: "objects to fetch at a time (default 8)",
    parse: parseParallelism,
  },
  {
    flags: "--integrity-check <mode>",
    description: "none, quick or full (default quick)",
    parse: parseIntegrity,
  },
  {
    flags: "--manifest-key <key>",
    description: "refuse a manifest that this host did not sign: its manifest-key.pub, as a file or as text",
  },
  {
    flags: "--acknowledge <words>",
    description: "say that you know which harm an old file of this application does; a host tells the words",
  },
  fromConfigOption,
  dataOption,
  jsonOption,
];

/** What to restore. Two targets at once are `bad-request`. */
export function restoreTarget(
  options: Partial<Pick<RestoreOptions, "txid" | "timestamp" | "generation">>,
): RestoreTarget {
  const { txid, timestamp, generation } = options;
  if (txid !== undefined && timestamp !== undefined) {
    throw new PageferryError("bad-request", "--txid and --timestamp name two targets: give one");
  }
  return {
    ...(txid === undefined ? {} : { txId: txid }),
    ...(timestamp === undefined ? {} : { timestampMs: timestamp }),
    ...(generation === undefined ? {} : { generation }),
  };
}

/** Puts the option's name before the parser's own words. */
function named<Value>(flag: string, parse: (text: string) => Value): (text: string) => Value {
  return (text) => {
    try {
      return parse(text);
    } catch (cause) {
      throw new PageferryError("bad-request", `${flag}: ${cause instanceof Error ? cause.message : text}`, {
        cause,
      });
    }
  };
}

const rfc3339 = /^\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:\d{2})$/;

/** A time without a zone would mean another point on another machine, so it is refused. */
function parseTime(text: string): number {
  const ms = rfc3339.test(text) ? Date.parse(text.toUpperCase().replace(" ", "T")) : Number.NaN;
  if (Number.isNaN(ms)) {
    throw new PageferryError(
      "bad-request",
      `--timestamp: ${JSON.stringify(text)} is not a time with a zone`,
      {
        hint: "Write RFC 3339, such as 2026-11-22T13:07:11Z or 2026-11-22T14:07:11.250+01:00.",
      },
    );
  }
  return ms;
}

function parseParallelism(text: string): number {
  const count = /^\d{1,3}$/.test(text) ? Number(text) : 0;
  if (count < 1 || count > parallelismMax) {
    throw new PageferryError(
      "bad-request",
      `--parallelism: ${JSON.stringify(text)} is not a number from 1 to ${parallelismMax}`,
    );
  }
  return count;
}

function parseIntegrity(text: string): RestoreOptions["integrityCheck"] {
  if (text === "none" || text === "quick" || text === "full") return text;
  throw new PageferryError(
    "bad-request",
    `--integrity-check: ${JSON.stringify(text)} is not none, quick or full`,
  );
}
