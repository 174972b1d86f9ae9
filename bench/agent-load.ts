// What an agent costs: its processor time for 1,000 transactions beside the writer's own, and the bytes that go over the wire beside those that were
// committed and those that bolt wrote for them. The loads are those that the Go implementation was measured with, at a pace that it could hold.
import { readFile } from "node:fs/promises";
import { connect, createServer, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { newestStored } from "../test/archive.ts";
import { runWriter, startWriter, type WriterOptions } from "../test/go-apps.ts";
import { startReplicate, startServe } from "../test/pageferry.ts";
import { processorSeconds } from "../test/processes.ts";
import { temporaryDirectory, until } from "../test/temporary.ts";
import { medians } from "./machine.ts";

interface Load extends Omit<WriterOptions, "path" | "log"> {
  readonly rate: number;
  readonly keys: number;
  readonly value: number;
}

const loads: Record<string, Load> = {
  "10 × 256 B, 300 tx/s": { keys: 10, value: 256, rate: 300 },
  "1 × 64 B, 300 tx/s": { keys: 1, value: 64, nested: 0, overflow: 0, rate: 300 },
  "1000 × 1 KiB, 5 tx/s": { keys: 1000, value: 1024, rate: 5 },
};
const seconds = 20;

/** A line to a port, which counts what goes up it. */
async function countedLine(port: number) {
  let bytes = 0;
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const host = connect(port, "127.0.0.1");
    for (const [from, to] of [
      [client, host],
      [host, client],
    ] as const) {
      sockets.add(from);
      from.pipe(to);
      from.on("error", () => to.destroy());
    }
    client.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  return {
    url: `http://127.0.0.1:${address.port}`,
    bytes: () => bytes,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** What a process wrote, to files and else. */
async function writtenBytes(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/io`, "utf8");
  return Number(/^wchar: (\d+)$/m.exec(text)?.[1] ?? Number.NaN);
}

async function measure(load: Load): Promise<Record<string, number>> {
  await using directory = await temporaryDirectory();
  const path = directory.file("app.db");
  await runWriter({ ...load, rate: 0, path, count: 200 });
  await using host = await startServe({ dataDir: directory.file("data") });
  await using line = await countedLine(Number(new URL(host.url).port));
  await using agent = startReplicate([path], {
    ...{ host: line.url, token: await host.token(), shadowDir: directory.file("shadow") },
  });
  const root = `${host.dataDir}/replica/app`;
  await until("the snapshot is stored", async () => (await newestStored(root)) > 0);
  const [sentBefore, usedBefore] = [line.bytes(), await processorSeconds(agent.pid)];
  await using writer = await startWriter({ ...load, path, seed: 2 });
  await sleep(seconds * 1000);
  const [used, written] = [await processorSeconds(writer.pid), await writtenBytes(writer.pid)];
  const { transactions, txid } = await writer.finish();
  await until("the last commit is stored", async () => (await newestStored(root)) === txid);
  const [sent, usedByAgent] = [line.bytes() - sentBefore, (await processorSeconds(agent.pid)) - usedBefore];
  return {
    "tx/s": transactions / seconds,
    "agent s per 1,000 tx": (1000 * usedByAgent) / transactions,
    "÷ the writer's own": usedByAgent / used,
    "KB sent a tx": sent / 1024 / transactions,
    "sent ÷ committed": sent / (transactions * load.keys * load.value),
    "sent ÷ what bolt wrote": sent / written,
  };
}

/** Three runs of each load. */
export async function benchAgentLoad(): Promise<Record<string, Record<string, number>>> {
  const results: Record<string, Record<string, number>> = {};
  for (const [name, load] of Object.entries(loads)) results[name] = await medians(3, () => measure(load));
  return results;
}
