// A real etcd server for the tests: its database is a bolt file without a freelist, written by batches.
import { setTimeout as sleep } from "node:timers/promises";
import { type ProcessEnd, type RunningProcess, startProcess } from "./processes.ts";
import { freePort, until } from "./temporary.ts";

export interface EtcdServer extends AsyncDisposable {
  /** The bolt file. */
  readonly databasePath: string;
  readonly process: RunningProcess;
  put(key: string, value: string): Promise<void>;
  /** Puts distinct revisions at a steady rate until the returned function is called; it gives the number of puts. */
  startPuts(perSecond: number): () => Promise<number>;
  stop(): Promise<ProcessEnd>;
}

/** Starts a single member in `directory` and waits until it answers. */
export async function startEtcd(directory: string): Promise<EtcdServer> {
  const [client, peer] = [await freePort(), await freePort()];
  const url = `http://127.0.0.1:${client}`;
  const peerUrl = `http://127.0.0.1:${peer}`;
  const server = startProcess("etcd", [
    "--name=test",
    `--data-dir=${directory}/etcd`,
    `--listen-client-urls=${url}`,
    `--advertise-client-urls=${url}`,
    `--listen-peer-urls=${peerUrl}`,
    `--initial-advertise-peer-urls=${peerUrl}`,
    `--initial-cluster=test=${peerUrl}`,
    "--log-level=error",
  ]);
  const encode = (text: string) => Buffer.from(text).toString("base64");
  const put = async (key: string, value: string) => {
    const response = await fetch(`${url}/v3/kv/put`, {
      method: "POST",
      body: JSON.stringify({ key: encode(key), value: encode(value) }),
    });
    await response.arrayBuffer();
    if (!response.ok) {
      throw new Error(`etcd put: ${response.status}`);
    }
  };
  try {
    await until("etcd answers", () => put("hello", "world").then(() => true), { timeoutMs: 30_000 });
  } catch (error) {
    await server[Symbol.asyncDispose]();
    throw new Error(`etcd did not start: ${server.output().slice(-2000)}`, { cause: error });
  }
  const startPuts = (perSecond: number) => {
    let goesOn = true;
    let puts = 0;
    const begunMs = performance.now();
    const loop = (async () => {
      while (goesOn) {
        puts += 1;
        const [key, value] = [`key-${puts % 5000}`, `value-${puts}-`.padEnd(200, "x")];
        // On a machine that has its hands full it gives up on a request after seven seconds; the next one may do.
        await put(key, value).catch(() => sleep(1000).then(() => put(key, value)));
        await sleep(Math.max(0, begunMs + (puts * 1000) / perSecond - performance.now()));
      }
    })();
    // Whoever stops the server before the puts is told by the next call, not by an unhandled rejection.
    loop.catch(() => undefined);
    return async () => {
      goesOn = false;
      await loop;
      return puts;
    };
  };
  return {
    databasePath: `${directory}/etcd/member/snap/db`,
    process: server,
    put,
    startPuts,
    stop: () => server.stop(),
    [Symbol.asyncDispose]: server[Symbol.asyncDispose],
  };
}
