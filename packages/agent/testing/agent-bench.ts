// For tests: an agent over a model database and a tiny host, with short times, and waiting for what must come.
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { type Generation, txId } from "@pageferry/format";
import { type Agent, type AgentOptions, createAgent } from "../src/agent.ts";
import type { DatabaseStatus } from "../src/database-status.ts";
import { createHttpQueue } from "../src/queues/http.ts";
import {
  createModel,
  type Model,
  type ModelFile,
  type ModelSource,
  openModelSource,
} from "./model-database.ts";
import { assertRestores, type TinyHost } from "./tiny-host.ts";

/** A directory that is removed when it goes out of use. */
export interface Temporary extends AsyncDisposable {
  readonly path: string;
}

/** Makes one. */
export async function temporary(): Promise<Temporary> {
  const path = await mkdtemp(join(tmpdir(), "pageferry-agent-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

/** Waits until something holds, looking often; fails after a minute, saying what did not come. */
export async function until(
  what: string,
  holds: () => boolean | undefined,
  timeoutMs = 60_000,
): Promise<void> {
  const endMs = performance.now() + timeoutMs;
  while (holds() !== true) {
    assert.ok(performance.now() < endMs, `it did not come: ${what}`);
    await setTimeout(5);
  }
}

/** A file whose model and newest transaction a test moves. */
export interface MovableFile extends ModelFile {
  model: Model;
  inode: string;
  /** Commits, and captures each commit or all at once. */
  commit(count: number, how?: "singly" | "at once"): void;
  set(id: number): void;
  source: ModelSource | undefined;
}

/** Makes a file. */
export function movableFile(seed = 1): MovableFile {
  let newest = 1;
  return {
    model: createModel(seed),
    inode: "1",
    source: undefined,
    newest: () => newest,
    set(id) {
      newest = id;
    },
    commit(count, how = "singly") {
      for (let made = 0; made < count; made += 1) {
        newest += 1;
        if (how === "singly") this.source?.capture();
      }
      if (how === "at once") this.source?.capture();
    },
  };
}

/** An agent that is at work. */
export interface Bench extends AsyncDisposable {
  readonly agent: Agent;
  status(): DatabaseStatus;
  generation(): Generation;
  /** Waits until everything that was committed is acknowledged. */
  settled(): Promise<void>;
}

/** Starts an agent over `file`, in `directory`, sending to `host`. */
export async function startBench(
  host: Pick<TinyHost, "url">,
  directory: string,
  file: MovableFile,
  options: Partial<AgentOptions> & { readonly token?: string } = {},
): Promise<Bench> {
  const { token, ...rest } = options;
  const agent = createAgent({
    databases: [{ path: join(directory, "app.db"), name: "app" }],
    queue: createHttpQueue({ url: host.url, timeoutMs: 2000, ...(token === undefined ? {} : { token }) }),
    shadowDir: join(directory, "shadow"),
    host: "here",
    syncIntervalMs: 20,
    heartbeatMs: 150,
    needsMs: 100,
    silentMs: 100,
    openSource(opened) {
      file.source = openModelSource(opened, () => file);
      return file.source;
    },
    ...rest,
  });
  await agent.start();
  const status = (): DatabaseStatus => agent.status().databases[0] as DatabaseStatus;
  return {
    agent,
    status,
    generation: () => status().generation as Generation,
    settled: () =>
      until(
        `${file.newest()} acknowledged`,
        () => (status().acknowledgedTxId ?? 0n) === BigInt(file.newest()),
      ),
    [Symbol.asyncDispose]: () => agent.stop({ deadlineMs: 2000 }),
  };
}

/** Asserts that these transactions of the model can be restored from a generation. */
export async function assertAllRestore(
  host: TinyHost,
  generation: Generation,
  model: Model,
  ids: Iterable<number>,
): Promise<void> {
  for (const id of ids) await assertRestores(host, generation, model.at(id));
}

/** The ends of the segments that a host has of a generation, ascending. */
export function pointsOf(host: TinyHost, generation: Generation): number[] {
  const ends = [...host.objects.keys()].flatMap((name) => {
    const [, last] = /^([0-9a-f]{16})-([0-9a-f]{16})-/.exec(name.split("/")[2] ?? "")?.slice(1) ?? [];
    return name.startsWith(`${generation}/segments/`) && last !== undefined
      ? [Number(txId(BigInt(`0x${last}`)))]
      : [];
  });
  return ends.sort((a, b) => a - b);
}
