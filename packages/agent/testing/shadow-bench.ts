// For tests: a shadow directory that a source follows, every event of which is held against the truth.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type {
  BeginEvent,
  CaptureEvent,
  CaptureReference,
  CaptureSource,
} from "../src/sources/capture-event.ts";
import { openShadowDirectorySource } from "../src/sources/shadow-directory.ts";
import { type Consumer, createConsumer } from "../src/sources/simulated-consumer.ts";
import type { RecordedHistory } from "../src/sources/simulated-file.ts";

/** A directory with everything a source has. */
export interface ShadowBench {
  readonly directory: string;
  /** What the application writes. */
  readonly shadow: string;
  readonly mirrorDir: string;
  start(options?: StartOptions): FollowedShadow;
}

/** How a source is started. */
export interface StartOptions {
  readonly reference?: CaptureReference;
  /** What its events are held against. Default: the bench's. */
  readonly history?: RecordedHistory;
}

/** A source at work. */
export interface FollowedShadow {
  readonly source: CaptureSource;
  readonly events: CaptureEvent[];
  readonly consumer: Consumer;
  /** Fulfilled when it has ended; rejected when something was not true. */
  readonly done: Promise<void>;
  until(what: string, isOver: () => boolean | undefined): Promise<void>;
  /** Waits until this transaction is captured, and is what it was. */
  reach(id: number): Promise<void>;
  /** Every begin, as reason/via. */
  begins(): string[];
  alarms(): string[];
  /** Writes what a restart goes on from. */
  checkpoint(): Promise<CaptureReference>;
  stop(): Promise<void>;
}

interface Cleanup {
  after(undo: () => void | Promise<void>): void;
}

/** Makes an empty bench; the mirror lies beside the rest unless told. */
export function shadowBench(context: Cleanup, history: RecordedHistory, mirrorDir?: string): ShadowBench {
  const directory = mkdtempSync(join(tmpdir(), "pageferry-shadow-"));
  const started: FollowedShadow[] = [];
  context.after(async () => {
    // One that still runs would make its mirror again.
    for (const { source, done } of started) {
      source.stop({ deadlineMs: 0 });
      await done.catch(() => {});
    }
    rmSync(directory, { recursive: true, force: true });
  });
  const places = { shadow: join(directory, "stream"), mirrorDir: mirrorDir ?? join(directory, "mirror") };
  return {
    directory,
    ...places,
    start(options = {}) {
      const followed = follow({ directory, ...places }, { history, ...options });
      started.push(followed);
      return followed;
    },
  };
}

function follow(
  { directory, shadow, mirrorDir }: Omit<ShadowBench, "start">,
  { history, reference }: StartOptions & { readonly history: RecordedHistory },
): FollowedShadow {
  const consumer = createConsumer(history);
  if (reference !== undefined) consumer.adopt(history, Number(reference.txId));
  const events: CaptureEvent[] = [];
  const source = openShadowDirectorySource({
    ...{ shadowDirectory: shadow, mirrorDir, now: Date.now },
    path: join(directory, "app.db"),
    scratchDir: join(directory, "scratch"),
    ...(reference === undefined ? {} : { reference }),
  });
  const done = consume(source, consumer, events);
  const until: FollowedShadow["until"] = async (what, isOver) => {
    const endMs = performance.now() + 20_000;
    while (isOver() !== true) {
      if (performance.now() > endMs) {
        assert.fail(`${what} never happened: at ${consumer.txId()}, ${JSON.stringify(consumer.counts)}`);
      }
      await Promise.race([sleep(5), done.then(() => sleep(5))]);
    }
  };
  const last = <Type extends CaptureEvent["type"]>(type: Type) =>
    events.findLast((event): event is CaptureEvent & { type: Type } => event.type === type);
  let tables = 0;
  return {
    ...{ source, events, consumer, done, until },
    reach: (id) => until(`transaction ${id}`, () => consumer.txId() === id),
    begins: () => consumer.counts.begins,
    alarms: () => consumer.counts.alarms,
    async checkpoint() {
      tables += 1;
      const tablePath = join(directory, `table-${tables}-${Date.now()}`);
      source.checkpoint(tablePath);
      await until("a checkpoint", () => last("checkpoint")?.path === tablePath);
      const { txId, stateHash } = last("checkpoint") ?? assert.fail();
      return { txId, stateHash, tablePath, identity: (last("begin") as BeginEvent).identity };
    },
    async stop() {
      source.stop();
      await done;
    },
  };
}

async function consume(source: CaptureSource, consumer: Consumer, events: CaptureEvent[]): Promise<void> {
  for await (const event of source.events) {
    events.push(event);
    if (event.type === "checkpoint" || event.type === "stopped") continue;
    if (event.type !== "base") {
      consumer.take(event);
      continue;
    }
    const image = consumer.createImage();
    image.bytes = new Uint8Array(readFileSync(event.imagePath));
    image.isFinished = true;
    rmSync(event.imagePath);
    consumer.take({ ...event, imagePath: image.path });
  }
}
