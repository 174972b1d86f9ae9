// What asking for a status costs, over HTTP on loopback: of one database with 100,000 objects in its replica, and of a thousand databases.
// A host and whoever asks it share this process, so both are in the figures.
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { parseDatabaseName, segmentName, txId } from "@pageferry/format";
import { type LocalHost, localHost } from "@pageferry/functions/hosts/local";
import { epochMs, historyOf } from "../packages/functions/testing/history.ts";
import { quantile, temporaryDirectory, until } from "../test/temporary.ts";
import { round } from "./machine.ts";

const objects = 100_000;
const databases = 1000;
const history = historyOf("a1");

/** p50, p99 and bytes of so many calls, one after the other, after some that are not counted. */
async function ask(host: LocalHost, path: string, calls: number): Promise<Record<string, number>> {
  const times: number[] = [];
  let bytes = 0;
  for (let call = -20; call < calls; call++) {
    const begun = performance.now();
    const answer = await fetch(`${host.url}${path}`, { headers: { authorization: `Bearer ${host.token}` } });
    bytes = (await answer.arrayBuffer()).byteLength;
    if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
    if (call >= 0) times.push(performance.now() - begun);
  }
  return { "p50 ms": round(quantile(times, 0.5)), "p99 ms": round(quantile(times, 0.99)), bytes };
}

/** Written without fsync: it is not what is measured, and there are many. */
function lay(root: string, items: readonly { readonly name: string; readonly bytes: Uint8Array }[]): void {
  for (const { name, bytes } of items) {
    const path = join(root, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, bytes);
  }
}

/** An archive of names: what a status reads of objects is their names and sizes. */
function layNames(root: string): void {
  const { generation } = history;
  const first = history.segment(1, 2);
  lay(root, [history.snapshot(1), first]);
  for (let id = 2; id < objects; id++) {
    const range = { generation, parentTxId: txId(id), txId: txId(id + 1), stampMs: epochMs + id * 1000 };
    writeFileSync(join(root, segmentName(range)), "x");
  }
}

const newest = (id: number) => ({ newestTxId: txId(id), newestStampMs: epochMs + id * 1000 });

/** Goals: p99 of 10 ms for the one, 200 ms for the thousand. */
export async function benchStatus(): Promise<Record<string, Record<string, number>>> {
  await using directory = await temporaryDirectory();
  const replica = directory.file("replica");
  layNames(join(replica, "app"));
  const listen = { host: "127.0.0.1", port: 0 };
  const config = { listen, replicas: [{ type: "file", path: replica } as const] };
  await using host = await localHost({ ...config, dataDir: directory.file("data") });
  await host.queue.send(history.envelope([], newest(objects)));
  const begun = performance.now();
  await until("the listing", async () => (await host.status("app")).lagMs === 0);
  const listedMs = performance.now() - begun;
  const one = await ask(host, "/v1/databases/app?history=true", 500);

  const paths = [directory.file("one")];
  const names = Array.from({ length: databases }, (_, at) => `db${String(at).padStart(4, "0")}`);
  for (const path of paths)
    for (const name of names) lay(join(path, name), [history.snapshot(4), history.segment(4, 6)]);
  const replicas = paths.map((path) => ({ type: "file", path }) as const);
  await using many = await localHost({ listen, replicas, dataDir: directory.file("many") });
  // One after the other: each is first asked whose archive it is, which looks at a thousand names.
  for (const name of names) {
    const envelope = history.envelope([], { ...newest(6), database: parseDatabaseName(name) });
    await many.queue.send(envelope);
    await until(name, async () => (await many.status(name)).lagMs === 0);
  }
  const all = await ask(many, "/v1/databases", 30);
  return {
    [`one database, ${objects} objects`]: { ...one, "first listing ms": round(listedMs) },
    [`${databases} databases`]: all,
  };
}
