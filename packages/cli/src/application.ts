// `--exec`: the application as a child. It gets what the process is told by signals, and its end is the command's end.

import { spawn } from "node:child_process";
import { constants } from "node:os";
import { formatDuration, PageferryError } from "@pageferry/format";
import type { Io } from "./io.ts";

/** How to run it. */
export interface ApplicationOptions {
  /** From the first signal that asks it to end until SIGKILL. Absent: it takes the time that it takes. */
  readonly killAfterMs?: number | undefined;
  /** Called when it has begun, with what this process was until then. */
  readonly onBegun?: () => void;
}

/** Whoever runs a program that is not there, or may not be run, gets these from a shell. */
const exitCodeOfFailure: Readonly<Record<string, number>> = { ENOENT: 127, EACCES: 126 };

/** Signals that ask a program to end. */
const endingSignals: ReadonlySet<NodeJS.Signals> = new Set(["SIGINT", "SIGTERM", "SIGQUIT", "SIGHUP"]);

/** What a terminal sends to everything that runs in front, the child included. */
const terminalSignals: ReadonlySet<NodeJS.Signals> = new Set(["SIGINT", "SIGQUIT"]);

/** Secrets of ours; the application needs none of them. */
const ownSecrets = ["PAGEFERRY_TOKEN", "PAGEFERRY_RESTORE_TOKEN"];

/** Runs a program to its end, with this process's streams, and gives its exit code: 128 and the number of the signal that ended it. */
export async function runApplication(
  [file = "", ...args]: readonly string[],
  io: Io,
  { killAfterMs, onBegun }: ApplicationOptions = {},
): Promise<number> {
  const env = Object.fromEntries(Object.entries(io.env).filter(([name]) => !ownSecrets.includes(name)));
  const { promise: ended, resolve } = Promise.withResolvers<number>();
  let timer: NodeJS.Timeout | undefined;
  using _ = io.takeSignals((name) => {
    if (!(io.isTerminal && terminalSignals.has(name))) child.kill(name);
    if (killAfterMs === undefined || !endingSignals.has(name)) return;
    timer ??= setTimeout(() => {
      io.err(`note: --exec: ${file} goes on ${formatDuration(killAfterMs)} after ${name}, and is killed\n`);
      child.kill("SIGKILL");
    }, killAfterMs);
  });
  // Only now: a child that has begun may already be the reason for a signal, and one that nobody takes ends this process.
  const child = spawn(file, args, { stdio: "inherit", env });
  onBegun?.();
  child.once("error", (error: NodeJS.ErrnoException) => {
    // Also what a signal to a child that has just ended comes to.
    if (child.pid !== undefined) return;
    io.err(
      `error: --exec: ${file} cannot be run (${error.code})\nhint: Name a program that is there; it is no shell's command line.\n`,
    );
    resolve(exitCodeOfFailure[error.code ?? ""] ?? 126);
  });
  child.once("exit", (code, signal) =>
    resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])),
  );
  try {
    return await ended;
  } finally {
    clearTimeout(timer);
  }
}

/** A word: what stands in quotes, what is escaped, and what is neither, with nothing between. */
const wordPattern = /(?:'[^']*'|"(?:[^"\\]|\\.)*"|\\.|[^\s'"\\])+/gs;

/**
 * A command line as its words: quotes and backslashes as in a shell, and nothing else of one. What needs a shell says so: `sh -c '…'`.
 * Errors: `bad-request` for an open quote, or no word at all.
 */
export function parseCommandLine(text: string): readonly string[] {
  const words = (text.match(wordPattern) ?? []).map(unquoted);
  const isAllTaken = text.replace(wordPattern, "").trim() === "";
  if (isAllTaken && words[0]) return words;
  throw new PageferryError(
    "bad-request",
    `--exec: ${isAllTaken ? "a command is expected" : "a quote or a backslash has no end"}`,
    {
      hint: `It is a program and its arguments, in one argument: --exec "app --db app.db". For a shell: --exec "sh -c 'a && b'".`,
    },
  );
}

function unquoted(word: string): string {
  return word.replace(
    /'([^']*)'|"((?:[^"\\]|\\.)*)"|\\(.)/gs,
    (_, single?: string, double?: string, escaped?: string) =>
      single ?? double?.replace(/\\(["\\$`])/g, "$1") ?? escaped ?? "",
  );
}
