// Who takes part in a soak: three applications with their databases, one agent, one host, the line between them, and their clocks.
import { writeFile } from "node:fs/promises";
import { startEtcd } from "../etcd.ts";
import { startWriter } from "../go-apps.ts";
import { startReplicate, startServe } from "../pageferry.ts";
import { type QueueProxy, startQueueProxy } from "../queue-proxy.ts";
import { freePort, type TemporaryDirectory } from "../temporary.ts";
import { type Actor, createActor } from "./actor.ts";
import { type SteppedClock, steppedClock } from "./clock.ts";
import { type Line, openLine } from "./line.ts";

export interface SoakDatabase {
  readonly name: string;
  readonly path: string;
  /** What its writer was told is committed; an etcd has no such log. */
  readonly log?: string;
  /** Its root in the replica. */
  readonly root: string;
  readonly application: Actor;
}

export interface Stage extends AsyncDisposable {
  readonly databases: readonly SoakDatabase[];
  readonly agent: Actor;
  readonly host: Actor;
  readonly hostUrl: string;
  readonly line: Line;
  readonly clocks: { readonly agent: SteppedClock; readonly host: SteppedClock };
  readonly proxy: QueueProxy;
  /** Those that are stopped, killed and frozen. */
  actors(): readonly Actor[];
}

/** All that are started have it, so that nobody has to read it from a file. */
export const soakToken = "soak-token-soak-token-soak-token-0123456789";

/** Commits, and puts, a second: what two cores carry beside everything else. */
const rate = 30;

function goWriter(name: string, directory: TemporaryDirectory, options: { noFreelistSync?: true }) {
  const [path, log] = [directory.file(`${name}.db`), directory.file(`${name}.log`)];
  let seed = 0;
  const application = createActor(name, () => {
    seed += 1;
    return startWriter({ path, log, seed, rate, keyspace: 2000, ...options });
  });
  return { name, path, log, application };
}

function etcdWriter(name: string, directory: TemporaryDirectory) {
  const application = createActor(name, async () => {
    const etcd = await startEtcd(directory.path);
    const endPuts = etcd.startPuts(rate);
    const stop: typeof etcd.stop = async () => {
      await endPuts();
      return etcd.stop();
    };
    return { ...etcd.process, stop };
  });
  return { name, path: directory.file("etcd/member/snap/db"), application };
}

/** Sets the stage; nobody has begun yet. */
export async function openStage(directory: TemporaryDirectory): Promise<Stage> {
  const dataDir = directory.file("data");
  const [port, proxyPort] = [await freePort(), await freePort()];
  const proxy = await startQueueProxy(`http://127.0.0.1:${port}`, proxyPort);
  const line = await openLine(proxyPort);
  const databases = [
    goWriter("synced", directory, {}),
    goWriter("unsynced", directory, { noFreelistSync: true }),
    etcdWriter("etcd", directory),
  ].map((database) => ({ ...database, root: `${dataDir}/replica/${database.name}` }));
  const clocks = {
    agent: steppedClock(directory.file("agent.clock")),
    host: steppedClock(directory.file("host.clock")),
  };
  const configs = { agent: directory.file("agent.yml"), host: directory.file("host.yml") };
  const named = databases.map(({ name, path }) => ({ name, path }));
  await writeFile(configs.agent, JSON.stringify({ databases: named, snapshotInterval: "1m" }));
  // Every point stays, so that what was acknowledged can be asked for at the end.
  const retention = { segmentRetention: "1d", keepWithin: "1d" };
  const replicas = [`file://${dataDir}/replica`];
  await writeFile(
    configs.host,
    JSON.stringify({ replicas, snapshotInterval: "1m", verifyInterval: "1m", retention }),
  );
  const agent = createActor("agent", async () =>
    startReplicate([], {
      ...{ host: line.url, token: soakToken, shadowDir: directory.file("shadow"), env: clocks.agent.env },
      args: ["--sync-interval", "250ms", "--config", configs.agent],
    }),
  );
  const host = createActor("host", () =>
    startServe({
      ...{ dataDir, port, args: ["--config", configs.host] },
      env: { ...clocks.host.env, PAGEFERRY_TOKEN: soakToken },
    }),
  );
  const actors = () => [...databases.map(({ application }) => application), agent, host];
  return {
    ...{ databases, agent, host, hostUrl: `http://127.0.0.1:${port}`, line, clocks, proxy, actors },
    async [Symbol.asyncDispose]() {
      await Promise.all(actors().map((actor) => actor[Symbol.asyncDispose]()));
      await line[Symbol.asyncDispose]();
      await proxy[Symbol.asyncDispose]();
    },
  };
}
