import assert from "node:assert/strict";
import { existsSync, rmSync } from "node:fs";
import { link, readdir, rm, truncate } from "node:fs/promises";
import { join } from "node:path";
import { suite, test } from "node:test";
import { setTimeout } from "node:timers/promises";
import {
  type Bench,
  type MovableFile,
  movableFile,
  startBench,
  temporary,
  until,
} from "../testing/agent-bench.ts";
import { openModelSource } from "../testing/model-database.ts";
import { assertRestores, startTinyHost, type TinyHost } from "../testing/tiny-host.ts";
import type { AgentOptions } from "./agent.ts";
import type { CaptureEvent } from "./sources/capture-event.ts";

interface Mended extends AsyncDisposable {
  readonly host: TinyHost;
  readonly file: MovableFile;
  readonly bench: Bench;
  /** The database's own directory. */
  readonly own: string;
  /** Everything that was ever an alarm. */
  readonly raised: string[];
  /** Stops it and starts another on the same files. */
  restarted(): Promise<Bench>;
}

async function mended(options: Partial<AgentOptions> = {}): Promise<Mended> {
  const held = new AsyncDisposableStack();
  const host = held.use(await startTinyHost());
  const directory = held.use(await temporary());
  const file = movableFile();
  const bench = held.use(await startBench(host, directory.path, file, options));
  const raised: string[] = [];
  bench.agent.on("alarm", ({ alarm }) => raised.push(alarm.code));
  file.commit(3);
  await bench.settled();
  await until("a checkpoint", () => bench.status().snapshotTxId !== null);
  return {
    host,
    file,
    bench,
    own: join(directory.path, "shadow", "app"),
    raised,
    async restarted() {
      await bench.agent.stop();
      return held.use(await startBench(host, directory.path, file));
    },
    [Symbol.asyncDispose]: () => held.disposeAsync(),
  };
}

async function logsIn(own: string, generation: string): Promise<string[]> {
  const names = await readdir(join(own, generation));
  return names.filter((name) => name.endsWith(".log")).map((name) => join(own, generation, name));
}

/** Commits while the host is away, so that the shadow alone holds it. */
async function commitUnsent({ host, file, bench }: Mended, count: number): Promise<void> {
  let refused = 0;
  host.intercept = (method) => {
    if (method === "POST") refused += 1;
    return { status: 502 };
  };
  file.commit(1);
  // What is on its way is in memory; what follows is not.
  await until("a refusal", () => refused > 0);
  file.commit(count);
  await until("the shadow", () => bench.status().shadowedTxId === BigInt(file.newest()));
}

/** The newest state is in the archive, in the generation that it always was, and stays so after a restart. */
async function assertMended(one: Mended, generation: string): Promise<void> {
  one.host.intercept = () => undefined;
  await one.bench.settled();
  one.file.commit(2);
  await one.bench.settled();
  await assertRestores(one.host, one.bench.generation(), one.file.model.at(one.file.newest()));
  await until("no alarm", () => one.bench.status().alarms.length === 0);
  const again = await one.restarted();
  one.file.commit(1);
  await again.settled();
  assert.equal(again.generation(), generation);
  assert.equal(one.host.begins.size, 1);
  await assertRestores(one.host, again.generation(), one.file.model.at(one.file.newest()));
}

