// The agent that was and the agent that comes: on one volume, in turns, and on two machines that do not hear of each other. No object is ever
// written by both, and everything either of them saw can be restored.
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { suite, test } from "node:test";
import { type ArchivedGeneration, listRanges, newestStored, readGenerations } from "./archive.ts";
import { newestTxId } from "./capture-run.ts";
import { checkFile, openChecker, readWriterLog, startWriter } from "./go-apps.ts";
import { byTxId, judge } from "./judge.ts";
import { type Machine, machineOf } from "./machines.ts";
import { type Host, hexTxId, pageferryOk, restore, startReplicate, startServe } from "./pageferry.ts";
import type { RunningProcess } from "./processes.ts";
import { type QueueProxy, startQueueProxy } from "./queue-proxy.ts";
import { openReplica } from "./restores.ts";
import { chance, freePort, type TemporaryDirectory, temporaryDirectory, until } from "./temporary.ts";

const luck = chance();

/** What status says of a database's histories, newest first. */
interface HistoryJson {
  readonly generation: string;
  readonly parent: { readonly generation: string; readonly txid: string } | null;
  readonly reason: string;
  readonly epoch: number;
  readonly host: string;
  readonly txid: string;
}

interface StatusJson {
  readonly generations: readonly HistoryJson[];
  readonly alarms: readonly { readonly code: string; readonly message: string }[];
}

async function statusOf(host: Host): Promise<StatusJson> {
  const headers = { authorization: `Bearer ${await host.token()}` };
  const answer = await fetch(`${host.url}/v1/databases/app`, { headers });
  return (await answer.json()) as StatusJson;
}

/** What the host warns of, but for a machine that is slow. */
async function alarmsOf(host: Host): Promise<string[]> {
  return (await statusOf(host)).alarms.map(({ code }) => code).filter((code) => code !== "lag");
}

/** Every name has one body, whoever sent it; and the host has put nothing aside. */
function assertNoConflict(root: string, proxies: readonly QueueProxy[]): void {
  const bodies = new Map<string, Set<string>>();
  for (const { sent } of proxies)
    for (const [name, digests] of sent) bodies.set(name, digests.union(bodies.get(name) ?? new Set()));
  assert.ok(bodies.size > 10, `${bodies.size} names`);
  assert.deepEqual(
    [...bodies].filter(([, digests]) => digests.size > 1),
    [],
  );
  assert.equal(existsSync(`${root}/quarantine`), false);
}

/** Those that sent something of a generation. */
function sendersOf(generation: string, proxies: readonly QueueProxy[]): number {
  return proxies.filter(({ sent }) => sent.keys().some((name) => name.startsWith(`${generation}/`))).length;
}

/** Restores some points of a generation, and judges them beside what their writer was told is committed. */
async function judgeSome(root: string, generation: string, log: string, directory: TemporaryDirectory) {
  await using checker = openChecker();
  const replica = await openReplica(root);
  const points = (await replica.points()).filter((point) => point.generation === generation);
  assert.ok(points.length > 0, `${generation} has no point`);
  const [newest, ...others] = points;
  for (const point of [newest ?? luck.pick(points), ...luck.sample(others, 4)]) {
    const out = directory.file(`${generation}-${point.txid}.db`);
    const { stateHash } = await replica.restore(out, point);
    const { problems } = await judge(checker, out, {
      ...{ txId: Number.parseInt(point.txid, 16), log: byTxId(await readWriterLog(log)) },
      ...(stateHash === undefined ? {} : { stateHash }),
    });
    assert.deepEqual(problems, []);
  }
}

/** The newest point of a generation is what lies at `path`, where nobody writes. */
async function assertNewestIs(root: string, generation: string, path: string, out: string): Promise<void> {
  const txid = hexTxId(await newestTxId(path));
  const run = await restore(root, out, { generation, txid });
  assert.equal(run.code, 0, run.stderr);
  assert.equal((await checkFile(out)).liveSha256, (await checkFile(path)).liveSha256);
}

interface Turns {
  readonly root: string;
  readonly log: string;
  readonly host: Host;
  readonly proxies: readonly QueueProxy[];
  /** In the order in which they began. */
  readonly generations: readonly ArchivedGeneration[];
}

