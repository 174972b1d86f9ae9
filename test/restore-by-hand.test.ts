// The documented format is enough: 126 lines of Python, without anything of ours, rebuild what a host's manifest names.
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { checkDatabase, formatStateHash } from "@pageferry/format";
import { openPageSource } from "@pageferry/format/node";
import { checkFile, runWriter } from "./go-apps.ts";
import { startUp } from "./pageferry.ts";
import { runProcess } from "./processes.ts";
import { temporaryDirectory, until } from "./temporary.ts";

const script = new URL("../docs/restore-by-hand/restore.py", import.meta.url).pathname;

/** Raw bytes above which a range is stored as many zstd frames with an index. */
const largeBytes = 8 * 2 ** 20;

interface Manifest {
  readonly txId: string;
  readonly stateHash: string;
  readonly objects: readonly { readonly kind: string; readonly name: string; readonly size: number }[];
}

/** A host with packs, segments, merged ranges, a large one among them, and snapshots. */
async function prepared(file: (name: string) => string) {
  const path = file("app.db");
  const config = file("pageferry.json");
  await writeFile(
    config,
    JSON.stringify({
      databases: [{ path }],
      ...{
        granularity: "transaction",
        syncInterval: "1s",
        compaction: { levels: ["3s"] },
        dataDir: file("data"),
      },
    }),
  );
  await runWriter({ path, count: 20, keys: 20, value: 1000, initialMB: 4 });
  const host = await startUp([path], { dataDir: file("data"), args: ["--config", config] });
  const headers = { authorization: `Bearer ${await host.token()}` };
  const get = async (suffix: string): Promise<unknown> =>
    (await fetch(`${host.url}/v1/databases/app${suffix}`, { headers })).json();
  const write = async (options: { count: number; keys: number; keyspace?: number; rate?: number }) => {
    const { txid } = await runWriter({ path, value: 1000, ...options });
    await until("it is in the archive", async () => {
      const { txId } = (await get("/manifest")) as Partial<Manifest>;
      return txId !== undefined && Number.parseInt(txId, 16) >= txid;
    });
  };
  await write({ count: 60, keys: 5, rate: 30 });
  await write({ count: 2, keys: 12_000, keyspace: 100_000 });
  await sleep(4000);
  const answer = await fetch(`${host.url}/v1/databases/app/compact`, { method: "POST", headers });
  assert.equal(answer.status, 200, await answer.text());
  await write({ count: 60, keys: 5, rate: 30 });
  return { host, get };
}

async function stateOf(path: string): Promise<string | undefined> {
  using source = openPageSource(path);
  const { stateHash, problems } = checkDatabase(source, { mode: "full" });
  assert.deepEqual(problems, []);
  return stateHash === undefined ? undefined : formatStateHash(stateHash);
}

suite("a restore by hand", () => {
  test("rebuilds the newest point and older ones, in packs and at the ends of merged ranges", async (t) => {
    await using directory = await temporaryDirectory();
    const { host, get } = await prepared(directory.file);
    await using _host = host;
    const { points } = (await get("/points")) as { points: { txid: string }[] };
    const chosen = [0, 1, Math.floor(points.length / 3), Math.floor(points.length / 2), points.length - 1];
    const kinds = new Set<string>();

    for (const { txid } of chosen.map((at) => points[at] as { txid: string })) {
      const manifest = (await get(`/manifest?txid=${txid}`)) as Manifest;
      for (const { kind, size } of manifest.objects)
        kinds.add(kind === "segment" && size > largeBytes ? "large" : kind);
      const out = directory.file(`${txid}.db`);
      const url = `${host.url}/v1/databases/app/manifest?txid=${txid}`;
      const { code, stdout, stderr } = await runProcess("python3", [script, url, out], {
        env: { PAGEFERRY_TOKEN: await host.token() },
      });

      assert.equal(code, 0, stderr);
      assert.match(stdout, new RegExp(`transaction ${txid}`));
      const verdict = await checkFile(out);
      assert.deepEqual([verdict.ok, verdict.txid], [true, Number.parseInt(txid, 16)], verdict.errors.join());
      assert.equal(await stateOf(out), manifest.stateHash);
    }

    t.diagnostic(`${points.length} points; kinds: ${[...kinds].join(", ")}`);
    assert.deepEqual([...kinds].sort(), ["large", "pack", "segment", "snapshot"]);
  });

  test("reads objects from a directory as well, and refuses what is cut", async () => {
    await using directory = await temporaryDirectory();
    const path = directory.file("app.db");
    await runWriter({ path, count: 30, keys: 5, value: 1000 });
    await using host = await startUp([path], { dataDir: directory.file("data") });
    const headers = { authorization: `Bearer ${await host.token()}` };
    const url = `${host.url}/v1/databases/app/manifest`;
    const text = await until("there is a manifest", async () => {
      const answer = await fetch(url, { headers });
      return answer.ok && answer.text();
    });
    await writeFile(directory.file("manifest.json"), text);
    const run = (out: string) =>
      runProcess("python3", [script, directory.file("manifest.json"), out, host.replica("app")]);

    const whole = await run(directory.file("whole.db"));
    assert.equal(whole.code, 0, whole.stderr);
    assert.equal(await stateOf(directory.file("whole.db")), (JSON.parse(text) as Manifest).stateHash);

    const [first] = (JSON.parse(text) as Manifest).objects;
    await writeFile(`${host.replica("app")}/${first?.name}`, "cut");
    const cut = await run(directory.file("cut.db"));
    assert.notEqual(cut.code, 0);
    assert.match(cut.stderr, /3 bytes, not/);
  });
});
