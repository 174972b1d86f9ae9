import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { parseDatabaseName, parseGeneration } from "@pageferry/format";
import { unknownDatabase } from "../testing/unknown-status.ts";
import { createAlarms } from "./alarms.ts";
import { probeIdle, watch, watchQueue } from "./maintenance.ts";
import { openQueue } from "./queue.ts";
import { replicaSetOf } from "./replicas.ts";
import type { Source } from "./sources.ts";
import { memoryStore } from "./stores/memory.ts";
import { createTarget } from "./targets.ts";

const dayMs = 86_400_000;

function open() {
  const alarms = createAlarms({ now: () => 0 });
  const options = { alarms, now: () => 20 * dayMs, config: { queueRetentionMs: 14 * dayMs } };
  const codes = () => alarms.list().map(({ code, replica }) => `${code} ${replica}`);
  return { codes, watch: (depths: Parameters<typeof watchQueue>[0]) => watchQueue(depths, options) };
}

const depth = { lane: "replica:b", database: "app", messages: 1, bytes: 9, dead: 0 };

suite("what waits in the queue", () => {
  test("is told when it has waited for half of the time that it is kept", () => {
    const { codes, watch } = open();

    watch([{ ...depth, oldestMs: 13.5 * dayMs }]);
    assert.deepEqual(codes(), []);
    watch([{ ...depth, oldestMs: 12.5 * dayMs }]);

    assert.deepEqual(codes(), ["queue-age replica:b"]);
  });

  test("is no alarm any more when its lane is empty, nor are dead letters that were replayed", () => {
    const { codes, watch } = open();
    watch([{ ...depth, dead: 2, oldestMs: 0 }]);
    assert.deepEqual(codes(), ["dead-letter replica:b", "queue-age replica:b"]);

    watch([]);

    assert.deepEqual(codes(), []);
  });
});

suite("an agent that is not heard of", () => {
  const source = (name: string, parting: Source["parting"]): Source => ({
    ...{
      database: parseDatabaseName(name),
      generation: parseGeneration("a".repeat(16)),
      host: "vm",
      parting,
    },
    ...{ newestTxId: null, newestStampMs: null, lastSeenMs: 1000, generations: new Map() },
  });
  const parting = { reason: "unregistered", host: "vm", atMs: 1000, sentAtMs: 1000 };

  test("is an alarm within a minute, unless it said that its database is no longer backed up", () => {
    const alarms = createAlarms({ now: () => 0 });
    const sources = [source("app", null), source("gone", null)];
    const look = (nowMs: number) => {
      const databases = { standing: () => unknownDatabase, gaps: () => undefined };
      watch({ alarms, databases, sources: { all: () => sources }, now: () => nowMs, config: {} });
      return alarms.list().map(({ code, database }) => `${code} ${database}`);
    };

    assert.deepEqual(look(50_000), []);
    assert.deepEqual(look(60_000), ["silent app", "silent gone"]);
    sources[1] = source("gone", parting);
    assert.deepEqual(look(61_000), ["silent app"]);
    sources[1] = source("gone", null);
    assert.deepEqual(look(62_000), ["silent app", "silent gone"]);
  });
});

suite("a replica that was away while nothing was sent to it", () => {
  /** One that has failed once, asked through a store that answers when it is told to. */
  async function openAway() {
    const clock = { nowMs: 0 };
    const answers: PromiseWithResolvers<void>[] = [];
    const store = memoryStore();
    const list = store.list;
    store.list = async function* (prefix, call) {
      const answer = Promise.withResolvers<void>();
      answers.push(answer);
      await answer.promise;
      yield* list(prefix, call);
    };
    const target = createTarget(replicaSetOf(store), {
      stagedBody: () => Promise.reject(new Error("nothing is staged")),
      alarms: createAlarms({ now: () => 0 }),
      now: () => clock.nowMs,
      random: () => 0,
    });
    await assert.rejects(target.ask(() => Promise.reject(new Error("away"))));
    assert.equal(target.health().state, "open");
    const queue = openQueue({ path: ":memory:", now: () => 0 });
    const probe = () => probeIdle({ targets: [target], queue }, new AbortController().signal);
    return { clock, answers, target, queue, probe };
  }

  test("is asked whether it is back when its wait is over, once at a time", async () => {
    const { clock, answers, target, queue, probe } = await openAway();
    await using _ = queue;
    probe();
    assert.equal(answers.length, 0);
    clock.nowMs += 60_000;

    probe();
    probe();

    assert.equal(answers.length, 1);
    assert.equal(target.health().state, "half-open");
    answers[0]?.resolve();
    await new Promise(setImmediate);
    assert.deepEqual(target.health(), { state: "closed", failures: 0, waitMs: 0, error: null });
    probe();
    assert.equal(answers.length, 1);
  });

  test("is left alone again when it is not", async () => {
    const { clock, answers, target, queue, probe } = await openAway();
    await using _ = queue;
    clock.nowMs += 60_000;

    probe();
    answers[0]?.reject(new Error("still away"));
    await new Promise(setImmediate);

    assert.deepEqual([target.health().state, target.health().failures], ["open", 2]);
  });

  test("is asked by its messages, where some wait", async () => {
    const { clock, answers, target, queue, probe } = await openAway();
    await using _ = queue;
    clock.nowMs += 60_000;
    await queue.send(target.copyLane, { database: "app", body: Uint8Array.of(1), receivedAtMs: 0 });

    probe();

    assert.equal(answers.length, 0);
  });
});
