// `pageferry check FILE`: is this file a sound bolt database, and which state is it? Exit code 0 only if it is sound.

import {
  type CheckResult,
  checkDatabase,
  formatStateHash,
  formatTxId,
  isPageferryError,
  logicalHash,
  type Meta,
  PageferryError,
} from "@pageferry/format";
import { type FilePageSource, openPageSource } from "@pageferry/format/node";
import { type CommandSpec, jsonOption } from "../command.ts";
import type { Io } from "../io.ts";
import { createProgress } from "../progress.ts";

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
export const checkCommand: CommandSpec<{ json: boolean }> = {
  name: "check",
  summary: "check that a file is a sound bolt database, and print its state",
  arguments: [{ syntax: "<file>", description: "the database file" }],
  options: [jsonOption],
  examples: `
Examples:
  pageferry check restored.db
  pageferry check --json restored.db | jq -r .logicalHash

The file is only read, and no lock is taken. While an application writes it, pages of several transactions may be seen
together and reported as damage: check a restored file, or a copy.`,
  run([path = ""], { json = false }, io) {
    const report = inspect(path, io, json);
    io.out(json ? `${JSON.stringify(report)}\n` : formatReport(report));
    if (report.sound) return;
    const [first] = report.problems;
    throw new PageferryError(
      "corrupt",
      `${path} is not sound: ${report.problemCount} problems, the first: ${first}`,
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
