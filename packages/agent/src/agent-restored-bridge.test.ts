import assert from "node:assert/strict";
import { mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { suite, test } from "node:test";
import { type Generation, type GenerationParent, parseObjectName, txId } from "@pageferry/format";
import {
  assertAllRestore,
  type Bench,
  type MovableFile,
  movableFile,
  pointsOf,
  startBench,
  temporary,
  until,
} from "../testing/agent-bench.ts";
import { openModelSource, tableOf } from "../testing/model-database.ts";
import { assertRestores, holdWhatRestores, startTinyHost, type TinyHost } from "../testing/tiny-host.ts";
import type { AgentOptions } from "./agent.ts";
import { writePageTable } from "./page-table-file.ts";
import { noteRestored } from "./restored-note.ts";
import { restoredTablePath } from "./restored-table.ts";

const committed = 9;

interface Restored extends AsyncDisposable {
  readonly host: TinyHost;
  /** The point, and the file that is exactly it. */
  readonly point: GenerationParent;
  readonly file: MovableFile;
  /** Of the machine that it was restored on. */
  readonly directory: string;
  readonly own: string;
  note(): Promise<void>;
  start(options?: Partial<AgentOptions>): Promise<Bench>;
}

/** A database whose backup another machine made, and its file restored on this one, which never had it. */
async function restored({ hasTable = false } = {}): Promise<Restored> {
  const held = new AsyncDisposableStack();
  const host = held.use(await startTinyHost());
  const file = movableFile();
  const point = await backedUp(host, file);
  const { path: directory } = held.use(await temporary());
  const own = join(directory, "shadow/app");
  const note = async (): Promise<void> => {
    const { stateHash, pages } = file.model.at(Number(point.txId));
    await noteRestored(own, { ...point, stateHash });
    if (!hasTable) return;
    await writePageTable(restoredTablePath(own), { txId: point.txId, stateHash, table: tableOf(pages) });
  };
  await note();
  holdWhatRestores(host);
  const start = async (options: Partial<AgentOptions> = {}) =>
    held.use(await startBench(host, directory, file, options));
  return { host, point, file, directory, own, note, start, [Symbol.asyncDispose]: () => held.disposeAsync() };
}

async function backedUp(host: TinyHost, file: MovableFile): Promise<GenerationParent> {
  await using elsewhere = await temporary();
  await using bench = await startBench(host, elsewhere.path, file);
  file.commit(committed);
  await bench.settled();
  return { generation: bench.generation(), txId: txId(file.newest()) };
}

/** A source that ends before it has written a page table. */
function withoutTable(file: MovableFile): NonNullable<AgentOptions["openSource"]> {
  return (options) => {
    file.source = openModelSource(options, () => file);
    return { ...file.source, checkpoint: () => {} };
  };
}

function stateAt({ model }: MovableFile, id: number) {
  return model.at(id).stateHash;
}

/** What of it the host got: snapshots and segments. */
function sentOf(host: TinyHost, generation: Generation): Readonly<Record<string, number>> {
  const kinds = [...host.objects.keys()].flatMap((name) => {
    const parsed = parseObjectName(name);
    return parsed !== undefined && "generation" in parsed && parsed.generation === generation
      ? [parsed.kind]
      : [];
  });
  const count = (kind: string) => kinds.filter((one) => one === kind).length;
  return { snapshots: count("snapshot"), segments: count("segment") };
}

/** Generations that began at the host after the point's, oldest first. */
function begunAfter({ host, point }: Restored) {
  return [...host.begins.values()].filter(({ generation }) => generation !== point.generation);
}

/** Only segments were sent, and each of them restores. */
async function assertBridged(one: Restored, bench: Bench): Promise<void> {
  const { host, file, point } = one;
  const generation = bench.generation();
  assert.equal(sentOf(host, generation).snapshots, 0);
  const ends = pointsOf(host, generation);
  assert.equal(ends.at(-1), file.newest());
  await assertAllRestore(host, generation, file.model, ends);
  const [begun] = begunAfter(one).filter((begin) => begin.generation === generation);
  assert.deepEqual(
    [begun?.reason, begun?.parent, begun?.parentStateHash],
    ["restored", point, stateAt(file, Number(point.txId))],
  );
}

/** A snapshot was sent, and the newest state restores from it. */
async function assertSentWhole({ host, file }: Restored, bench: Bench): Promise<void> {
  const generation = bench.generation();
  assert.equal(sentOf(host, generation).snapshots, 1);
  assert.equal(host.begins.get(generation)?.parentStateHash, undefined);
  await assertRestores(host, generation, file.model.at(file.newest()));
}

suite("a file that was restored, and is what it was restored to", () => {
  test("is not sent again: its commits are, as a generation that begins at the point", async () => {
    await using one = await restored();
    const bench = await one.start();
    await until("the host is told", () => begunAfter(one).length === 1);
    const { acknowledgedTxId, snapshotTxId, lagMs, alarms } = bench.status();
    assert.deepEqual([acknowledgedTxId, snapshotTxId, lagMs, alarms], [one.point.txId, null, 0, []]);

    one.file.commit(1);
    await bench.settled();
    one.file.commit(4);
    await bench.settled();

    await assertBridged(one, bench);
    const [begun, ...more] = begunAfter(one);
    assert.deepEqual([begun?.generation, begun?.epoch, more], [bench.generation(), 2, []]);
  });

  test("goes on in that generation after restarts, also where nobody has written it", async () => {
    await using one = await restored();
    for (const commits of [0, 0, 2, 1]) {
      await using bench = await one.start();
      await until("it is followed", () => bench.status().foundTxId !== null);
      await until("the host is told", () => one.host.begins.has(bench.generation()));
      one.file.commit(commits);
      await until(
        `${one.file.newest()} acknowledged`,
        () => bench.status().acknowledgedTxId === BigInt(one.file.newest()),
      );
      assert.equal(begunAfter(one).length, 1, `${commits} commits`);
      if (commits > 0) await assertBridged(one, bench);
    }
  });

  test("goes on in that generation also where everything ended before the source wrote a page table", async () => {
    await using one = await restored({ hasTable: true });
    const { host, file } = one;
    for (const commits of [0, 2, 0]) {
      await using bench = await one.start({ openSource: withoutTable(file) });
      await until("the host is told", () => host.begins.has(bench.generation()));
      file.commit(commits);
      await until("all of it", () => bench.status().acknowledgedTxId === BigInt(file.newest()));
    }

    const bench = await one.start();
    await until("it is followed", () => bench.status().foundTxId !== null);
    file.commit(1);
    await bench.settled();

    assert.equal(begunAfter(one).length, 1);
    await assertBridged(one, bench);
    assert.deepEqual(
      (await readdir(one.own)).filter((name) => name.startsWith("restored")),
      [],
    );
  });

  test("begins once more where everything ended before the note was removed", async () => {
    for (const hasTable of [true, false]) {
      await using one = await restored({ hasTable });
      const { host } = one;
      {
        await using bench = await one.start();
        await until("the host is told", () => host.begins.has(bench.generation()));
      }
      await one.note();

      const bench = await one.start();
      await until("it has begun", () => begunAfter(one).length === 2);
      one.file.commit(3);
      await bench.settled();

      await assertBridged(one, bench);
      assert.deepEqual(
        begunAfter(one).map(({ parent, epoch }) => [parent, epoch]),
        [2, 3].map((epoch) => [one.point, epoch]),
      );
    }
  });

  test("is not sent whole where somebody has written it before it was looked at: its page table tells what is new", async () => {
    await using one = await restored({ hasTable: true });
    one.file.set(committed + 4);

    const bench = await one.start();
    await bench.settled();
    one.file.commit(2);
    await bench.settled();

    await assertBridged(one, bench);
  });

  test("loses nothing that was committed before there was a page table", async () => {
    await using one = await restored();
    const { host, file } = one;
    {
      const bench = await one.start({ openSource: withoutTable(file) });
      await until("the host is told", () => host.begins.has(bench.generation()));
      file.commit(2);
      await bench.settled();
      await bench.agent.stop();
    }
    file.commit(1);

    const bench = await one.start();
    await until("a snapshot", () => bench.status().snapshotTxId !== null);

    const [bridged, whole] = begunAfter(one);
    assert.deepEqual(
      [bridged?.reason, whole?.reason, whole?.parent],
      ["restored", "unprovable", { generation: bridged?.generation, txId: txId(committed + 3) }],
    );
    await assertRestores(host, bridged?.generation ?? assert.fail(), file.model.at(committed + 3));
    await assertRestores(host, bench.generation(), file.model.at(file.newest()));
  });

  test("loses nothing that was committed while the host was away, also over a restart", async () => {
    await using one = await restored();
    const { host, file } = one;
    host.intercept = () => ({ status: 503 });
    {
      const bench = await one.start();
      await until("it is captured", () => bench.status().foundTxId === one.point.txId);
      file.commit(2);
      await until("it is in the shadow", () => bench.status().shadowedTxId === BigInt(file.newest()));
      await bench.agent.stop({ deadlineMs: 300 });
    }
    host.intercept = () => undefined;

    const bench = await one.start();
    await bench.settled();
    file.commit(1);
    await bench.settled();

    await assertBridged(one, bench);
    assert.equal(begunAfter(one).length, 1);
  });

  test("is sent beside what this machine had unsent of its own, and does not wait for it", async () => {
    await using one = await restored();
    const { host, file, point } = one;
    const own = movableFile(5);
    host.intercept = () => ({ status: 503 });
    // It never came to have a snapshot at the host, and never will: its file is another now.
    await using directory = await temporary();
    {
      await using bench = await startBench(host, directory.path, own);
      own.commit(4);
      await until("it is in the shadow", () => bench.status().shadowedTxId === 5n);
      await bench.agent.stop({ deadlineMs: 100 });
    }
    host.intercept = () => undefined;
    const shadow = join(directory.path, "shadow/app");
    await noteRestored(shadow, { ...point, stateHash: stateAt(file, Number(point.txId)) });

    await using bench = await startBench(host, directory.path, file);
    await until("it has begun", () => host.begins.has(bench.generation()));
    file.commit(3);
    await bench.settled();

    await assertBridged(one, bench);
  });

  test("on two machines begins two generations, which share no name", async () => {
    await using one = await restored();
    await using directory = await temporary();
    const other = movableFile();
    other.set(one.file.newest());
    await noteRestored(join(directory.path, "shadow/app"), {
      ...one.point,
      stateHash: stateAt(other, other.newest()),
    });
    const first = await one.start();
    await using second = await startBench(one.host, directory.path, other);
    await until("both have begun", () => begunAfter(one).length === 2);

    one.file.commit(2);
    // The other goes another way from here on.
    other.model = { at: (id) => (id <= committed + 1 ? one.file.model : movableFile(7).model).at(id) };
    other.commit(3);
    await Promise.all([first.settled(), second.settled()]);

    await assertBridged(one, first);
    const generation = second.generation();
    assert.notEqual(generation, first.generation());
    assert.equal(sentOf(one.host, generation).snapshots, 0);
    await assertRestores(one.host, generation, other.model.at(other.newest()));
    assert.deepEqual(
      begunAfter(one).map(({ parent }) => parent),
      [one.point, one.point],
    );
  });

  test("has its companion files sent before anybody writes it", async () => {
    await using one = await restored();
    await mkdir(one.directory, { recursive: true });
    await writeFile(join(one.directory, "app.db"), "");
    await writeFile(join(one.directory, "key"), "secret");
    const path = join(one.directory, "app.db");
    const databases = [{ path, name: "app", files: [join(one.directory, "key")] }];

    const bench = await one.start({ databases, filesMs: 20 });

    const isOfIt = (name: string) => name.startsWith(`files/${bench.generation()}/${"0".repeat(15)}a-`);
    await until("they are there", () => [...one.host.objects.keys()].some(isOfIt));
  });
});

suite("a file that was restored is sent whole", () => {
  test("where somebody has written it before it was looked at, and there is no page table to tell what", async () => {
    await using one = await restored();
    one.file.set(committed + 3);

    const bench = await one.start();
    await bench.settled();

    await assertSentWhole(one, bench);
    assert.deepEqual(begunAfter(one)[0]?.parent, one.point);
    assert.ok(!one.host.requests.some((request) => request.includes("/holds")));
  });

  test("where the host does not have the point, or has another state of it, or does not know the question", async () => {
    const answers: Readonly<Record<string, TinyHost["holds"]>> = {
      "it does not have it": () => false,
      "an older host": undefined,
    };
    for (const [name, holds] of Object.entries(answers)) {
      await using one = await restored();
      one.host.holds = holds;

      const bench = await one.start();
      one.file.commit(2);
      await bench.settled();
      await until(`a snapshot: ${name}`, () => bench.status().snapshotTxId !== null);

      await assertSentWhole(one, bench);
    }
  });

  test("where the queue cannot tell", async () => {
    await using one = await restored();
    const { createHttpQueue } = await import("./queues/http.ts");
    const { name, send, stage } = createHttpQueue({ url: one.host.url });

    const bench = await one.start({ queue: { name, send, stage, needs: async () => undefined } });
    await until("a snapshot", () => bench.status().snapshotTxId !== null);

    await assertSentWhole(one, bench);
  });

  test("where whoever restored it did not say which state it is", async () => {
    await using one = await restored();
    await noteRestored(one.own, one.point);

    const bench = await one.start();
    await bench.settled();

    await assertSentWhole(one, bench);
    assert.deepEqual(begunAfter(one)[0]?.parent, one.point);
  });

  test("when the host asks for it, as where the point was lost", async () => {
    await using one = await restored();
    const bench = await one.start();
    await until("the host is told", () => begunAfter(one).length === 1);
    one.host.forget((name) => name.startsWith(one.point.generation));

    one.host.needs = { snapshot: true };
    await until("a snapshot", () => bench.status().snapshotTxId !== null);

    await assertRestores(one.host, bench.generation(), one.file.model.at(one.file.newest()));
  });
});
