// How long-running commands live: until SIGINT or SIGTERM, or until the application that they run has ended.

import { constants } from "node:os";
import { runApplication } from "./application.ts";
import type { CommandEnd } from "./command.ts";
import { giveWay } from "./give-way.ts";
import type { Io } from "./io.ts";
import type { RunOptions } from "./run-options.ts";

/** Resolves when the process is asked to end. */
export function untilTerminated({ signal }: Io): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}

/**
 * Runs the application of `--exec` to its end, whose exit code is then the command's; without one, waits until the process is asked to end. From
 * here on this process gives way to the application, wherever that runs.
 */
export async function untilOver(
  { exec, killAfter }: Partial<RunOptions>,
  io: Io,
): Promise<CommandEnd | undefined> {
  if (exec === undefined) {
    giveWay();
    await untilTerminated(io);
    return undefined;
  }
  // Asked to end before it began.
  if (io.signal.aborted)
    return { exitCode: 128 + (constants.signals[io.signal.reason as NodeJS.Signals] ?? 0) };
  return { exitCode: await runApplication(exec, io, { killAfterMs: killAfter, onBegun: giveWay }) };
}

/** Standard output is the application's alone. */
export function say(io: Io, { exec }: Partial<RunOptions>, text: string): void {
  if (exec === undefined) io.out(text);
  else io.err(text);
}
