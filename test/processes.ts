// Child processes of the tests: started with `await using`, read by line, and never left behind.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createInterface } from "node:readline";

/** How a process ended: an exit code, or the signal that killed it. */
export interface ProcessEnd {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A running child. Leaving its scope kills it and waits until it is gone. */
export interface RunningProcess extends AsyncDisposable {
  readonly pid: number;
  readonly ended: Promise<ProcessEnd>;
  isRunning(): boolean;
  /** What it printed so far, both streams: for messages of failed assertions. */
  output(): string;
  stdout(): string;
  /** The first line of either stream, past or coming, that `wanted` holds for. Fails when the process ends before. */
  line(wanted: RegExp | ((line: string) => boolean), timeoutMs?: number): Promise<string>;
  kill(signal?: NodeJS.Signals): void;
  /** SIGTERM, then SIGKILL after `deadlineMs`. */
  stop(deadlineMs?: number): Promise<ProcessEnd>;
}

export interface ProcessOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly input?: "pipe" | "ignore";
}

/** What is kept of each stream: enough for a message, bounded for a chatty long run. */
const outputCharactersMax = 4_000_000;

const running = new Set<ChildProcess>();
process.on("exit", () => {
  for (const child of running) {
    child.kill("SIGKILL");
  }
});
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.once(signal, () => process.exit(1));
}

interface Waiter {
  readonly wanted: (line: string) => boolean;
  readonly found: (line: string) => void;
}

/** What a child prints: kept for messages, and waited for by line. */
function collectOutput(child: ChildProcess) {
  const text = { stdout: "", stderr: "" };
  const lines: string[] = [];
  const waiters = new Set<Waiter>();
  const take = (stream: "stdout" | "stderr", line: string) => {
    if (text[stream].length < outputCharactersMax) {
      text[stream] += `${line}\n`;
      lines.push(line);
    }
    for (const waiter of waiters) {
      if (waiter.wanted(line)) {
        waiters.delete(waiter);
        waiter.found(line);
      }
    }
  };
  for (const stream of ["stdout", "stderr"] as const) {
    const source = child[stream];
    if (source !== null) {
      createInterface({ input: source, crlfDelay: Number.POSITIVE_INFINITY }).on("line", (line) => {
        take(stream, line);
      });
    }
  }
  return { text, lines, waiters };
}

/** Starts a program. A program that is not there rejects in `ended` and `line`. */
export function startProcess(
  command: string,
  args: readonly string[],
  options: ProcessOptions = {},
): RunningProcess & { readonly child: ChildProcess } {
  const child = spawn(command, args, {
    cwd: options.cwd,
    env: { ...process.env, ...options.env },
    stdio: [options.input ?? "ignore", "pipe", "pipe"],
  });
  running.add(child);
  const name = `${command.split("/").at(-1)} ${args.join(" ")}`;
  const { text, lines, waiters } = collectOutput(child);
  const { promise: ended, resolve, reject } = Promise.withResolvers<ProcessEnd>();
  let end: ProcessEnd | undefined;
  child.once("error", reject);
  child.once("close", (code, signal) => {
    running.delete(child);
    end = { code, signal };
    resolve(end);
  });
  ended.catch(() => running.delete(child));
  const output = () => text.stdout + text.stderr;

  return {
    child,
    pid: child.pid ?? -1,
    ended,
    isRunning: () => end === undefined,
    output,
    stdout: () => text.stdout,
    async line(wanted, timeoutMs = 90_000) {
      const matches = typeof wanted === "function" ? wanted : (line: string) => wanted.test(line);
      const past = lines.find(matches);
      if (past !== undefined) {
        return past;
      }
      const missing = (how: string) => new Error(`${name}: ${how} ${wanted}\n${output().slice(-4000)}`);
      const found = Promise.withResolvers<string>();
      const waiter = { wanted: matches, found: found.resolve };
      waiters.add(waiter);
      const timer = setTimeout(() => found.reject(missing(`in ${timeoutMs} ms no line`)), timeoutMs);
      ended.then(
        ({ code, signal }) => found.reject(missing(`ended (${code ?? signal}) before a line`)),
        found.reject,
      );
      try {
        return await found.promise;
      } finally {
        clearTimeout(timer);
        waiters.delete(waiter);
      }
    },
    kill: (signal = "SIGKILL") => void child.kill(signal),
    async stop(deadlineMs = 15_000) {
      if (end === undefined) {
        child.kill("SIGTERM");
        const timer = setTimeout(() => child.kill("SIGKILL"), deadlineMs);
        await ended.finally(() => clearTimeout(timer));
      }
      return ended;
    },
    async [Symbol.asyncDispose]() {
      if (end === undefined) {
        child.kill("SIGKILL");
        await ended.catch(() => undefined);
      }
    },
  };
}

/** The result of a program that was run to its end. */
export interface ProcessResult extends ProcessEnd {
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end and returns what it printed; its exit code is the caller's to judge. */
export async function runProcess(
  command: string,
  args: readonly string[],
  options: ProcessOptions & { readonly timeoutMs?: number } = {},
): Promise<ProcessResult> {
  const child = spawn(command, args, {
    cwd: options.cwd,
    env: { ...process.env, ...options.env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  running.add(child);
  const timer = setTimeout(() => child.kill("SIGKILL"), options.timeoutMs ?? 120_000);
  const chunks = { stdout: [] as Buffer[], stderr: [] as Buffer[] };
  child.stdout.on("data", (chunk: Buffer) => chunks.stdout.push(chunk));
  child.stderr.on("data", (chunk: Buffer) => chunks.stderr.push(chunk));
  try {
    const [code, signal] = (await once(child, "close")) as [number | null, NodeJS.Signals | null];
    const stdout = Buffer.concat(chunks.stdout).toString();
    return { code, signal, stdout, stderr: Buffer.concat(chunks.stderr).toString() };
  } finally {
    clearTimeout(timer);
    running.delete(child);
  }
}

/** The resident set of a process in bytes, now and at its highest. Linux only, as the capture itself. */
export async function residentBytes(pid: number): Promise<{ readonly now: number; readonly peak: number }> {
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  const of = (key: string) => Number(new RegExp(`^${key}:\\s+(\\d+) kB`, "m").exec(status)?.[1] ?? 0) * 1024;
  return { now: of("VmRSS"), peak: of("VmHWM") };
}

/** The processor time that a process has taken, its threads included. Linux only. */
export async function processorSeconds(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/stat`, "utf8");
  // The name of the program, in brackets, may hold spaces; user and system time are the 12th and 13th field after it, in hundredths.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}
