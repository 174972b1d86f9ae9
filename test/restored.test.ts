// A database is brought back on another machine, and what its application commits from then on is all that has to be sent: with real processes, a
// real bbolt writer, and every byte between agent and host counted.
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { cp, mkdir, readdir, rm } from "node:fs/promises";
import { suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { noteRestored } from "@pageferry/agent";
import { parseGeneration, parseStateHash, parseTxId } from "@pageferry/format";
import { type ArchivedGeneration, newestStored, readGenerations } from "./archive.ts";
import { newestTxId } from "./capture-run.ts";
import { checkFile, openChecker, readWriterLog, runWriter, writerCommandLine } from "./go-apps.ts";
import { byTxId, judge } from "./judge.ts";
import { type Host, hexTxId, pageferryOk, restore, startReplicate, startServe } from "./pageferry.ts";
import type { RunningProcess } from "./processes.ts";
import { type QueueProxy, startQueueProxy } from "./queue-proxy.ts";
import { openReplica } from "./restores.ts";
import { chance, freePort, type TemporaryDirectory, temporaryDirectory, until } from "./temporary.ts";

const luck = chance();

const initialMB = 8;
/** Of what a generation without a snapshot sends before anybody commits: words. */
const wordsBytesMax = 64 * 1024;

const args = ["--sync-interval", "100ms", "--granularity", "transaction"];

/** Where a database is, and its agent. */
interface Place {
  readonly path: string;
  readonly log: string;
  readonly shadowDir: string;
}

interface Lost extends AsyncDisposable {
  readonly directory: TemporaryDirectory;
  readonly host: Host;
  readonly root: string;
  /** The generation that the machine wrote which is gone, and what it had sent. */
  readonly first: ArchivedGeneration;
  readonly firstBytes: number;
  /** Its newest transaction. */
  readonly txId: number;
  /** A machine that never had it. */
  readonly place: Place;
  /** An agent there, and what it sends. */
  begin(more?: Begin): Promise<{ readonly agent: RunningProcess; readonly line: QueueProxy }>;
}

interface Begin {
  readonly to?: Host;
  readonly restores?: boolean;
  /** Run beside it, as soon as it has started. */
  readonly exec?: string;
}

/** A database of some MB that was backed up from a machine which is gone. */
async function lostMachine(): Promise<Lost> {
  await using undo = new AsyncDisposableStack();
  const directory = undo.use(await temporaryDirectory());
  const host = undo.use(await startServe({ dataDir: directory.file("data") }));
  const root = host.replica("app");
  const gone = await placeIn(directory, "gone");
  await runWriter({ path: gone.path, log: gone.log, initialMB, count: 40 });
  const line = undo.use(await startQueueProxy(host.url, await freePort()));
  const agent = undo.use(
    startReplicate([gone.path], { ...gone, host: line.url, token: await host.token(), args }),
  );
  const txId = await newestTxId(gone.path);
  await until("it is backed up", async () => (await newestStored(root)) === txId);
  assert.equal((await agent.stop()).code, 0, agent.output());
  const [first] = await readGenerations(root);
  const place = await placeIn(directory, "new");
  const kept = undo.move();
  return {
    ...{ directory, host, root, txId, place, firstBytes: line.sentBytes },
    first: first ?? assert.fail(),
    async begin({ to = host, restores = false, exec } = {}) {
      const token = await to.token();
      const own = kept.use(await startQueueProxy(to.url, await freePort()));
      const started = kept.use(
        startReplicate([place.path], {
          ...{ ...place, host: own.url, token },
          args: [
            ...args,
            ...(restores ? ["--restore"] : []),
            ...(exec === undefined ? [] : ["--exec", exec]),
          ],
          env: { PAGEFERRY_RESTORE_TOKEN: token },
        }),
      );
      return { agent: started, line: own };
    },
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

async function placeIn(directory: TemporaryDirectory, name: string): Promise<Place> {
  await mkdir(directory.file(name));
  const file = (word: string) => directory.file(name, word);
  return { path: file("app.db"), log: file("app.log"), shadowDir: file("shadow") };
}

/** Restores by hand, and notes it as a restore on start does, so that somebody may write the file before an agent looks at it. */
async function restoreUnwatched({ root, place }: Lost): Promise<void> {
  const run = await restore(root, place.path, {}, { args: ["--json"] });
  assert.equal(run.code, 0, run.stderr);
  const { generation, txid, stateHash } = JSON.parse(run.stdout);
  const point = { generation: parseGeneration(generation), txId: parseTxId(txid) };
  await noteRestored(`${place.shadowDir}/app`, { ...point, stateHash: parseStateHash(stateHash) });
}

/** The generations that began after the first, oldest first. */
async function begunAfter({ root, first }: Lost): Promise<ArchivedGeneration[]> {
  const all = await readGenerations(root);
  return all.filter(({ generation }) => generation !== first.generation).sort((a, b) => a.epoch - b.epoch);
}

/** The snapshots that an agent sent. */
const snapshotsOf = ({ sent }: QueueProxy): string[] =>
  [...sent.keys()].filter((name) => name.includes("/snapshots/"));

/** Every point of a generation restores, alone from a replica, and is what the writer there was told is committed. */
async function judgeAll(lost: Lost, generation: string, root = lost.root): Promise<number> {
  await using checker = openChecker();
  const log = byTxId(await readWriterLog(lost.place.log));
  const replica = await openReplica(root);
  const points = (await replica.points()).filter((point) => point.generation === generation);
  for (const point of points) {
    const out = lost.directory.file("judged.db");
    const { stateHash } = await replica.restore(out, point);
    const txId = Number.parseInt(point.txid, 16);
    const { problems } = await judge(checker, out, { txId, log, ...(stateHash && { stateHash }) });
    assert.deepEqual(problems, []);
    await rm(out);
  }
  return points.length;
}

/** What a replica holds without some generation: what others stand on must not be in it. */
async function withoutGeneration({ directory, root }: Lost, generation: string): Promise<string> {
  const copy = directory.file("copy");
  await rm(copy, { recursive: true, force: true });
  await cp(root, copy, { recursive: true });
  await rm(`${copy}/${generation}`, { recursive: true });
  return copy;
}

async function assertNewestIsLive({ directory, place }: Lost, root: string): Promise<void> {
  const out = directory.file("newest.db");
  const run = await restore(root, out);
  assert.equal(run.code, 0, run.stderr);
  const [restored, live] = [await checkFile(out), await checkFile(place.path)];
  assert.deepEqual([restored.txid, restored.liveSha256], [live.txid, live.liveSha256]);
  await rm(out);
}

/** Builds what is due now, and says which snapshots a generation has then. */
async function buildIn(lost: Lost, generation: string): Promise<string[]> {
  await pageferryOk(["compact", "app", "--data", lost.host.dataDir]);
  return (await readdir(`${lost.root}/${generation}/snapshots`).catch(() => [])).sort();
}

const untilStored = (lost: Lost) =>
  until("all is stored", async () => (await newestStored(lost.root)) === (await newestTxId(lost.place.path)));

suite(`a database that was restored on start (seed ${luck.seed})`, () => {
  test("is not sent again: its commits are, and the host makes the snapshot of what they lead on from", async (t) => {
    await using lost = await lostMachine();
    const { agent, line } = await lost.begin({ restores: true });
    const [begun] = await until("the host has heard of it", async () => {
      const all = await begunAfter(lost);
      return all.length > 0 && all;
    });
    assert.deepEqual(
      [begun?.reason, begun?.parent?.generation, begun?.parent?.txId, begun?.epoch],
      ["restored", lost.first.generation, hexTxId(lost.txId), 2],
    );
    const beforeCommits = line.sentBytes;
    assert.ok(beforeCommits < wordsBytesMax, `${beforeCommits} bytes`);
    const generation = begun?.generation ?? "";
    // Nobody has written it, and it is the newest point all the same.
    await assertNewestIsLive(lost, lost.root);
    const env = { PAGEFERRY_TOKEN: await lost.host.token() };
    const status = JSON.parse(await pageferryOk(["status", "--json", lost.host.url], { env }));
    const [database] = status.databases;
    assert.deepEqual(
      [database.generation, database.replicas[0].txid, database.lagMs, database.alarms],
      [generation, hexTxId(lost.txId), 0, []],
    );

    await runWriter({ path: lost.place.path, log: lost.place.log, rate: 40, count: 60, seed: 2 });
    await untilStored(lost);
    assert.equal((await agent.stop()).code, 0, agent.output());

    assert.deepEqual(snapshotsOf(line), []);
    assert.equal((await begunAfter(lost)).length, 1);
    const points = await judgeAll(lost, generation);
    assert.ok(points > 0);
    t.diagnostic(
      JSON.stringify({
        ...{ points, firstBytes: lost.firstBytes, beforeCommits },
        sentBytes: line.sentBytes,
      }),
    );
    assert.ok(line.sentBytes < lost.firstBytes, `${line.sentBytes} of ${lost.firstBytes} bytes`);
    assert.equal((await buildIn(lost, generation)).length, 1);
    await assertNewestIsLive(lost, await withoutGeneration(lost, lost.first.generation));
  });

  test("and that nobody writes soon stands by itself, and goes on from there", async () => {
    await using lost = await lostMachine();
    const { agent, line } = await lost.begin({ restores: true });
    const [begun] = await until("the host has heard of it", async () => {
      const all = await begunAfter(lost);
      return all.length > 0 && all;
    });
    const generation = begun?.generation ?? "";

    const [built, ...more] = await buildIn(lost, generation);

    assert.match(built ?? "", new RegExp(`-${hexTxId(lost.txId)}\\.snapshot\\.cbor$`));
    assert.deepEqual([more, await buildIn(lost, generation)], [[], [built]]);
    await assertNewestIsLive(lost, await withoutGeneration(lost, lost.first.generation));
    await runWriter({ path: lost.place.path, log: lost.place.log, rate: 40, count: 40, seed: 3 });
    await untilStored(lost);
    assert.equal((await agent.stop()).code, 0, agent.output());
    assert.deepEqual(snapshotsOf(line), []);
    const alone = await withoutGeneration(lost, lost.first.generation);
    assert.ok((await judgeAll(lost, generation, alone)) > 0);
    await assertNewestIsLive(lost, alone);
  });

  test("and is lost again at once comes back from the point, or from what the host has made of it", async () => {
    await using lost = await lostMachine();
    const lines: QueueProxy[] = [];
    for (const generations of [1, 2, 3]) {
      const { agent, line } = await lost.begin({ restores: true });
      lines.push(line);
      await until("the host has heard of it", async () => (await begunAfter(lost)).length === generations);
      assert.equal((await agent.stop()).code, 0, agent.output());
      if (generations < 3) await rm(lost.place.path);
      if (generations === 2)
        assert.equal((await buildIn(lost, (await begunAfter(lost)).at(-1)?.generation ?? "")).length, 1);
    }
    const { agent, line } = await lost.begin();
    await until("it speaks to the host", () => line.statuses.size > 0);
    await runWriter({ path: lost.place.path, log: lost.place.log, rate: 40, count: 40, seed: 7 });
    await untilStored(lost);
    assert.equal((await agent.stop()).code, 0, agent.output());

    const [one, two, three, ...more] = await begunAfter(lost);
    const { generation: first } = lost.first;
    assert.deepEqual(
      [one, two, three].map((begun) => [begun?.parent?.generation, begun?.parent?.txId]),
      [first, first, two?.generation].map((parent) => [parent, hexTxId(lost.txId)]),
    );
    assert.deepEqual([more, [...lines, line].flatMap(snapshotsOf)], [[], []]);
    assert.ok((await judgeAll(lost, three?.generation ?? "")) > 0);
    await assertNewestIsLive(lost, lost.root);
  });

  test("is not sent again either where its application writes it before anybody looks", async (t) => {
    await using lost = await lostMachine();
    const { path, log } = lost.place;
    const exec = writerCommandLine({ path, log, rate: 40, count: 60, seed: 6 });

    const { agent, line } = await lost.begin({ restores: true, exec });
    const { code } = await agent.ended;

    assert.equal(code, 0, agent.output());
    await untilStored(lost);
    t.diagnostic(JSON.stringify({ firstBytes: lost.firstBytes, sentBytes: line.sentBytes }));
    assert.deepEqual(snapshotsOf(line), []);
    const [begun, ...more] = await begunAfter(lost);
    assert.deepEqual(
      [begun?.reason, begun?.parent?.generation, begun?.parent?.txId, more],
      ["restored", lost.first.generation, hexTxId(lost.txId), []],
    );
    assert.ok((await judgeAll(lost, begun?.generation ?? "")) > 0);
    assert.equal((await buildIn(lost, begun?.generation ?? "")).length, 1);
    await assertNewestIsLive(lost, await withoutGeneration(lost, lost.first.generation));
  });

  test("loses nothing and is sent once, however often its agent is killed before somebody writes it", async (t) => {
    await using lost = await lostMachine();
    const lines: QueueProxy[] = [];
    for (let round = 0; round < 8; round += 1) {
      const { agent, line } = await lost.begin({ restores: true });
      lines.push(line);
      await until("it is restored", () => existsSync(lost.place.path));
      // While it starts, and about when it begins.
      if (round % 4 > 0) await until("it speaks to the host", () => line.statuses.size > 0);
      await sleep(luck.next() * (round % 4 > 0 ? 60 : 1500));
      agent.kill("SIGKILL");
      await agent.ended;
    }
    const { agent, line } = await lost.begin({ restores: true });
    lines.push(line);
    await until("it has begun", async () => (await begunAfter(lost)).length > 0 && line.sentBytes > 0);
    await runWriter({ path: lost.place.path, log: lost.place.log, rate: 40, count: 40, seed: 4 });
    await untilStored(lost);
    assert.equal((await agent.stop()).code, 0, agent.output());

    const begun = await begunAfter(lost);
    t.diagnostic(JSON.stringify({ generations: begun.length }));
    const parents = begun.map(({ reason, parent }) => [reason, parent?.generation, parent?.txId]);
    const expected = ["restored", lost.first.generation, hexTxId(lost.txId)];
    assert.deepEqual(
      parents,
      begun.map(() => expected),
    );
    assert.deepEqual(lines.flatMap(snapshotsOf), []);
    assert.ok((await judgeAll(lost, begun.at(-1)?.generation ?? "")) > 0);
    await assertNewestIsLive(lost, lost.root);
  });
});

suite("a restored database is sent whole", () => {
  test("where its application has written it, and whoever restored it left no page table to tell what", async (t) => {
    await using lost = await lostMachine();
    await restoreUnwatched(lost);
    await runWriter({ path: lost.place.path, log: lost.place.log, rate: 40, count: 3, seed: 5 });

    const { agent, line } = await lost.begin();
    await untilStored(lost);
    assert.equal((await agent.stop()).code, 0, agent.output());

    t.diagnostic(JSON.stringify({ firstBytes: lost.firstBytes, sentBytes: line.sentBytes }));
    assert.equal(snapshotsOf(line).length, 1);
    assert.ok(line.sentBytes > lost.firstBytes * 0.9, `${line.sentBytes} of ${lost.firstBytes} bytes`);
    const [begun] = await begunAfter(lost);
    assert.deepEqual([begun?.reason, begun?.parent?.txId], ["restored", hexTxId(lost.txId)]);
    await assertNewestIsLive(lost, await withoutGeneration(lost, lost.first.generation));
  });

  test("to a host that never had it", async () => {
    await using lost = await lostMachine();
    await using other = await startServe({ dataDir: lost.directory.file("other") });
    await restoreUnwatched(lost);

    const { agent, line } = await lost.begin({ to: other });
    await until("it is there", async () => (await newestStored(other.replica("app"))) === lost.txId);
    assert.equal((await agent.stop()).code, 0, agent.output());

    assert.equal(snapshotsOf(line).length, 1);
    await assertNewestIsLive(lost, other.replica("app"));
  });

  test("but not where nobody has written it since: the control", async () => {
    await using lost = await lostMachine();
    await restoreUnwatched(lost);

    const { agent, line } = await lost.begin();
    await until("the host has heard of it", async () => (await begunAfter(lost)).length > 0);
    assert.equal((await agent.stop()).code, 0, agent.output());

    assert.ok(line.sentBytes < wordsBytesMax, `${line.sentBytes} bytes`);
  });
});
