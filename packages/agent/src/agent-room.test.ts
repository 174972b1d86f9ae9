import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { setTimeout } from "node:timers/promises";
import {
  assertAllRestore,
  type Bench,
  movableFile,
  pointsOf,
  startBench,
  temporary,
  until,
} from "../testing/agent-bench.ts";
import { openModelSource } from "../testing/model-database.ts";
import { assertRestores, startTinyHost, type TinyHost } from "../testing/tiny-host.ts";
import type { CaptureEvent } from "./sources/capture-event.ts";

const options = {
  shadowBytesMax: 20_000,
  shadowPolicy: "stop",
  granularity: "transaction",
  checkpointMs: 200,
} as const;

const isPaused = (bench: Bench): boolean =>
  bench.status().alarms.some(({ code, message }) => code === "disk-full" && /capture pauses/.test(message));

/** Commits until capture pauses for longer than it takes to trim what was stored before. */
async function fill(bench: Bench, commit: () => void): Promise<void> {
  for (let looks = 0; looks < 50; looks = isPaused(bench) ? looks + 1 : 0) {
    if (!isPaused(bench)) commit();
    await setTimeout(20);
  }
}

/** The same host again, with all that it had. */
async function startAgain(old: TinyHost): Promise<TinyHost> {
  const host = await startTinyHost(old.port);
  for (const [name, bytes] of old.objects) (host.objects as Map<string, Uint8Array>).set(name, bytes);
  for (const [name, begin] of old.begins) (host.begins as Map<typeof name, typeof begin>).set(name, begin);
  return host;
}

/** A database so large that its first base is whole only after so many commits. */
async function* withLateBase(
  events: AsyncIterable<CaptureEvent>,
  deltas: number,
): AsyncGenerator<CaptureEvent> {
  const bases: CaptureEvent[] = [];
  let told = 0;
  for await (const event of events) {
    if (event.type === "base" && told < deltas) {
      bases.push(event);
      continue;
    }
    if (event.type === "delta") told += 1;
    yield event;
    if (told === deltas) yield* bases.splice(0);
  }
}

suite("a shadow that is full, where nothing may be given up", () => {
  test("pauses capture at once, and goes on from there when the host is back", async () => {
    const first = await startTinyHost();
    await using directory = await temporary();
    const file = movableFile();
    await using bench = await startBench(first, directory.path, file, options);
    file.commit(10);
    await bench.settled();
    await first[Symbol.asyncDispose]();

    const captured: number[] = [];
    await fill(bench, () => {
      file.commit(1);
      captured.push(file.newest());
    });
    const kept = Number(bench.status().shadowedTxId);
    file.commit(300, "at once");
    await setTimeout(300);
    assert.deepEqual([isPaused(bench), bench.status().shadowBytes < 30_000], [true, true]);
    assert.ok(Number(bench.status().shadowedTxId) <= kept + 2, "nothing more is taken");

    await using host = await startAgain(first);
    await bench.settled();
    await until("it is over", () => bench.status().alarms.length === 0);

    const points = pointsOf(host, bench.generation());
    assert.deepEqual(
      captured.filter((id) => id <= kept && !points.includes(id)),
      [],
      "every point that was captured is there",
    );
    await assertAllRestore(host, bench.generation(), file.model, points);
    await assertRestores(host, bench.generation(), file.model.at(file.newest()));
    assert.equal(host.begins.size, 1);
  });

  test("does not wait for room where only the snapshot that comes next could make some", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    const file = movableFile();
    await using bench = await startBench(host, directory.path, file, {
      ...options,
      openSource(opened) {
        file.source = openModelSource(opened, () => file);
        return { ...file.source, events: withLateBase(file.source.events, 300) };
      },
    });
    file.commit(305);

    await bench.settled();

    const points = pointsOf(host, bench.generation());
    await assertAllRestore(host, bench.generation(), file.model, points);
    await assertRestores(host, bench.generation(), file.model.at(file.newest()));
    await until("it is over", () => bench.status().alarms.length === 0);
  });

  test("is left at the end as it is, and the next start goes on from there", async () => {
    const first = await startTinyHost();
    await using directory = await temporary();
    const file = movableFile();
    const bench = await startBench(first, directory.path, file, options);
    file.commit(10);
    await bench.settled();
    const generation = bench.generation();
    await first[Symbol.asyncDispose]();
    await fill(bench, () => file.commit(1));
    file.commit(50);
    const bytes = bench.status().shadowBytes;
    await bench.agent.stop({ deadlineMs: 500 });
    assert.ok(bench.status().shadowBytes <= bytes + 1000);

    await using host = await startAgain(first);
    file.commit(5);
    await using again = await startBench(host, directory.path, file, options);
    await again.settled();

    assert.deepEqual([again.generation(), host.begins.size], [generation, 1]);
    await assertAllRestore(host, generation, file.model, pointsOf(host, generation));
    await assertRestores(host, generation, file.model.at(file.newest()));
  });

  test("at a start leaves a slow source the page table that it is to go on from", async () => {
    const first = await startTinyHost();
    await using directory = await temporary();
    const file = movableFile();
    let tables = 0;
    const bench = await startBench(first, directory.path, file, {
      granularity: "transaction",
      openSource(opened) {
        const source = openModelSource(opened, () => file);
        file.source = source;
        const checkpoint = (path: string) => {
          tables += 1;
          if (tables === 1) source.checkpoint(path);
        };
        return { ...source, checkpoint };
      },
    });
    await until("a checkpoint", () => bench.status().snapshotTxId !== null);
    const generation = bench.generation();
    await first[Symbol.asyncDispose]();
    while (bench.status().shadowBytes < 2 * options.shadowBytesMax) {
      file.commit(10);
      await setTimeout(20);
    }
    await bench.agent.stop({ deadlineMs: 1 });
    file.source = undefined;
    file.commit(1);

    await using again = await startBench(first, directory.path, file, {
      ...options,
      openSource(opened) {
        async function* later(): AsyncGenerator<CaptureEvent> {
          // Some looks at the shadow, which is over its bound.
          await setTimeout(3500);
          file.source = openModelSource(opened, () => file);
          yield* file.source.events;
        }
        return {
          events: later(),
          requestBase: () => file.source?.requestBase(),
          checkpoint: (path) => file.source?.checkpoint(path),
          stop: (how) => file.source?.stop(how),
        };
      },
    });
    await until("a source", () => file.source !== undefined);
    await using host = await startAgain(first);
    await again.settled();

    assert.deepEqual([again.generation(), host.begins.size], [generation, 1]);
    await assertRestores(host, generation, file.model.at(file.newest()));
  });
});