/** Agents take turns beside a writer, each on its machine; each is tried once while the one before it still runs. */
async function takeTurns(
  machines: readonly (Machine | undefined)[],
  directory: TemporaryDirectory,
  check: (turns: Turns) => Promise<void>,
): Promise<void> {
  const [path, log] = [directory.file("app.db"), directory.file("app.log")];
  await using resources = new AsyncDisposableStack();
  const host = resources.use(await startServe({ dataDir: directory.file("data") }));
  const root = host.replica("app");
  const writer = resources.use(await startWriter({ path, log, rate: 60 }));
  const token = await host.token();
  const proxies: QueueProxy[] = [];
  const begin = async (machine: Machine | undefined): Promise<RunningProcess> => {
    const proxy = resources.use(await startQueueProxy(host.url, await freePort()));
    proxies.push(proxy);
    return resources.use(
      startReplicate([path], {
        ...{ host: proxy.url, token, shadowDir: directory.file("shadow"), ...(machine && { machine }) },
        args: ["--sync-interval", "100ms"],
      }),
    );
  };
  let old: RunningProcess | undefined;
  for (const machine of machines) {
    if (old !== undefined) {
      const tooEarly = await begin(machine);
      assert.equal((await tooEarly.ended).code, 5);
      assert.match(tooEarly.output(), new RegExp(`another agent \\(process ${old.pid}\\)`));
      assert.equal((await old.stop()).code, 0, old.output());
    }
    old = await begin(machine);
    await until("it has sent something", () => (proxies.at(-1)?.acknowledged.size ?? 0) > 3);
  }
  await writer.finish();
  const last = await newestTxId(path);
  await until("all is stored", async () => (await newestStored(root)) === last);
  const generations = (await readGenerations(root)).toSorted((a, b) => a.epoch - b.epoch);
  await check({ root, log, host, proxies, generations });
  for (const { generation } of generations) await judgeSome(root, generation, log, directory);
  await assertNewestIs(root, generations.at(-1)?.generation ?? "", path, directory.file("newest.db"));
}

suite(`agents that take turns on one volume (seed ${luck.seed})`, () => {
  test("of one machine go on with one history, and the next waits until the one before has ended", async () => {
    await using directory = await temporaryDirectory();
    const machines = [undefined, undefined, undefined];

    await takeTurns(machines, directory, async ({ root, host, proxies, generations }) => {
      assertNoConflict(root, proxies);
      assert.deepEqual(
        generations.map(({ reason }) => reason),
        ["first"],
      );
      assert.equal(sendersOf(generations[0]?.generation ?? "", proxies), machines.length);
      assert.deepEqual(await alarmsOf(host), []);
    });
  });

  test("of two machines have histories of their own, each begun where the one before ends", async () => {
    await using directory = await temporaryDirectory();
    const [a, b] = [await machineOf("pod-a", directory), await machineOf("pod-b", directory)];

    await takeTurns([a, b, a], directory, async ({ root, host, proxies, generations }) => {
      assertNoConflict(root, proxies);
      for (const { generation } of generations) assert.equal(sendersOf(generation, proxies), 1);
      const status = await statusOf(host);
      assert.deepEqual(status.generations.map(({ host, reason }) => [host, reason]).toReversed(), [
        ["pod-a", "first"],
        ...["pod-b", "pod-a"].map((name) => [name, "unprovable"]),
      ]);
      assert.deepEqual(
        status.generations.map(({ parent }) => parent?.generation),
        [...status.generations.slice(1).map(({ generation }) => generation), undefined],
      );
      // None has cost a whole upload but the first.
      const snapshots = new Set(
        proxies.flatMap(({ sent }) => [...sent.keys()].filter((name) => name.includes("/snapshots/"))),
      );
      assert.equal(snapshots.size, 1, [...snapshots].join(", "));
      assert.deepEqual(await alarmsOf(host), []);
    });
  });
});

