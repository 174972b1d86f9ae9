import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { formatTxId } from "@pageferry/format";
import { type BoltState, boltArchive, boltStates, type Held } from "../testing/bolt-history.ts";
import { type LocalHost, localHost } from "./hosts/local.ts";
import type { VerifyReport } from "./verify-report.ts";

const archive = boltArchive("a1");

suite("a host that verifies", () => {
  let directory: string;
  let newest: BoltState;
  let spare: Held;
  const rootOf = (name: string): string => join(directory, name, "app");
  const open = (): Promise<LocalHost> =>
    localHost(
      {
        dataDir: join(directory, "data"),
        databases: [{ name: "app", path: join(directory, "app.db") }],
        replicas: ["one", "two"].map((name) => ({ type: "file", path: join(directory, name) })),
        listen: { host: "127.0.0.1", port: 0 },
      },
      { env: {} },
    );
  const post = async (host: LocalHost, query = ""): Promise<VerifyReport> => {
    const response = await fetch(`${host.url}/v1/databases/app/verify${query}`, {
      method: "POST",
      headers: { authorization: `Bearer ${host.token}` },
    });
    return (await response.json()) as VerifyReport;
  };
  const verifiedIn = async (host: LocalHost) =>
    (await host.status("app")).replicas.map(({ verified }) => verified);

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), "verifier-"));
    const states = await boltStates(5, Date.now() - 3_600_000);
    newest = states.at(-1) as BoltState;
    const segments = states.slice(1).map((state, at) => archive.segment(states[at] as BoltState, state));
    spare = segments[0] as Held;
    for (const { name, bytes } of [archive.begin, archive.snapshot(states[0] as BoltState), ...segments]) {
      for (const root of [rootOf("one"), rootOf("two")]) {
        await mkdir(dirname(join(root, name)), { recursive: true });
        await writeFile(join(root, name), bytes);
      }
    }
  });
  after(() => rm(directory, { recursive: true }));

  test("answers over HTTP, shows what was verified last, and knows it after a restart", async () => {
    {
      await using host = await open();
      assert.deepEqual(await verifiedIn(host), [null, null]);

      const report = await post(host);

      assert.equal(report.isSound, true, JSON.stringify(report));
      for (const verified of await verifiedIn(host))
        assert.deepEqual([verified?.verdict, verified?.txid], ["FOUND", formatTxId(newest.txId)]);
    }
    await using again = await open();
    for (let tries = 0; (await verifiedIn(again)).includes(null) && tries < 100; tries += 1) await sleep(20);

    assert.deepEqual(
      (await verifiedIn(again)).map((verified) => verified?.txid),
      [formatTxId(newest.txId), formatTxId(newest.txId)],
    );
  });

  test("raises an alarm for what does not hold, until it does", async () => {
    await using host = await open();
    const path = join(rootOf("two"), spare.name);
    const torn = new Uint8Array(spare.bytes);
    torn.fill(0, torn.length >> 1, (torn.length >> 1) + 8);
    await writeFile(path, torn);

    const report = await post(host, "?full=true");
    assert.deepEqual(
      report.replicas.map(({ verdict }) => verdict),
      ["FOUND", "CORRUPT"],
    );
    assert.ok(host.alarms().some(({ code, message }) => code === "verify" && message.includes(spare.name)));

    await host.repair("app", { verify: true });
    const healed = await host.verify("app", { depth: "full" });
    assert.equal(healed.isSound, true);
    assert.ok(!host.alarms().some(({ code }) => code === "verify"));
  });

  test("by headers, and of one replica only; one that is not configured is not-found", async () => {
    await using host = await open();
    const [one] = (await host.status("app")).replicas;

    const report = await post(host, `?chain=true&replica=${encodeURIComponent(one?.name ?? "")}`);

    assert.deepEqual([report.depth, report.replicas.length, report.isSound], ["chain", 1, true]);
    await assert.rejects(host.verify("app", { replica: "s3://nobody" }), { code: "not-found" });
  });

  test("gives the timeline of both replicas", async () => {
    await using host = await open();
    const response = await fetch(`${host.url}/v1/databases/app/points?timeline=true`, {
      headers: { authorization: `Bearer ${host.token}` },
    });
    const { points, generations, replicas } = (await response.json()) as {
      points: number;
      generations: { stretches: { points: number }[] }[];
      replicas: { lacking: number }[];
    };

    assert.deepEqual([points, generations[0]?.stretches[0]?.points], [5, 5]);
    assert.deepEqual(
      replicas.map(({ lacking }) => lacking),
      [0, 0],
    );
  });
});
