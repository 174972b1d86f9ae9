import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { decodeEnvelope, PageferryError } from "@pageferry/format";
import { historyOf } from "../testing/history.ts";
import type { Message } from "./deliver.ts";
import { copiedBytesMin, type FanoutTarget, fanOut } from "./fanout.ts";
import type { Outcome } from "./settle.ts";

const history = historyOf("a1");

const messageOf = (
  id: number,
  items: Parameters<typeof history.envelope>[0] = [history.segment(id, id + 1)],
): Message => ({
  id,
  envelope: decodeEnvelope(history.envelope(items)),
  receivedAtMs: 1000,
});

interface Fake extends FanoutTarget {
  readonly got: number[];
}

function target(
  name: string,
  work: (message: Message, signal: AbortSignal) => Promise<Outcome>,
  isReady = true,
): Fake {
  const got: number[] = [];
  return {
    name,
    lane: name,
    copyLane: `copy:${name}`,
    got,
    isReady: () => isReady,
    async deliver(messages, signal) {
      got.push(...messages.map(({ id }) => id));
      return new Map(
        await Promise.all(
          messages.map(async (message) => [message.id, await work(message, signal)] as const),
        ),
      );
    },
  };
}

const takes = async (): Promise<Outcome> => ({ kind: "done" });
const fails = async (): Promise<Outcome> => ({
  kind: "retry",
  error: new PageferryError("unavailable", "no answer"),
});

const lanesOf = (settlements: Awaited<ReturnType<typeof fanOut>>) =>
  settlements.map((one) => [
    one.id,
    one.kind === "done"
      ? (one.onward ?? []).map(({ lane, dead }) => (dead === true ? `${lane} dead` : lane))
      : one.kind,
  ]);

suite("fan-out", () => {
  test("settles a message when every replica has it", async () => {
    const targets = [target("a", takes), target("b", takes)];

    assert.deepEqual(lanesOf(await fanOut([messageOf(1), messageOf(2)], targets)), [
      [1, []],
      [2, []],
    ]);
  });

  test("sends on in its own lane what one replica could not take, and to no other", async () => {
    const targets = [target("a", takes), target("b", fails), target("c", takes)];

    assert.deepEqual(lanesOf(await fanOut([messageOf(1)], targets)), [[1, ["b"]]]);
  });

  test("lets a message that is at fault stop no other", async () => {
    const poison = target("a", async ({ id }) =>
      id === 2 ? { kind: "dead", error: new PageferryError("corrupt", "x") } : { kind: "done" },
    );

    assert.deepEqual(lanesOf(await fanOut([messageOf(1), messageOf(2), messageOf(3)], [poison])), [
      [1, []],
      [2, ["a dead"]],
      [3, []],
    ]);
  });

  test("does not ask a replica that is busy or down", async () => {
    const down = target("b", takes, false);

    assert.deepEqual(lanesOf(await fanOut([messageOf(1)], [target("a", takes), down])), [[1, ["b"]]]);
    assert.deepEqual(down.got, []);
  });

  test("waits for a slow replica until the deadline, also for one that ignores its signal", async () => {
    const never = target("a", () => new Promise(() => undefined));
    const startedMs = performance.now();

    const settled = await fanOut([messageOf(1)], [never, target("b", takes)], { deadlineMs: 50 });

    assert.deepEqual(lanesOf(settled), [[1, ["a"]]]);
    assert.ok(performance.now() - startedMs < 20_000);
  });

  test("ends with lanes for all when it is told to stop, and never throws", async () => {
    const stop = new AbortController();
    const slow = target("a", async (_, signal) => {
      await sleep(10_000, undefined, { signal });
      return { kind: "done" };
    });
    const broken = target("b", () => Promise.reject(new TypeError("a mistake")));

    const settling = fanOut([messageOf(1)], [slow, broken], { signal: stop.signal });
    stop.abort();

    assert.deepEqual(lanesOf(await settling), [[1, ["a", "b"]]]);
  });

  test("sends large bodies to the lanes for copies at once, and the rest of the batch on", async () => {
    const one = target("a", takes);
    const large = { name: history.snapshot(1).name, digest: "0".repeat(64), size: copiedBytesMin };
    const small = { ...large, size: copiedBytesMin - 1 };

    const settled = await fanOut([messageOf(1, [large]), messageOf(2, [small])], [one]);

    assert.deepEqual(lanesOf(settled), [
      [1, ["copy:a"]],
      [2, []],
    ]);
    assert.deepEqual(one.got, [2]);
  });

  test("has nothing to do without replicas", async () => {
    assert.deepEqual(await fanOut([messageOf(1)], []), [{ id: 1, kind: "done" }]);
  });
});
