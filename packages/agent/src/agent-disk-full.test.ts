import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { existsSync, readFileSync, statfsSync, statSync } from "node:fs";
import { mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { suite, test } from "node:test";
import {
  type Bench,
  type MovableFile,
  movableFile,
  startBench,
  temporary,
  until,
} from "../testing/agent-bench.ts";
import { count, startFor } from "../testing/companions-bench.ts";
import { openModelSource } from "../testing/model-database.ts";
import { fillDisk, inChild, runOnSmallDisk } from "../testing/small-disk.ts";
import { assertRestores, startTinyHost, type TinyHost } from "../testing/tiny-host.ts";
import { parseCursor } from "./cursor.ts";
import type { CaptureEvent } from "./sources/capture-event.ts";

interface Disk {
  readonly directory: string;
  readonly host: TinyHost;
  readonly file: MovableFile;
  /** The database's own directory, on the disk. */
  readonly own: string;
}

const isFull = ({ status }: Bench) => status().alarms.some(({ code }) => code === "disk-full");

/** An agent that has a page table, and in its shadow what a restart rolls it forward by. Its source writes no other. */
async function startWithTable({ host, directory, file }: Disk): Promise<Bench> {
  let tables = 0;
  const bench = await startBench(host, directory, file, {
    openSource(options) {
      const source = openModelSource(options, () => file);
      file.source = source;
      const checkpoint = (path: string) => {
        tables += 1;
        if (tables === 1) source.checkpoint(path);
      };
      return { ...source, checkpoint };
    },
  });
  await bench.settled();
  await until("a checkpoint", () => bench.status().snapshotTxId !== null);
  file.commit(5);
  await bench.settled();
  return bench;
}

async function removeReserves(own: string): Promise<void> {
  for (const name of await readdir(own))
    if (name.startsWith("reserve")) await rm(join(own, name), { recursive: true });
}

async function* withoutBases(events: AsyncIterable<CaptureEvent>): AsyncGenerator<CaptureEvent> {
  for await (const event of events) if (event.type !== "base") yield event;
}

function epochOf(own: string): number | null | undefined {
  return parseCursor(readFileSync(join(own, "cursor.json"), "utf8")).generations.at(-1)?.epoch;
}

/** The first base is an image that no snapshot of it fits on the disk. */
async function* withLargeBase(
  events: AsyncIterable<CaptureEvent>,
  imagePath: string,
): AsyncGenerator<CaptureEvent> {
  let isFirst = true;
  for await (const event of events) {
    if (event.type !== "base" || !isFirst) yield event;
    else {
      isFirst = false;
      const { size } = statSync(imagePath);
      yield { ...event, imagePath, highWaterMark: size / event.pageSize };
    }
  }
}

function free(path: string): number {
  const { bavail, bsize } = statfsSync(path);
  return bavail * bsize;
}

const scenarios: Readonly<Record<string, (disk: Disk) => Promise<void>>> = {
  "at the start is waited for where no room was kept, and costs no new generation": async (disk) => {
    const { host, directory, file, own } = disk;
    const bench = await startWithTable(disk);
    const generation = bench.generation();
    await bench.agent.stop({ deadlineMs: 1 });
    await removeReserves(own);
    const filler = join(directory, "filler");
    await fillDisk(filler);
    file.source = undefined;

    await using again = await startBench(host, directory, file);
    await until("an alarm", () => isFull(again));
    assert.equal(file.source, undefined, "nothing is captured from an unknown state");
    file.set(9);
    await rm(filler);
    await until("a source", () => file.source !== undefined);
    await again.settled();

    assert.deepEqual([again.generation(), host.begins.size], [generation, 1]);
    await assertRestores(host, generation, file.model.at(9));
    await until("no alarm", () => again.status().alarms.length === 0);
  },

  "keeps the host from hearing of an epoch that a restart would not know": async (disk) => {
    const { host, directory, file, own } = disk;
    const filler = join(directory, "filler");
    let isFilled = false;
    let asked = 0;
    host.intercept = (_, path) => {
      if (!path.endsWith("/needs")) return;
      asked += 1;
      return isFilled ? undefined : { status: 502 };
    };
    await using bench = await startBench(host, directory, file, {
      // Nothing but the cursor is written.
      openSource(options) {
        const source = openModelSource(options, () => file);
        return { ...source, events: withoutBases(source.events), requestBase() {}, checkpoint() {} };
      },
    });
    await until("a generation", () => existsSync(join(own, "cursor.json")));
    await removeReserves(own);
    await fillDisk(filler);
    isFilled = true;
    await until("an alarm", () => isFull(bench));
    const before = asked;
    await until("answers", () => asked > before + 2);

    assert.deepEqual([host.begins.size, epochOf(own)], [0, null]);
    await rm(filler);
    await until("a heartbeat", () => host.begins.size > 0);
    assert.equal(epochOf(own), 1);
    await until("no alarm", () => bench.status().alarms.length === 0);
  },

  "at the start is gone on from in the room that was kept": async (disk) => {
    const { host, directory, file } = disk;
    const bench = await startWithTable(disk);
    const generation = bench.generation();
    await bench.agent.stop({ deadlineMs: 1 });
    await fillDisk(join(directory, "filler"));
    file.source = undefined;

    await using again = await startBench(host, directory, file);
    await until("a source", () => file.source !== undefined);
    file.commit(3);
    await again.settled();

    assert.deepEqual([again.generation(), host.begins.size], [generation, 1]);
    await assertRestores(host, generation, file.model.at(file.newest()));
    await until("no alarm", () => again.status().alarms.length === 0);
  },

  "that the shadow fills while the host is away is freed by itself when the host is back, also over a restart":
    async (disk) => {
      const { host, directory, file } = disk;
      const bench = await startWithTable(disk);
      const generation = bench.generation();
      host.intercept = () => ({ status: 502 });
      while (!isFull(bench)) {
        file.commit(20);
        await until("the disk", () => isFull(bench) || bench.status().shadowedTxId === BigInt(file.newest()));
      }
      await bench.agent.stop({ deadlineMs: 1 });
      file.source = undefined;

      await using again = await startBench(host, directory, file);
      await until("a source", () => file.source !== undefined);
      file.commit(20);
      host.intercept = () => undefined;
      await again.settled();

      assert.deepEqual([again.generation(), host.begins.size], [generation, 1]);
      await assertRestores(host, generation, file.model.at(file.newest()));
      await until("no alarm", () => again.status().alarms.length === 0);
    },

  "that the shadow fills while a snapshot has no room on it is freed for another snapshot": async (disk) => {
    const { host, directory, file } = disk;
    await using elsewhere = await temporary();
    const large = join(elsewhere.path, "image");
    await writeFile(large, randomBytes(4 * 2 ** 20));
    await using bench = await startBench(host, directory, file, {
      openSource(options) {
        const source = openModelSource(options, () => file);
        file.source = source;
        // Another one is asked for by the test alone: the model ends where it finds no room for an image.
        return { ...source, events: withLargeBase(source.events, large), requestBase() {} };
      },
    });
    await until("no room for it", () => isFull(bench));
    // Between two attempts all that is left is taken by what waits for it; on a slow machine it is given up before, and its image is gone.
    const isOver = () => free(directory) < 8192 || !existsSync(large);
    while (!isOver()) {
      file.commit(20);
      await until("the disk", () => isOver() || bench.status().shadowedTxId === BigInt(file.newest()));
    }
    await until("room", () => free(directory) > 2 ** 20, 30_000);
    file.commit(1);
    file.source?.requestBase();
    await bench.settled();

    await assertRestores(host, bench.generation(), file.model.at(file.newest()));
    await until("no alarm", () => bench.status().alarms.length === 0);
  },

  "that companion files find no room on is freed of what is stored": async ({ directory, host, file }) => {
    const companion = join(directory, "key");
    await writeFile(companion, "one");
    // By itself it asks only once what is stored.
    const seldom = { needsMs: 3_600_000, shadowBytesMax: 2 ** 22 };
    await using bench = await startFor(host, directory, { file, patterns: ["key"], ...seldom });
    await until("a version", () => count(host) === 1);
    while (free(directory) > 500_000) {
      file.commit(5);
      await bench.settled();
    }

    await writeFile(companion, randomBytes(400_000));

    await until("another version", () => count(host) === 2);
    await until("no alarm", () => bench.status().alarms.length === 0);
  },

  "that the shadow fills is freed of what is stored, also where no room was kept": async (disk) => {
    const { host, directory, file, own } = disk;
    await using bench = await startBench(host, directory, file);
    file.commit(1);
    await bench.settled();
    await until("a checkpoint", () => bench.status().snapshotTxId !== null);
    const generation = bench.generation();
    host.intercept = () => ({ status: 502 });
    while (!isFull(bench)) {
      await removeReserves(own);
      // What is in their place cannot be written over.
      await mkdir(join(own, "reserve"), { recursive: true });
      file.commit(20);
      await until("the disk", () => isFull(bench) || bench.status().shadowedTxId === BigInt(file.newest()));
    }
    await fillDisk(join(directory, "filler"));
    file.commit(20);
    host.intercept = () => undefined;
    await bench.settled();

    assert.deepEqual([bench.generation(), host.begins.size], [generation, 1]);
    await assertRestores(host, generation, file.model.at(file.newest()));
  },
};

if (inChild !== undefined) {
  const { directory, scenario } = inChild;
  const run = scenarios[scenario];
  assert.ok(run);
  await using host = await startTinyHost();
  await run({ directory, host, file: movableFile(), own: join(directory, "shadow", "app") });
} else {
  suite("a disk that is full", () => {
    for (const name of Object.keys(scenarios))
      test(name, () => runOnSmallDisk(import.meta.filename, name, "2m"));
  });
}
