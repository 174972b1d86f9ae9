// The Go test applications (test/apps) from TypeScript: the writer, the checker that judges, and the accidents.
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import { type ProcessEnd, type RunningProcess, runProcess, startProcess } from "./processes.ts";

const program = new URL("./.cache/bin/boltapp", import.meta.url).pathname;

function boltapp(): string {
  if (!existsSync(program)) {
    throw new Error("test/.cache/bin/boltapp is missing: run `npm run setup`");
  }
  return program;
}

export interface WriterOptions {
  readonly path: string;
  /** Transactions per second; 0 or absent is flat out. */
  readonly rate?: number;
  readonly seconds?: number;
  readonly count?: number;
  readonly keys?: number;
  readonly value?: number;
  readonly keyspace?: number;
  readonly noSync?: boolean;
  readonly noFreelistSync?: boolean;
  readonly mapFreelist?: boolean;
  readonly pageSize?: number;
  readonly initialMB?: number;
  readonly compressible?: boolean;
  readonly deletes?: number;
  readonly nested?: number;
  readonly overflow?: number;
  /** A file that gets a line per acknowledged commit; read it with {@link readWriterLog}. */
  readonly log?: string;
  readonly seed?: number;
}

/** What the writer says when ready, in between, and at its end. */
export interface WriterLine {
  readonly event: "ready" | "progress" | "done";
  readonly txid: number;
  readonly firstTxid?: number;
  readonly transactions: number;
  readonly seconds: number;
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
  readonly fileBytes: number;
}

export interface Writer extends RunningProcess {
  /** Its summary; rejects when it ends in another way than by itself or by SIGTERM. */
  done(timeoutMs?: number): Promise<WriterLine>;
  /** SIGTERM, and its summary. */
  finish(): Promise<WriterLine>;
}

/** The command line of a writer. */
function writerArguments(options: WriterOptions): string[] {
  const args = ["writer", "-path", options.path];
  const flags = {
    rate: options.rate,
    duration: options.seconds === undefined ? undefined : `${options.seconds}s`,
    count: options.count,
    keys: options.keys,
    value: options.value,
    keyspace: options.keyspace,
    pagesize: options.pageSize,
    initial: options.initialMB,
    deletes: options.deletes,
    nested: options.nested,
    overflow: options.overflow,
    log: options.log,
    seed: options.seed,
    nosync: options.noSync,
    nofreelistsync: options.noFreelistSync,
    mapfreelist: options.mapFreelist,
    compressible: options.compressible,
  };
  for (const [flag, value] of Object.entries(flags)) {
    if (value !== undefined) {
      args.push(`-${flag}=${value}`);
    }
  }
  return args;
}

/** A writer as `--exec` takes it. */
export function writerCommandLine(options: WriterOptions): string {
  return [boltapp(), ...writerArguments(options)].map((word) => `'${word}'`).join(" ");
}

/** Starts a writer and waits until its database is open and filled. */
export async function startWriter(options: WriterOptions): Promise<Writer> {
  const child = startProcess(boltapp(), writerArguments(options));
  const done = async (timeoutMs = 300_000): Promise<WriterLine> =>
    JSON.parse(await child.line(/"event":"done"/, timeoutMs)) as WriterLine;
  try {
    await child.line(/"event":"ready"/, 180_000);
  } catch (error) {
    await child[Symbol.asyncDispose]();
    throw error;
  }
  const finish = async () => {
    child.kill("SIGTERM");
    const summary = await done();
    await child.ended;
    return summary;
  };
  return { ...child, done, finish };
}

/** Runs a writer to its end. */
export async function runWriter(
  options: WriterOptions & ({ readonly count: number } | { readonly seconds: number }),
): Promise<WriterLine> {
  await using writer = await startWriter(options);
  const summary = await writer.done();
  await writer.ended;
  return summary;
}

/** A commit that bolt acknowledged to the writer. */
export interface Acknowledged {
  readonly txId: number;
  /** The application's own number of the transaction. */
  readonly number: number;
  /** The application's sum over all its keys after it: says which state this is. */
  readonly sum: string;
  readonly count: number;
  readonly atMs: number;
}

