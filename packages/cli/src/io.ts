// What a command sees of the process: streams, environment, signals. Commands take it as an argument, so that tests hand in another.

import { closeSync, openSync } from "node:fs";

/** The outside of a command. */
export interface Io {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Writes to standard output: results, and nothing else. */
  out(text: string): void;
  /** Writes bytes as they are to standard output; resolves when there is room for more. */
  outBytes(bytes: Uint8Array): Promise<void>;
  /** Whether standard output goes to a terminal, which takes control characters as orders. */
  readonly isOutTerminal: boolean;
  /** Writes to standard error: errors, alarms, progress. */
  err(text: string): void;
  /** Whether a person watches standard error. */
  readonly isTerminal: boolean;
  /** Of the terminal that standard output goes to; undefined: it goes elsewhere. */
  readonly columns?: number | undefined;
  /** Aborted by the first SIGINT or SIGTERM; the reason is the signal's name. */
  readonly signal: AbortSignal;
  /** Gives the signals of the process to `take`, as long as what is returned is not disposed of: they end nothing then. */
  takeSignals(take: (name: NodeJS.Signals) => void): Disposable;
  /** Calls `take` at SIGHUP, which asks a service to read its configuration again, as long as what is returned is not disposed of. */
  onHangup(take: () => void): Disposable;
  /** Milliseconds since the epoch. */
  now(): number;
}

/** What ends a process that says nothing to it, and what applications are told things by. */
const takenSignals = ["SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2"] as const;

/** The process itself as an `Io`. A second SIGINT or SIGTERM ends the process at once. */
export function processIo(): Io {
  const controller = new AbortController();
  let taker: ((name: NodeJS.Signals) => void) | undefined;
  for (const name of ["SIGINT", "SIGTERM"] as const) {
    process.on(name, () => {
      if (taker !== undefined) return taker(name);
      if (controller.signal.aborted) process.exit(name === "SIGINT" ? 130 : 143);
      controller.abort(name);
    });
  }
  for (const stream of [process.stdout, process.stderr]) {
    stream.on("error", (error: NodeJS.ErrnoException) => {
      // The reader left, as `head` does: nobody listens, and nothing went wrong. A backup goes on all the same.
      if (error.code !== "EPIPE") throw error;
    });
  }
  return {
    env: process.env,
    out: (text) => void process.stdout.write(text),
    outBytes: (bytes) =>
      new Promise((resolve) => {
        // Also when the reader left: what is written then is nobody's.
        process.stdout.write(bytes, () => resolve());
      }),
    isOutTerminal: process.stdout.isTTY === true,
    err: (text) => void process.stderr.write(text),
    columns: process.stdout.isTTY === true ? process.stdout.columns : undefined,
    isTerminal: process.stderr.isTTY === true,
    signal: controller.signal,
    takeSignals(take) {
      taker = take;
      for (const name of takenSignals) process.on(name, take);
      return {
        [Symbol.dispose]() {
          taker = undefined;
          for (const name of takenSignals) process.off(name, take);
        },
      };
    },
    onHangup(take) {
      const hangup = (): void => {
        // Nobody can see or end any more what was started at a terminal that is gone.
        if (process.stderr.isTTY === true && !isTerminalThere()) controller.abort("SIGHUP");
        else take();
      };
      process.on("SIGHUP", hangup);
      return { [Symbol.dispose]: () => void process.off("SIGHUP", hangup) };
    },
    now: Date.now,
  };
}

/** Whether the terminal that this process was started at is still one. */
function isTerminalThere(): boolean {
  try {
    closeSync(openSync("/dev/tty", "r"));
    return true;
  } catch {
    return false;
  }
}
