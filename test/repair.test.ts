// Two replicas that each lost something, and a third that never had anything: together they have all, and after a repair each has it alone.
import assert from "node:assert/strict";
import { cp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { after, before, suite, test } from "node:test";
import { type Acknowledged, type Checker, openChecker, readWriterLog, startWriter } from "./go-apps.ts";
import { byTxId, judge } from "./judge.ts";
import { listPoints, pageferry, pageferryOk, startServe, startUp } from "./pageferry.ts";
import { openReplica, type PointName } from "./restores.ts";
import { chance, type TemporaryDirectory, temporaryDirectory, until } from "./temporary.ts";

const luck = chance();

interface Report {
  readonly isWhole: boolean;
  readonly replicas: readonly {
    readonly copied: number;
    readonly healed: number;
    readonly failures: number;
    readonly broken: readonly string[];
  }[];
}

/** Every object below a root, without what is derived or set aside. */
async function objectsIn(root: string): Promise<string[]> {
  const names = await readdir(root, { recursive: true });
  return names.filter((name) => /\.(cbor|json)$/.test(name) && /^[0-9a-f]{16}\//.test(name)).sort();
}

/** Makes the two incomplete: each object is taken from at most one of them. */
async function takeApart(one: string, other: string, share: number): Promise<number> {
  let taken = 0;
  for (const name of await objectsIn(one)) {
    if (luck.next() >= share) continue;
    await rm(`${luck.pick([one, other])}/${name}`);
    taken += 1;
  }
  return taken;
}

const wordsOf = (points: readonly PointName[]): string[] =>
  points.map(({ generation, txid }) => `${generation} ${txid}`).sort();

suite(`replicas that lost objects (seed ${luck.seed})`, () => {
  let directory: TemporaryDirectory;
  let checker: Checker;
  let points: readonly PointName[];
  let log: ReadonlyMap<number, Acknowledged>;
  const at = (...parts: readonly string[]): string => directory.file(...parts);
  const whole = (): string => at("whole");
  const rootOf = (name: string): string => at(name, "app");

  /** Replicas of the archive that the writer left, each from the whole one. */
  async function replicas(...names: readonly string[]): Promise<void> {
    for (const name of names) {
      await rm(at(name), { recursive: true, force: true });
      await cp(whole(), rootOf(name), { recursive: true });
    }
  }

  const config = (): string => at("pageferry.yml");

  before(async () => {
    directory = await temporaryDirectory();
    checker = openChecker();
    await writeFile(
      config(),
      [
        "databases: [{path: APP, name: app}]".replace("APP", at("app.db")),
        `dataDir: ${at("data")}`,
        `replicas: ["file://${at("a")}", "file://${at("b")}"]`,
        "syncInterval: 50ms",
        "granularity: transaction",
      ].join("\n"),
    );
    await using writer = await startWriter({ path: at("app.db"), rate: 40, log: at("log"), seed: luck.seed });
    await using host = await startUp([], { dataDir: at("data"), args: ["--config", config()] });
    await until("a hundred points are stored", async () => {
      const names = await objectsIn(rootOf("a")).catch(() => []);
      return names.length > 60;
    });
    const { txid } = await writer.finish();
    for (const name of ["a", "b"]) {
      await until(`${name} has the newest`, async () => {
        const stored = await (await openReplica(rootOf(name))).points();
        return stored.some((point) => Number.parseInt(point.txid, 16) === txid);
      });
    }
    host.kill("SIGTERM");
    await host.ended;
    await cp(rootOf("a"), whole(), { recursive: true });
    points = await (await openReplica(whole())).points();
    log = byTxId(await readWriterLog(at("log")));
  });

  after(async () => {
    await checker[Symbol.asyncDispose]();
    await directory[Symbol.asyncDispose]();
  });

  async function isSound(out: string, point: PointName): Promise<void> {
    const judged = await judge(checker, out, { txId: Number.parseInt(point.txid, 16), log });
    assert.deepEqual(judged.problems, []);
  }

  test("restore every point from each alone after a repair without a host", async () => {
    await replicas("a", "b");
    const taken = await takeApart(rootOf("a"), rootOf("b"), 0.5);
    assert.ok(taken > 10);

    const [report] = JSON.parse(await pageferryOk(["repair", "--config", config(), "--json"])) as Report[];

    assert.equal(report?.isWhole, true);
    const copied = report.replicas.reduce((sum, row) => sum + row.copied, 0);
    assert.ok(copied > 0 && copied <= taken, `${copied} copied, ${taken} taken`);
    for (const name of ["a", "b"]) {
      const replica = await openReplica(rootOf(name));
      assert.deepEqual(wordsOf(await replica.points()), wordsOf(points));
      // Each restore is checked, against the state hash that the agent saw in the file.
      for (const point of points) await replica.restore(at("out.db"), point).finally(() => rm(at("out.db")));
      for (const point of luck.sample(points, 4)) {
        await replica.restore(at("out.db"), point);
        await isSound(at("out.db"), point);
        await rm(at("out.db"));
      }
    }
  });

  test("restore any point from a mix, without a repair, also where one more is not there", async () => {
    await replicas("a", "b");
    await takeApart(rootOf("a"), rootOf("b"), 0.6);
    const froms = [rootOf("a"), at("nowhere"), rootOf("b")];

    const listed = JSON.parse(await pageferryOk(["points", "--json", ...froms])) as PointName[];
    assert.deepEqual(wordsOf(listed), wordsOf(points));
    for (const point of luck.sample(points, 3)) {
      const args = ["restore", "-o", at("out.db"), "--txid", point.txid, ...froms];
      const { code, stderr } = await pageferry(args);

      assert.equal(code, 0, stderr);
      assert.match(stderr, /warning: .*nowhere.*left out/);
      await isSound(at("out.db"), point);
      await rm(at("out.db"));
    }
  });

  test("are all read when the configuration names them, and an object that is broken in one is taken from the other", async () => {
    await replicas("a", "b");
    const victim = luck.pick((await objectsIn(rootOf("a"))).filter((name) => name.includes("snapshots/")));
    const bytes = await readFile(`${rootOf("a")}/${victim}`);
    bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1;
    await writeFile(`${rootOf("a")}/${victim}`, bytes);
    const newest = points.toSorted((a, b) => (a.txid < b.txid ? 1 : -1))[0] as PointName;

    await pageferryOk(["restore", "-o", at("out.db"), "--config", config(), "app"]);

    await isSound(at("out.db"), newest);
    await rm(at("out.db"));
  });

  test("are healed by a deep repair through the host, and hold the broken bytes in quarantine", async () => {
    await replicas("a", "b");
    const names = await objectsIn(rootOf("a"));
    const victims = luck.sample(names, 3);
    for (const victim of victims) {
      const bytes = await readFile(`${rootOf("a")}/${victim}`);
      const middle = bytes.length >> 1;
      bytes[middle] = (bytes[middle] ?? 0) ^ 0x40;
      await writeFile(`${rootOf("a")}/${victim}`, bytes);
    }
    await takeApart(rootOf("b"), rootOf("b"), 0);
    await using host = await startServe({ dataDir: at("data"), args: ["--config", config()] });

    const dry = JSON.parse(
      await pageferryOk(["repair", "app", "--verify", "--dry-run", "--json", "--data", at("data")]),
    ) as Report[];
    const [report] = JSON.parse(
      await pageferryOk(["repair", "app", "--verify", "--json", "--data", at("data")]),
    ) as Report[];

    assert.deepEqual(dry[0]?.replicas.flatMap(({ broken }) => broken).toSorted(), victims.toSorted());
    assert.equal(report?.isWhole, true);
    assert.equal(
      report.replicas.reduce((sum, { healed }) => sum + healed, 0),
      victims.length,
    );
    for (const victim of victims) {
      const [one, other] = await Promise.all(["a", "b"].map((name) => readFile(`${rootOf(name)}/${victim}`)));
      assert.deepEqual(one, other);
    }
    const kept = await readdir(at("a", "app", "quarantine"), { recursive: true });
    assert.equal(kept.filter((name) => /\.(cbor|json)$/.test(name)).length, victims.length);
    assert.deepEqual(
      wordsOf(await listPoints(`${host.url}/v1/databases/app`, { PAGEFERRY_TOKEN: await host.token() })),
      wordsOf(points),
    );
  });

  test("are brought up by the host itself soon after it starts", { timeout: 150_000 }, async () => {
    await replicas("a", "b");
    const taken = await takeApart(rootOf("a"), rootOf("b"), 0.3);
    assert.ok(taken > 0);
    await using _host = await startServe({ dataDir: at("data"), args: ["--config", config()] });

    await until(
      "each has every point",
      async () => {
        for (const name of ["a", "b"]) {
          const found = wordsOf(await (await openReplica(rootOf(name))).points());
          if (found.join() !== wordsOf(points).join()) return false;
        }
        return true;
      },
      { timeoutMs: 120_000, everyMs: 1000 },
    );
  });
});