suite("an agent whose shadow", () => {
  for (const [granularity, inspectMs] of [
    ["interval", 50],
    ["transaction", 50],
    // What is read back to be sent finds it before anybody looks.
    ["interval", 600_000],
    ["transaction", 600_000],
  ] as const) {
    test(`is deleted before it was sent says so, and closes the hole by a snapshot (${granularity}, looked at every ${inspectMs} ms)`, async () => {
      await using one = await mended({ granularity, inspectMs, recentBytesMax: 0 });
      const generation = one.bench.generation();
      await commitUnsent(one, 5);

      for (const path of await logsIn(one.own, generation)) await rm(path);
      if (inspectMs < 1000) await until("an alarm", () => one.raised.includes("gap"));
      one.host.intercept = () => undefined;
      await until("an alarm", () => one.raised.includes("gap"));

      await assertMended(one, generation);
    });
  }

  test("is cut short before it was sent says so, and closes the hole by a snapshot", async () => {
    await using one = await mended({ recentBytesMax: 0 });
    const generation = one.bench.generation();
    await commitUnsent(one, 5);

    for (const path of await logsIn(one.own, generation)) await truncate(path, 100);

    await assertMended(one, generation);
    assert.ok(one.raised.includes("gap"));
  });

  test("is deleted after it was sent looks at it again, and a restart goes on all the same", async () => {
    await using one = await mended({ inspectMs: 50 });
    const generation = one.bench.generation();

    for (const path of await logsIn(one.own, generation)) await rm(path);
    // What comes next must be durable, and not in a file without a name.
    one.file.commit(2);
    await setTimeout(1500);
    one.file.commit(2);
    await one.bench.settled();

    assert.equal((await logsIn(one.own, generation)).length, 1);
    await assertMended(one, generation);
  });

  test("directory is deleted as a whole makes it again with all that is in it", async () => {
    await using one = await mended({ inspectMs: 50 });
    const generation = one.bench.generation();

    await rm(one.own, { recursive: true });
    one.file.commit(3);
    await one.bench.settled();
    const isThere = (name: RegExp) => async () => (await readdir(one.own)).some((found) => name.test(found));
    for (const name of [/^cursor\.json$/, /^pages-\d+\.table$/, /^scratch$/]) {
      for (let tries = 0; !(await isThere(name)().catch(() => false)); tries += 1) {
        assert.ok(tries < 300, `${name} is not made again`);
        await setTimeout(20);
      }
    }

    await assertMended(one, generation);
  });

  test("has lost its cursor when it starts says so, and begins anew", async () => {
    await using one = await mended();
    await commitUnsent(one, 2);
    await one.bench.agent.stop({ deadlineMs: 1 });
    await rm(join(one.own, "cursor.json"));

    const again = await one.restarted();
    const codes = again.status().alarms.map(({ code }) => code);
    one.host.intercept = () => undefined;
    await again.settled();

    assert.ok(codes.includes("gap"), codes.join());
    await assertRestores(one.host, again.generation(), one.file.model.at(one.file.newest()));
    await until("no alarm", () => again.status().alarms.length === 0);
  });

  test("holds what a crash left of a reserve that took a file's place removes it at the start", async () => {
    await using scene = await mended();
    const rubbish = join(scene.own, "reserve-cursor.next");
    await link(join(scene.own, "cursor.json"), rubbish);
    const generation = scene.bench.generation();

    const again = await scene.restarted();

    assert.deepEqual([existsSync(rubbish), again.generation()], [false, generation]);
  });
});

suite("an agent whose page table", () => {
  test("is deleted makes another, and a restart goes on from it", async () => {
    await using one = await mended({ inspectMs: 20 });
    const generation = one.bench.generation();
    const tables = async () => (await readdir(one.own)).filter((name) => name.endsWith(".table"));
    const before = await tables();

    for (const name of before) await rm(join(one.own, name));
    for (let tries = 0; (await tables()).length === 0; tries += 1) {
      assert.ok(tries < 300, "no table is made again");
      await setTimeout(20);
    }
    assert.deepEqual(
      (await tables()).filter((name) => before.includes(name)),
      [],
    );

    await assertMended(one, generation);
  });
});

suite("an agent whose image", () => {
  test("is deleted before it is compressed makes another, and stops nothing", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    const file = movableFile();
    let images = 0;
    async function* deleting(events: AsyncIterable<CaptureEvent>): AsyncGenerator<CaptureEvent> {
      for await (const event of events) {
        if (event.type === "base") {
          images += 1;
          if (images === 1) rmSync(event.imagePath);
        }
        yield event;
      }
    }

    await using bench = await startBench(host, directory.path, file, {
      openSource(options) {
        const source = openModelSource(options, () => file);
        file.source = source;
        return { ...source, events: deleting(source.events) };
      },
    });
    const states = new Set<string>();
    await until("it is acknowledged", () => {
      states.add(bench.status().state);
      return bench.status().acknowledgedTxId === 1n;
    });

    assert.equal(images, 2);
    assert.ok(!states.has("halted"));
    await assertRestores(host, bench.generation(), file.model.at(1));
    assert.deepEqual(bench.status().alarms, []);
  });
});

test("an agent sends a snapshot now and then, and none but what is asked for where the host builds them", async () => {
  await using one = await mended({ snapshotIntervalMs: 300 });
  const { host, file, bench } = one;
  const snapshots = () => [...host.objects.keys()].filter((name) => name.includes("/snapshots/")).length;
  file.commit(1);
  await until("a snapshot in its turn", () => snapshots() === 2);
  host.needs = { buildsSnapshots: true };
  file.commit(1);
  await bench.settled();
  await setTimeout(500);
  const told = snapshots();
  file.commit(1);
  await bench.settled();
  await setTimeout(2500);
  assert.equal(snapshots(), told);

  host.needs = { buildsSnapshots: true, snapshot: true };

  await until("the snapshot that was asked for", () => snapshots() === told + 1);
});
