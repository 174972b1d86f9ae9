import assert from "node:assert/strict";
import {
  closeSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { encodeMetaPage } from "@pageferry/format";
import { readPageTable, rollForward, writePageTable } from "../page-table-file.ts";
import { openBoltFileSource } from "./bolt-file.ts";
import type { BoltFileSourceOptions, CaptureEvent, CaptureSource, DeltaEvent } from "./capture-event.ts";
import { createConsumer } from "./simulated-consumer.ts";
import { recordedHistory } from "./simulated-file.ts";

const history = await recordedHistory("replica", "0862e0be1cb6d5ca");

/** A writer of the history onto a real file, in bolt's order. */
function openWriter(path: string) {
  const fd = openSync(path, "w+");
  const start = (): void => {
    ftruncateSync(fd, 0);
    writeSync(fd, history.start, 0, history.start.length, 0);
  };
  start();
  return {
    start,
    /** Writes the commits after `from` up to `to`. */
    async commit(from: number, to: number, pauseMs = 0) {
      for (const { txId, writes, meta } of history.commits) {
        if (txId <= from || txId > to) continue;
        for (const { id, data } of writes) writeSync(fd, data, 0, data.length, id * history.pageSize);
        const slot = txId % 2 === 0 ? 0 : 1;
        writeSync(fd, encodeMetaPage(meta, slot), 0, history.pageSize, slot * history.pageSize);
        if (pauseMs > 0) await sleep(pauseMs);
      }
    },
    close: () => closeSync(fd),
  };
}

interface Cleanup {
  after(undo: () => void): void;
}

/** As a shadow would keep it: the memory of the frames is handed back when the next event is asked for. */
function copyOf(delta: DeltaEvent): DeltaEvent {
  return { ...delta, frames: delta.frames.map((frame) => ({ ...frame, data: frame.data.slice() })) };
}

/** A source whose events are held against the truth. */
function follow(context: Cleanup, options: Omit<BoltFileSourceOptions, "now">, adopt?: number) {
  const consumer = createConsumer(history);
  if (adopt !== undefined) consumer.adopt(history, adopt);
  const events: CaptureEvent[] = [];
  const source: CaptureSource = openBoltFileSource({ now: Date.now, ...options });
  context.after(() => source.stop({ deadlineMs: 0 }));
  const done = (async () => {
    for await (const event of source.events) {
      events.push(event.type === "delta" ? copyOf(event) : event);
      if (event.type === "base") {
        const image = consumer.createImage();
        image.bytes = new Uint8Array(readFileSync(event.imagePath));
        image.isFinished = true;
        rmSync(event.imagePath);
        consumer.take({ ...event, imagePath: image.path });
      } else if (event.type !== "checkpoint" && event.type !== "stopped") consumer.take(event);
    }
  })();
  const until = async (what: string, isOver: () => boolean): Promise<void> => {
    for (let waited = 0; !isOver(); waited += 5) {
      if (waited > 20_000) assert.fail(`${what} never happened: ${JSON.stringify(consumer.counts)}`);
      await Promise.race([sleep(5), done]);
    }
  };
  const reach = (id: number) => until(`state ${id}`, () => consumer.txId() === id);
  return { source, events, consumer, done, until, reach };
}

function temporaryDirectory(context: Cleanup): string {
  const directory = mkdtempSync(join(tmpdir(), "bolt-file-"));
  context.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

suite("a bolt file as a source", () => {
  test("gives a base, then the commits as they come, and ends when it is told to", async (context) => {
    const directory = temporaryDirectory(context);
    const [path, scratchDir] = [join(directory, "app.db"), join(directory, "scratch")];
    const writer = openWriter(path);
    context.after(writer.close);
    const { source, events, consumer, done, reach } = follow(context, { path, scratchDir });
    await reach(2);

    await writer.commit(2, 60, 3);
    await reach(60);
    // Long enough to fall asleep; the next commit must wake it.
    await sleep(400);
    await writer.commit(60, 61);
    await reach(61);
    source.stop();
    await done;

    assert.equal(events.at(-1)?.type, "stopped");
    assert.deepEqual(consumer.counts.begins, ["first/snapshot"]);
    assert.ok(consumer.counts.singles > 0);
  });

  test("goes on after a stop from its checkpoint, rolled forward by the deltas after it", async (context) => {
    const directory = temporaryDirectory(context);
    const [path, scratchDir] = [join(directory, "app.db"), join(directory, "scratch")];
    const tablePath = join(directory, "table");
    const writer = openWriter(path);
    context.after(writer.close);
    const first = follow(context, { path, scratchDir });
    await first.reach(2);
    first.source.checkpoint(tablePath);
    await first.until("a checkpoint", () => first.events.some(({ type }) => type === "checkpoint"));
    const kept = first.events.length;
    await writer.commit(2, 20, 2);
    await first.reach(20);
    first.source.stop();
    await first.done;
    let saved = readPageTable(tablePath);
    for (const event of first.events.slice(kept))
      if (event.type === "delta") saved = rollForward(saved, event);
    await writer.commit(20, 90);
    const begin = first.events.find((event) => event.type === "begin") ?? assert.fail();

    await writePageTable(tablePath, saved);
    const reference = { tablePath, txId: saved.txId, stateHash: saved.stateHash, identity: begin.identity };
    const second = follow(context, { path, scratchDir, reference }, 20);
    await second.reach(90);
    second.source.stop();
    await second.done;

    assert.deepEqual(second.consumer.counts.begins, ["continue/continue"]);
    assert.equal(second.consumer.counts.ranges, 1);
  });

  test("follows to the file that is renamed over its path", async (context) => {
    const directory = temporaryDirectory(context);
    const [path, scratchDir] = [join(directory, "app.db"), join(directory, "scratch")];
    const writer = openWriter(path);
    context.after(writer.close);
    const { source, consumer, done, reach, until } = follow(context, { path, scratchDir });
    await reach(2);
    const other = openWriter(join(directory, "other.db"));
    context.after(other.close);
    await other.commit(2, 70);

    renameSync(join(directory, "other.db"), path);
    await reach(70);
    await other.commit(70, 71);
    await reach(71);
    source.stop();
    await done;

    assert.deepEqual(consumer.counts.begins, ["first/snapshot", "replaced/bridge"]);
    await until("the end", () => true);
  });

  test("of which there are many is read by one thread, each on its own", async (context) => {
    const directory = temporaryDirectory(context);
    const scratchDir = join(directory, "scratch");
    const all = Array.from({ length: 20 }, (_, index) => {
      const path = join(directory, `app-${index}.db`);
      const writer = openWriter(path);
      context.after(writer.close);
      return { writer, ...follow(context, { path, scratchDir }) };
    });
    await Promise.all(all.map(({ reach }) => reach(2)));

    await Promise.all(all.map(({ writer }, index) => writer.commit(2, 10 + index, 1)));
    await Promise.all(all.map(({ reach }, index) => reach(10 + index)));
    for (const { source } of all) source.stop();
    await Promise.all(all.map(({ done }) => done));

    assert.deepEqual(
      all.flatMap(({ consumer }) => consumer.counts.alarms),
      [],
    );
  });

  test("that is none is an alarm, and can be stopped", async (context) => {
    const directory = temporaryDirectory(context);
    const path = join(directory, "notes.txt");
    writeFileSync(path, "not a database\n".repeat(1000));
    const { source, consumer, done, until } = follow(context, {
      path,
      scratchDir: join(directory, "scratch"),
    });

    await until("an alarm", () => consumer.counts.alarms.length > 0);
    source.stop({ deadlineMs: 10 });
    await done;

    assert.deepEqual(consumer.counts.alarms, ["not-bolt"]);
  });

  test("ends at once where there can be no scratch directory", async (context) => {
    const directory = temporaryDirectory(context);
    const path = join(directory, "app.db");
    writeFileSync(path, "");
    const { consumer, done } = follow(context, { path, scratchDir: join(path, "scratch") });

    await done;

    assert.equal(consumer.counts.alarms.length, 1);
  });
});
