// A program that is started again and again, whatever was done to it: stopped, killed, frozen.
import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import type { RunningProcess } from "../processes.ts";
import { until } from "../temporary.ts";

export interface Actor extends AsyncDisposable {
  readonly name: string;
  /** The end of what it said since it was started last. */
  output(): string;
  start(): Promise<void>;
  /** SIGTERM, and its end. */
  stop(): Promise<number | null>;
  kill(): Promise<void>;
  /** SIGSTOP, `whileStill` as long as nothing of it moves, SIGCONT at the earliest after `ms`. */
  freeze(ms: number, whileStill?: () => Promise<void>): Promise<void>;
}

/** Makes one that is not started yet. One that ends by itself is told of by the next thing that is done to it. */
export function createActor(name: string, begin: () => Promise<RunningProcess>): Actor {
  let running: RunningProcess | undefined;
  let last: RunningProcess | undefined;
  const present = (): RunningProcess => {
    if (running === undefined) throw new Error(`${name} does not run`);
    if (!running.isRunning())
      throw new Error(`${name} had ended by itself:\n${running.output().slice(-3000)}`);
    return running;
  };
  const end = async <Value>(how: (child: RunningProcess) => Promise<Value>): Promise<Value> => {
    const child = present();
    running = undefined;
    return how(child);
  };
  return {
    name,
    output: () => last?.output().slice(-2000) ?? "",
    async start() {
      running = await begin();
      last = running;
    },
    stop: () =>
      end(async (child) => {
        const { code, signal } = await child.stop(60_000);
        if (signal === "SIGKILL")
          throw new Error(`${name} did not stop in a minute:\n${child.output().slice(-3000)}`);
        return code;
      }),
    kill: () =>
      end(async (child) => {
        child.kill("SIGKILL");
        await child.ended;
      }),
    async freeze(ms, whileStill) {
      const child = present();
      child.kill("SIGSTOP");
      try {
        await until(`${name} stands still`, () => isStopped(child.pid), { timeoutMs: 10_000, everyMs: 5 });
        await Promise.all([sleep(ms), whileStill?.()]);
      } finally {
        child.kill("SIGCONT");
      }
    },
    [Symbol.asyncDispose]: async () => running?.[Symbol.asyncDispose](),
  };
}

async function isStopped(pid: number): Promise<boolean> {
  return /^State:\s+T/m.test(await readFile(`/proc/${pid}/status`, "utf8"));
}
