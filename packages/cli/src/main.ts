// Runs one command line and ends with an exit code. Nothing here decides what a command does.

import { reportFailure } from "./failure.ts";
import { type Io, processIo } from "./io.ts";
import { runProgram } from "./program.ts";

/** Runs the process's own arguments. */
export async function main(): Promise<void> {
  process.exitCode = await run(process.argv.slice(2), processIo());
}

/** Runs `argv` (without node and script) and gives the exit code. Never throws. */
export async function run(argv: readonly string[], io: Io): Promise<number> {
  try {
    return await runProgram(argv, io);
  } catch (error) {
    return reportFailure(error, io, { json: argv.includes("--json") });
  }
}
