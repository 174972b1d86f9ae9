// Commands in this process, for tests: run to their end, or running until a test ends them.

import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { run } from "../src/main.ts";
import { type CapturedIo, capturedIo } from "./captured-io.ts";

/** A command that runs until it is told to end; leaving its scope ends it. */
export interface RunningCommand extends AsyncDisposable {
  readonly io: CapturedIo;
  readonly ended: Promise<number>;
  /** SIGTERM, and its exit code. */
  stop(): Promise<number>;
}

/** Starts a command. */
export function startCommand(
  argv: readonly string[],
  env: Readonly<Record<string, string>> = {},
): RunningCommand {
  const io = capturedIo(env);
  const ended = run(argv, io);
  const stop = (): Promise<number> => {
    io.terminate();
    return ended;
  };
  return {
    ...{ io, ended, stop },
    async [Symbol.asyncDispose]() {
      await stop();
    },
  };
}

/** Runs a command to its end. */
export async function runCommand(argv: readonly string[], env: Readonly<Record<string, string>> = {}) {
  const { io, ended } = startCommand(argv, env);
  return { code: await ended, ...io.said };
}

/** Waits until something holds. */
export async function until(what: string, probe: () => unknown, timeoutMs = 60_000): Promise<void> {
  const deadlineMs = Date.now() + timeoutMs;
  while (!(await probe())) {
    assert.ok(Date.now() < deadlineMs, `not in ${timeoutMs} ms: ${what}`);
    await sleep(25);
  }
}
