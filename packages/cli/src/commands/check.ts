// `pageferry check FILE`: is this file a sound bolt database, and which state is it? Exit code 0 only if it is sound.

import {
  type CheckResult,
  checkDatabase,
  counted,
  formatStateHash,
  formatTxId,
  isPageferryError,
  logicalHash,
  type Meta,
  PageferryError,
  parseDuration,
} from "@pageferry/format";
import { type FilePageSource, openPageSource } from "@pageferry/format/node";
import { type CommandSpec, jsonOption } from "../command.ts";
import { agentFlags } from "../control/control-socket.ts";
import { checkEndToEnd, type EndToEndFlags } from "../end-to-end.ts";
import type { Io } from "../io.ts";
import { createProgress } from "../progress.ts";

interface CheckFlags extends EndToEndFlags {
  readonly endToEnd: boolean;
}

/** What is said of a file. */
interface Report {
  readonly path: string;
  readonly sound: boolean;
  readonly txid: string | null;
  readonly pageSize: number;
  readonly highWaterMark: number | null;
  readonly livePages: number;
  readonly logicalHash: string | null;
  readonly stateHash: string | null;
  readonly problems: readonly string[];
  readonly problemCount: number;
}

/** The command. */
export const checkCommand: CommandSpec<CheckFlags> = {
  name: "check",
  summary: "check that a file is a sound bolt database, or that a backup is whole from end to end",
  arguments: [
    {
      syntax: "[file]",
      description: "the database file; with --end-to-end also the name of a database (default: the only one)",
    },
  ],
  options: [
    {
      flags: "--end-to-end",
      description: "send what is in the file now, and wait until every replica can restore it",
    },
    {
      flags: "--timeout <duration>",
      description: "with --end-to-end: how long at most (default 1m)",
      parse: parseDuration,
    },
    {
      flags: "--host <url>",
      description:
        "with --end-to-end: http://HOST:PORT (default: the host that runs on DIR, else the agent's)",
    },
    ...agentFlags.map(({ flags, description }) => ({
      flags,
      description: `with --end-to-end: ${description}`,
    })),
    jsonOption,
  ],
  examples: `
Examples:
  pageferry check restored.db
  pageferry check --json restored.db | jq -r .logicalHash
  pageferry check --end-to-end app.db                                     from the file to each replica
  PAGEFERRY_RESTORE_TOKEN=… pageferry check --end-to-end app.db --host http://10.0.0.5:7373

The file is only read, and no lock is taken. While an application writes it, pages of several transactions may be seen
together and reported as damage: check a restored file, or a copy.

--end-to-end checks no pages. Where the agent of the database runs on this machine (it is found as \`pageferry sync\` finds it) it sends at once
what is in the file now; elsewhere that goes at the agent's own pace. Then every replica is listed anew, and must be able to restore it: what the
host remembers does not count. Only the application can commit. Where it committed nothing since the last acknowledgement nothing has to be sent,
and the answer says what that proves and what not. It needs a token with the scope read or restore (PAGEFERRY_RESTORE_TOKEN, else
PAGEFERRY_TOKEN), and ends with 11 when the time is over.`,
  async run([path], flags, io) {
    const { json = false } = flags;
    if (flags.endToEnd) return checkEndToEnd(path, flags, io);
    if (path === undefined) {
      throw new PageferryError("bad-request", "missing required argument 'file'", {
        hint: "See `pageferry check --help` for what it takes.",
      });
    }
    const report = inspect(path, io, json);
    io.out(json ? `${JSON.stringify(report)}\n` : formatReport(report));
    if (report.sound) return;
    const [first] = report.problems;
    throw new PageferryError(
      "corrupt",
      `${path} is not sound: ${counted(report.problemCount, "problem")}, the first: ${first}`,
    );
  },
};

function inspect(path: string, io: Io, json: boolean): Report {
  using source = open(path);
  using progress = createProgress(io, "check", { json });
  const { pageSize } = source;
  const found = checkDatabase(source, {
    mode: "full",
    onProgress: ({ pages, highWaterMark }) => progress.update(pages * pageSize, highWaterMark * pageSize),
  });
  const sound = found.problemCount === 0 && found.meta !== undefined;
  return {
    path,
    sound,
    ...stateOf(found),
    pageSize,
    logicalHash: sound ? logicalHash(source, found.meta as Meta) : null,
    problems: found.problems,
    problemCount: found.problemCount,
  };
}

function open(path: string): FilePageSource {
  try {
    return openPageSource(path);
  } catch (cause) {
    if (!isPageferryError(cause, "not-found")) throw cause;
    throw new PageferryError("not-found", cause.message, {
      cause,
      hint: "Name a database file that is there.",
    });
  }
}

function stateOf({ meta, pages, stateHash }: CheckResult) {
  return {
    txid: meta === undefined ? null : formatTxId(meta.txId),
    highWaterMark: meta?.highWaterMark ?? null,
    livePages: pages,
    stateHash: stateHash === undefined ? null : formatStateHash(stateHash),
  };
}

function formatReport(report: Report): string {
  const lines = [
    `${report.path}: ${report.sound ? "sound" : "NOT sound"}`,
    `txid         ${report.txid ?? "-"}`,
    `pages        ${report.livePages} live of ${report.highWaterMark ?? "-"}, ${report.pageSize} bytes each`,
    `logicalHash  ${report.logicalHash ?? "-"}`,
    `stateHash    ${report.stateHash ?? "-"}`,
    ...report.problems.map((problem) => `problem      ${problem}`),
  ];
  return `${lines.join("\n")}\n`;
}