/** The writer's log. A last line that a kill cut is left out. */
export async function readWriterLog(path: string): Promise<Acknowledged[]> {
  const text = await readFile(path, "utf8").catch(() => "");
  return text
    .split("\n")
    .slice(0, -1)
    .map((line) => {
      const [txId, number, sum, count, ns] = line.split(" ");
      return {
        txId: Number(txId),
        number: Number(number),
        sum: sum ?? "",
        count: Number(count),
        atMs: Number(BigInt(ns ?? 0) / 1000n) / 1000,
      };
    });
}

/** What the checker says of a file: bbolt's own check, the invariants in the data, and hashes to compare by. */
export interface Verdict {
  readonly path: string;
  readonly ok: boolean;
  readonly txid: number;
  readonly pageSize: number;
  readonly highWaterMark: number;
  readonly hasFreelist: boolean;
  readonly fileBytes: number;
  readonly logicalSha256?: string;
  readonly liveSha256?: string;
  readonly livePages?: number;
  /** Absent in a database that the writer did not make. */
  readonly app?: { readonly number: number; readonly count: number; readonly sum: string };
  readonly errors: readonly string[];
  readonly ms: number;
}

/** A checker process for many files. A file that crashes or hangs it gets a verdict that is not ok. */
export interface Checker extends AsyncDisposable {
  check(path: string): Promise<Verdict>;
}

/** Starts a checker; `logical: false` spares the listing of large files. */
export function openChecker(
  options: { readonly logical?: boolean; readonly timeoutMs?: number } = {},
): Checker {
  const child = startProcess(
    boltapp(),
    [
      "checker",
      "-batch",
      `-logical=${options.logical ?? true}`,
      `-timeout=${Math.ceil((options.timeoutMs ?? 60_000) / 1000)}s`,
    ],
    { input: "pipe" },
  );
  const { stdin, stdout } = child.child;
  if (stdin === null || stdout === null) {
    throw new Error("the checker has no pipes");
  }
  const asked: { resolve(verdict: Verdict): void; reject(error: unknown): void }[] = [];
  createInterface({ input: stdout }).on("line", (line) =>
    asked.shift()?.resolve(JSON.parse(line) as Verdict),
  );
  const fail = (end: ProcessEnd | Error) => {
    for (const { reject } of asked.splice(0)) {
      reject(new Error(`the checker is gone: ${JSON.stringify(end)} ${child.output().slice(-2000)}`));
    }
  };
  child.ended.then(fail, fail);
  return {
    check(path) {
      const answer = Promise.withResolvers<Verdict>();
      asked.push(answer);
      stdin.write(`${path}\n`);
      return answer.promise;
    },
    [Symbol.asyncDispose]: child[Symbol.asyncDispose],
  };
}

/** Checks one file. Nobody may hold bolt's lock on it. */
export async function checkFile(path: string): Promise<Verdict> {
  const result = await runProcess(boltapp(), ["checker", path]);
  const line = result.stdout.trim();
  if (line === "") {
    throw new Error(`checker: ${result.stderr}`);
  }
  return JSON.parse(line) as Verdict;
}

async function runApp(args: readonly string[]): Promise<Record<string, unknown>> {
  const result = await runProcess(boltapp(), args);
  if (result.code !== 0) {
    throw new Error(`boltapp ${args.join(" ")}: ${result.stderr}`);
  }
  return JSON.parse(result.stdout) as Record<string, unknown>;
}

/** One commit whose data depends on `variant`, after saving the file to `save` or putting `from` back in place. */
export async function lie(options: {
  readonly path: string;
  readonly variant: string;
  readonly save?: string;
  readonly from?: string;
}): Promise<{ readonly txid: number; readonly metaSha256: string }> {
  const args = ["lie", "-path", options.path, "-variant", options.variant];
  if (options.save !== undefined) {
    args.push("-save", options.save);
  }
  if (options.from !== undefined) {
    args.push("-from", options.from);
  }
  const said = await runApp(args);
  return { txid: Number(said.txid), metaSha256: String(said.metaSha256) };
}

/** Compacts the database into a new file and renames it over the path. Returns the new, lower txid. */
export async function compact(path: string): Promise<number> {
  return Number((await runApp(["compact", "-path", path])).txid);
}