suite(`a host that was cut off, beside the one that took its place (seed ${luck.seed})`, () => {
  test("keeps its own history: no name is written by both, status names both, and both restore", async () => {
    await using directory = await temporaryDirectory();
    for (const name of ["old", "new"]) await mkdir(directory.file(name));
    const place = async (name: string) => ({
      ...{ path: directory.file(name, "app.db"), log: directory.file(name, "app.log") },
      ...{ shadowDir: directory.file(name, "shadow"), machine: await machineOf(name, directory) },
    });
    const [before, after] = [await place("old"), await place("new")];
    await using host = await startServe({ dataDir: directory.file("data") });
    const [root, token] = [host.replica("app"), await host.token()];
    const args = ["--sync-interval", "100ms"];
    await using oldLine = await startQueueProxy(host.url, await freePort());
    await using newLine = await startQueueProxy(host.url, await freePort());
    await using oldWriter = await startWriter({ ...before, rate: 60 });
    await using oldAgent = startReplicate([before.path], { ...before, host: oldLine.url, token, args });
    await until("the old history is there", () => oldLine.acknowledged.size > 10);

    // It is cut off, and its application goes on without anybody knowing.
    oldLine.away = true;
    await using newAgent = startReplicate([after.path], {
      ...{ ...after, host: newLine.url, token, args: [...args, "--restore"] },
      env: { PAGEFERRY_RESTORE_TOKEN: token },
    });
    await until("it is restored", () => existsSync(after.path));
    await using newWriter = await startWriter({ ...after, rate: 60, seed: 2 });
    await until("the new history is there", () => newLine.acknowledged.size > 10);

    oldLine.away = false;
    await until("the host hears both", async () => (await alarmsOf(host)).includes("fork"));
    const summaries = [await oldWriter.finish(), await newWriter.finish()];
    assert.ok(summaries.every(({ transactions }) => transactions > 100));
    const generations = (await readGenerations(root)).toSorted((a, b) => a.epoch - b.epoch);
    const [older = "", newer = ""] = generations.map(({ generation }) => generation);
    for (const [generation, { path }] of [[older, before] as const, [newer, after] as const]) {
      const last = await newestTxId(path);
      await until(`${last} of ${path} is stored`, async () =>
        (await listRanges(root)).some((range) => range.generation === generation && range.lastTxId === last),
      );
    }

    const lines = [oldLine, newLine];
    assertNoConflict(root, lines);
    assert.deepEqual(
      [older, newer].map((generation) => sendersOf(generation, lines)),
      [1, 1],
    );
    const newest = [hexTxId(await newestTxId(after.path)), hexTxId(await newestTxId(before.path))];
    const { generations: told } = await until("the status has all of it", async () => {
      const status = await statusOf(host);
      const isThere = newest.every((txid, at) => status.generations[at]?.txid === txid);
      return isThere && status;
    });
    assert.deepEqual(
      told.map(({ generation, reason, host, epoch }) => ({ generation, reason, host, epoch })),
      [
        { generation: newer, reason: "restored", host: "new", epoch: 2 },
        { generation: older, reason: "first", host: "old", epoch: 1 },
      ],
    );
    assert.equal(told[0]?.parent?.generation, older);
    // Restored from what both share: nothing of it is sent again.
    assert.deepEqual(
      [...newLine.sent.keys()].filter((name) => name.includes("/snapshots/")),
      [],
    );
    assert.deepEqual(await alarmsOf(host), ["fork"]);
    const env = { PAGEFERRY_TOKEN: token };
    const text = await pageferryOk(["status", host.url], { env });
    for (const word of [older, newer, "restored", "two agents"]) assert.ok(text.includes(word), text);
    // Both agents still run, and nobody has to stop for the other's data.
    assert.deepEqual([(await oldAgent.stop()).code, (await newAgent.stop()).code], [0, 0]);
    await judgeSome(root, older, before.log, directory);
    await judgeSome(root, newer, after.log, directory);
    await assertNewestIs(root, older, before.path, directory.file("old.db"));
    await assertNewestIs(root, newer, after.path, directory.file("new.db"));
    const out = directory.file("newest.db");
    assert.equal((await restore(root, out)).code, 0);
    assert.equal((await checkFile(out)).liveSha256, (await checkFile(after.path)).liveSha256);
  });
});
