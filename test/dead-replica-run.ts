// How long a commit takes to be durable in a file replica, while another replica is absent, dead, or frozen. The short form is
// dead-replica.test.ts, the long one proofs/dead-replica.ts.
import { watch } from "node:fs";
import { writeFile } from "node:fs/promises";
import { createServer, type Server, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { listGenerations, listRanges, newestStored } from "./archive.ts";
import { newestTxId } from "./capture-run.ts";
import { readWriterLog, runWriter, startWriter } from "./go-apps.ts";
import { startUp } from "./pageferry.ts";
import { freePort, quantile, temporaryDirectory, until } from "./temporary.ts";

/** `dead`: nobody listens. `frozen`: connections are taken, and nothing is ever said. */
export type Trouble = "absent" | "dead" | "frozen";

export interface LatencyReport {
  readonly trouble: Trouble;
  readonly commits: number;
  /** Commits that were in no segment when the drain was over. */
  readonly missing: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
  /** What the status says of the other replicas' circuit breakers, at the end. */
  readonly breakers: readonly string[];
  /** How long the stop took, with replicas that cannot take what waits for them. */
  readonly stopMs: number;
  readonly exitCode: number | null;
}

export interface LatencyOptions {
  readonly trouble: Trouble;
  readonly seconds: number;
  readonly rate: number;
}

/** A server that takes every connection and never says a word, as a host behind a firewall or one that is stopped. */
async function startBlackhole(): Promise<AsyncDisposable & { readonly port: number }> {
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket.on("error", () => undefined));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  return {
    port: typeof address === "object" && address !== null ? address.port : 0,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function configOf(file: string, port: number | undefined): string {
  const others =
    port === undefined
      ? []
      : [
          {
            ...{ type: "sftp", host: "127.0.0.1", port, user: "nobody", password: "none", path: "/backup" },
            hostKey: `SHA256:${"A".repeat(43)}`,
          },
          {
            ...{ type: "s3", endpoint: `http://127.0.0.1:${port}`, region: "none", bucket: "none" },
            ...{ accessKey: "none", secretKey: "none", forcePathStyle: true },
          },
        ];
  return JSON.stringify({ replicas: [{ type: "file", path: file }, ...others] });
}

interface StatusAnswer {
  readonly replicas: readonly { readonly breaker: string }[];
}

/** Runs a writer beside `pageferry up` and measures. */
export async function measureLatency({ trouble, seconds, rate }: LatencyOptions): Promise<LatencyReport> {
  await using directory = await temporaryDirectory();
  await using blackhole = await startBlackhole();
  const [path, log, file] = [directory.file("app.db"), directory.file("app.log"), directory.file("file")];
  const port = { absent: undefined, dead: await freePort(), frozen: blackhole.port }[trouble];
  const config = directory.file("config.json");
  await writeFile(config, configOf(file, port));
  await runWriter({ path, count: 20 });
  const args = ["--config", config, "--sync-interval", "0s"];
  await using host = await startUp([path], { dataDir: directory.file("data"), args });
  const root = `${file}/app`;
  await until("a first snapshot", async () => (await newestStored(root)) > 0);
  await runWriter({ path, count: 5, seed: 2 });
  await until("a first segment", async () => (await listRanges(root)).length > 0);

  const arrivedMs = new Map<number, number>();
  const [generation] = await listGenerations(root);
  const watcher = watch(`${root}/${generation}/segments`, (_, name) => {
    const [, first, last] = /^([0-9a-f]{16})-([0-9a-f]{16})-[^.]*\.\w+\.cbor$/.exec(name ?? "") ?? [];
    const to = Number.parseInt(last ?? "", 16);
    for (let txId = Number.parseInt(first ?? "", 16); txId <= to; txId++) {
      if (!arrivedMs.has(txId)) arrivedMs.set(txId, performance.timeOrigin + performance.now());
    }
  });
  await using writer = await startWriter({ path, rate, log, seed: 3 });
  await sleep(seconds * 1000);
  await writer.finish();
  const last = await newestTxId(path);
  await until(`the file replica has ${last}`, async () => (await newestStored(root)) === last);
  watcher.close();
  const answer = await fetch(`${host.url}/v1/databases/app`, {
    headers: { authorization: `Bearer ${await host.token()}` },
  });
  const { replicas } = (await answer.json()) as StatusAnswer;
  const stopMs = performance.now();
  const { code } = await host.stop(40_000);
  const commits = await readWriterLog(log);
  const latencies = commits.flatMap(({ txId, atMs }) => {
    const at = arrivedMs.get(txId);
    return at === undefined ? [] : [at - atMs];
  });
  const round = (ms: number) => Math.round(ms * 10) / 10;
  return {
    trouble,
    commits: commits.length,
    missing: commits.length - latencies.length,
    p50Ms: round(quantile(latencies, 0.5)),
    p99Ms: round(quantile(latencies, 0.99)),
    maxMs: round(Math.max(...latencies)),
    breakers: replicas.slice(1).map(({ breaker }) => breaker),
    stopMs: Math.round(performance.now() - stopMs),
    exitCode: code,
  };
}
