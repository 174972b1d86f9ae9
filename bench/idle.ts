// Databases that nobody writes, in one agent: its memory and its share of a core by their number, after all have been sent and it has come to rest.
import { mkdir, readdir, writeFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { runWriter } from "../test/go-apps.ts";
import { startReplicate, startServe } from "../test/pageferry.ts";
import { processorSeconds, residentBytes, runProcess } from "../test/processes.ts";
import { temporaryDirectory, until } from "../test/temporary.ts";
import { round } from "./machine.ts";

const mb = 2 ** 20;

/** After the last snapshot: page tables, cursors and shadows are put away, and what was needed for that is collected. */
const settleMs = 90_000;
/** Three heartbeats of each database, and one question for what is needed. */
const observeMs = 60_000;

interface IdleLoad {
  readonly databases: number;
  readonly initialMB: number;
}

/** By the number of databases, each of some 50 KB; the last ones of 16 MB. 10,000 take a while: `PAGEFERRY_IDLE=10000:0`. */
const loads: readonly IdleLoad[] = [
  ...[1, 10, 100, 1000].map((databases) => ({ databases, initialMB: 0 })),
  { databases: 100, initialMB: 16 },
];

function wantedLoads(): readonly IdleLoad[] {
  const asked = process.env.PAGEFERRY_IDLE;
  if (asked === undefined) return loads;
  return asked.split(",").map((text) => {
    const [databases = 1, initialMB = 0] = text.split(":").map(Number);
    return { databases, initialMB };
  });
}

/** One run of each: what it settles to differs by a few MB. */
export async function benchIdle(): Promise<Record<string, Record<string, number>>> {
  const results: Record<string, Record<string, number>> = {};
  for (const load of wantedLoads()) {
    const figures = await measureIdle(load);
    const name = `${load.databases}${load.initialMB === 0 ? "" : ` of ${load.initialMB} MB`}`;
    results[name] = Object.fromEntries(Object.entries(figures).map(([key, value]) => [key, round(value)]));
  }
  return results;
}

/** What an agent with so many idle databases takes. */
async function measureIdle({ databases, initialMB }: IdleLoad): Promise<Record<string, number>> {
  await using directory = await temporaryDirectory();
  const names = Array.from({ length: databases }, (_, at) => `db${at}`);
  const first = directory.file("first.db");
  await runWriter({ path: first, count: 3, initialMB });
  await mkdir(directory.file("dbs"));
  // bolt's file is long and has holes, which ten thousand copies have room for.
  for (const name of names)
    await runProcess("cp", ["--sparse=always", first, directory.file("dbs", `${name}.db`)]);
  await using host = await startServe({ dataDir: directory.file("data"), readyMs: 60_000 });
  const config = directory.file("agent.json");
  await writeFile(
    config,
    JSON.stringify({ databases: names.map((name) => directory.file("dbs", `${name}.db`)) }),
  );
  const begun = performance.now();
  await using agent = startReplicate([], {
    ...{ host: host.url, token: await host.token(), shadowDir: directory.file("shadow") },
    args: ["--config", config],
    // As the units of packaging/ start it.
    env: { MALLOC_ARENA_MAX: process.env.MALLOC_ARENA_MAX ?? "1" },
  });
  const replica = `${host.dataDir}/replica`;
  for (const name of names) {
    await until(`the snapshot of ${name}`, () => hasSnapshot(`${replica}/${name}`), {
      ...{ timeoutMs: 1_200_000, everyMs: 250 },
    });
  }
  const storedMs = performance.now() - begun;
  const { peak } = await residentBytes(agent.pid);
  await sleep(settleMs);
  const usedBefore = await processorSeconds(agent.pid);
  await sleep(observeMs);
  const used = (await processorSeconds(agent.pid)) - usedBefore;
  const { now } = await residentBytes(agent.pid);
  if (!agent.isRunning()) throw new Error(agent.output());
  return {
    "all stored after s": storedMs / 1000,
    "RSS MB": now / mb,
    "RSS MB while they were sent": peak / mb,
    "% of a core": (100 * used) / (observeMs / 1000),
  };
}

async function hasSnapshot(root: string): Promise<boolean> {
  const generations = await readdir(root).catch(() => []);
  for (const generation of generations.filter((name) => /^[0-9a-f]{16}$/.test(name))) {
    const names = await readdir(`${root}/${generation}/snapshots`).catch(() => []);
    if (names.some((name) => name.endsWith(".snapshot.cbor"))) return true;
  }
  return false;
}
