// How a command ends when it fails: one line for what, one for what to do, and an exit code that scripts can tell apart.

import { errorTable, isPageferryError } from "@pageferry/format";
import type { Io } from "./io.ts";
import { printable } from "./terminal-text.ts";

/** Ctrl-C and `kill`, as shells count them. */
const exitCodeOfSignal: Readonly<Record<string, number>> = { SIGINT: 130, SIGTERM: 143 };

/** Says what went wrong on standard error, for `--json` also on standard output, and gives the exit code. */
export function reportFailure(error: unknown, io: Io, options: { readonly json: boolean }): number {
  const signalName = io.signal.aborted ? String(io.signal.reason) : undefined;
  if (signalName !== undefined && isOfSignal(error, io.signal)) return exitCodeOfSignal[signalName] ?? 1;
  const { code, message, hint, exitCode } = describe(error);
  io.err(`error: ${message}\n${hint === undefined ? "" : `hint: ${hint}\n`}`);
  if (io.env.PAGEFERRY_DEBUG && error instanceof Error) io.err(`${stackOf(error)}\n`);
  if (options.json) io.out(`${JSON.stringify({ error: { code, message, hint } })}\n`);
  return exitCode;
}

/** What an aborted call throws: the signal's reason, or an AbortError of the platform's. */
function isOfSignal(error: unknown, signal: AbortSignal): boolean {
  return error === signal.reason || (error instanceof Error && error.name === "AbortError");
}

interface Description {
  readonly code: string;
  readonly message: string;
  readonly hint: string | undefined;
  readonly exitCode: number;
}

function describe(error: unknown): Description {
  if (isPageferryError(error)) {
    const { code, hint } = error;
    return { code, message: oneLine(error.message), hint, exitCode: errorTable[code].exitCode };
  }
  if (error instanceof AggregateError && error.errors.length > 0) return describe(error.errors[0]);
  const message = oneLine(error instanceof Error ? error.message : String(error));
  return {
    code: "unexpected",
    message: `unexpected: ${message}`,
    hint: "Set PAGEFERRY_DEBUG=1 to see where, and report it.",
    exitCode: 1,
  };
}

function oneLine(text: string): string {
  return printable(text.replace(/\s*\n\s*/g, " "));
}

function stackOf(error: Error): string {
  const cause = error.cause instanceof Error ? `\ncaused by ${stackOf(error.cause)}` : "";
  return `${error.stack ?? error.message}${cause}`;
}
