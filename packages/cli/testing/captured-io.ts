// An `Io` that keeps what a command says, so that a test can read it.

import type { Io } from "../src/io.ts";

/** What was said, and a way to send the signal. */
export interface CapturedIo extends Io {
  readonly said: { out: string; err: string };
  terminate(signal?: "SIGINT" | "SIGTERM"): void;
  hangUp(): void;
}

/** No terminal, an empty environment unless given, a real clock. */
export function capturedIo(env: Readonly<Record<string, string>> = {}): CapturedIo {
  const said = { out: "", err: "" };
  const controller = new AbortController();
  let taker: ((name: NodeJS.Signals) => void) | undefined;
  const hangups = new Set<() => void>();
  return {
    said,
    env,
    out: (text) => {
      said.out += text;
    },
    async outBytes(bytes) {
      said.out += Buffer.from(bytes).toString("latin1");
    },
    isOutTerminal: false,
    err: (text) => {
      said.err += text;
    },
    isTerminal: false,
    signal: controller.signal,
    now: Date.now,
    takeSignals(take) {
      taker = take;
      return {
        [Symbol.dispose]() {
          taker = undefined;
        },
      };
    },
    onHangup(take) {
      hangups.add(take);
      return { [Symbol.dispose]: () => void hangups.delete(take) };
    },
    hangUp() {
      for (const take of hangups) take();
    },
    terminate: (signal = "SIGTERM") => (taker === undefined ? controller.abort(signal) : taker(signal)),
  };
}
