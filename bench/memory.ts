// Memory for a 1 GB database: agent and host as two processes, through the first snapshot and some minutes' commits.
import { setTimeout as sleep } from "node:timers/promises";
import { newestStored } from "../test/archive.ts";
import { startWriter } from "../test/go-apps.ts";
import { startReplicate, startServe } from "../test/pageferry.ts";
import { residentBytes } from "../test/processes.ts";
import { temporaryDirectory, until } from "../test/temporary.ts";
import { medians } from "./machine.ts";

const mb = 2 ** 20;

async function measure(): Promise<Record<string, number>> {
  await using directory = await temporaryDirectory();
  const path = directory.file("app.db");
  await using writer = await startWriter({ path, initialMB: 1000, value: 1024, rate: 50 });
  await using host = await startServe({ dataDir: directory.file("data") });
  const begun = performance.now();
  await using agent = startReplicate([path], {
    host: host.url,
    token: await host.token(),
    shadowDir: directory.file("shadow"),
  });
  await until("the snapshot is stored", async () => (await newestStored(`${host.dataDir}/replica/app`)) > 0, {
    timeoutMs: 600_000,
    everyMs: 200,
  });
  const stored = performance.now();
  await sleep(30_000);
  const [agentBytes, hostBytes] = [await residentBytes(agent.pid), await residentBytes(host.pid)];
  await writer.finish();
  return {
    "first snapshot s": (stored - begun) / 1000,
    "agent peak MB": agentBytes.peak / mb,
    "agent after 30 s MB": agentBytes.now / mb,
    "host peak MB": hostBytes.peak / mb,
    "host after 30 s MB": hostBytes.now / mb,
  };
}

/** Three runs. */
export function benchMemory(): Promise<Record<string, number>> {
  return medians(3, measure);
}
