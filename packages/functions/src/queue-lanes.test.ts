import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { suite, type TestContext, test } from "node:test";
import fc from "fast-check";
import { type DurableQueue, openQueue, type Settlement } from "./queue.ts";

const bounds = { messagesMax: 1000, bytesMax: 1_000_000, visibilityMs: 30_000 };
const nothing = { messages: 0, bytes: 0, staged: 0 };
const dayMs = 86_400_000;

function open(path = ":memory:") {
  const clock = { nowMs: 1_000_000, seenMs: 0 };
  const queue = openQueue({ path, now: () => clock.nowMs, monotonic: () => clock.seenMs });
  const pass = (ms: number) => {
    clock.nowMs += ms;
    clock.seenMs += ms;
  };
  return { queue, pass };
}

async function temporaryPath(t: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "pageferry-lanes-"));
  t.after(() => rm(directory, { recursive: true, force: true }));
  return join(directory, "queue.db");
}

/** Sends a message and fans it out: into the lanes named, stored by some other replica or by none. */
async function laned(
  queue: DurableQueue,
  word: string,
  lanes: readonly string[],
  more: { isStored?: boolean; database?: string; stagedBytes?: number } = {},
): Promise<void> {
  const { isStored = true, database = "app", stagedBytes = 0 } = more;
  await queue.send("in", { database, body: Buffer.from(word), receivedAtMs: 1_000_000, stagedBytes });
  const [taken] = queue.receive("in", bounds);
  const onward = lanes.map((lane) => ({ lane }));
  queue.settle([{ id: taken?.id ?? 0, kind: "done", onward, isStored }]);
}

const wordsIn = (queue: DurableQueue, lane: string): string[] =>
  queue.receive(lane, bounds).map(({ body }) => Buffer.from(body).toString());

/** Repeats a step until there is nothing left of it. */
function shedAll(queue: DurableQueue, lane: string, keep = nothing): number {
  let all = 0;
  for (let some = -1; some !== 0; all += Math.max(0, some)) some = queue.shed(lane, keep);
  return all;
}

suite("a lane that is over its bound", () => {
  test("lets go of its oldest messages until it is not", async () => {
    const { queue } = open();
    for (const word of ["one", "two", "three", "four"]) await laned(queue, word, ["b"]);

    assert.equal(queue.shed("b", { messages: 2, bytes: 100, staged: 0 }), 2);
    assert.equal(queue.shed("b", { messages: 2, bytes: 100, staged: 0 }), 0);
    assert.deepEqual({ ...queue.load("b") }, { messages: 2, bytes: 9, staged: 0, dead: 0 });
    assert.equal(queue.bytes(), 9);
    assert.equal(queue.shed("b", { messages: 2, bytes: 4, staged: 0 }), 1);

    assert.deepEqual(wordsIn(queue, "b"), ["four"]);
  });

  test("lets go of nothing that no other replica has stored", async () => {
    const { queue } = open();
    await laned(queue, "only", ["a", "b"], { isStored: false });
    await laned(queue, "spare", ["b"]);

    assert.equal(shedAll(queue, "b"), 1);

    assert.deepEqual(wordsIn(queue, "b"), ["only"]);
    assert.deepEqual(wordsIn(queue, "a"), ["only"]);
  });

  test("may let go of a message once another lane has stored it, and not before", async () => {
    const { queue } = open();
    await laned(queue, "one", ["a", "b"], { isStored: false });
    const [inA] = queue.receive("a", bounds);
    assert.equal(shedAll(queue, "b"), 0);

    queue.settle([{ id: inA?.id ?? 0, kind: "done", isStored: true }]);

    assert.equal(shedAll(queue, "b"), 1);
    assert.equal(queue.bytes(), 0);
  });

  test("does not take a dead letter elsewhere for a stored copy", async () => {
    const { queue } = open();
    await laned(queue, "one", ["a", "b"], { isStored: false });
    queue.settle([{ id: queue.receive("a", bounds)[0]?.id ?? 0, kind: "dead", error: "corrupt: x" }]);

    assert.equal(shedAll(queue, "b"), 0);
  });

  test("counts the staged bodies that its messages point at, and lets go of those", async () => {
    const { queue } = open();
    await laned(queue, "small", ["b"]);
    await laned(queue, "large", ["b"], { stagedBytes: 5000 });

    assert.equal(queue.load("b").staged, 5000);
    assert.equal(shedAll(queue, "b", { messages: 9, bytes: 99, staged: 4000 }), 1);

    assert.deepEqual(wordsIn(queue, "b"), ["small"]);
  });

  test("ignores what comes of a turn that it let go of", async () => {
    const { queue } = open();
    await laned(queue, "one", ["b"]);
    const [taken] = queue.receive("b", bounds);
    shedAll(queue, "b");

    queue.settle([{ id: taken?.id ?? 0, kind: "retry", delayMs: 0, error: "unavailable: x" }]);

    assert.deepEqual([queue.load("b").messages, queue.bytes()], [0, 0]);
  });
});

suite("a lane that let go of something", () => {
  test("says for which databases, also after a restart, until it caught up", async (t) => {
    const path = await temporaryPath(t);
    const { queue } = open(path);
    await laned(queue, "one", ["replica:sftp://host/x"], { database: "app" });
    await laned(queue, "two", ["replica:sftp://host/x"], { database: "other" });
    shedAll(queue, "replica:sftp://host/x");
    await queue.close();
    await using again = open(path).queue;

    const behind = again.behind();

    assert.deepEqual(
      behind.map(({ lane, database }) => [lane, database]),
      [
        ["replica:sftp://host/x", "app"],
        ["replica:sftp://host/x", "other"],
      ],
    );
    for (const one of behind) assert.equal(again.caughtUp(one), true);
    assert.deepEqual(again.behind(), []);
  });

  test("has not caught up by a repair that began before it let go of more", async () => {
    const { queue } = open();
    await laned(queue, "one", ["b"]);
    shedAll(queue, "b");
    const [before] = queue.behind();
    await laned(queue, "two", ["b"]);
    shedAll(queue, "b");

    assert.equal(queue.caughtUp(before ?? { lane: "", database: "", mark: "" }), false);

    assert.equal(queue.behind().length, 1);
    assert.equal(queue.caughtUp(queue.behind()[0] ?? { lane: "", database: "", mark: "" }), true);
  });

  test("by their age is behind, too; what nobody has is told as lost, once", async () => {
    const { queue, pass } = open();
    await laned(queue, "spare", ["b"]);
    await laned(queue, "only", ["a", "b"], { isStored: false });
    pass(15 * dayMs);

    assert.equal(
      queue.expire(14 * dayMs, () => true),
      1,
    );

    assert.deepEqual(
      queue.behind().map(({ lane }) => lane),
      ["a", "b"],
    );
    assert.equal(queue.bytes(), 0);
  });
});

suite("dead letters", () => {
  test("of one lane come back, of one database or of all; a second time there are none", async () => {
    const { queue } = open();
    for (const database of ["app", "other"]) {
      await laned(queue, database, ["a", "b"], { database });
      for (const lane of ["a", "b"]) {
        queue.settle([{ id: queue.receive(lane, bounds)[0]?.id ?? 0, kind: "dead", error: "corrupt: x" }]);
      }
    }

    assert.deepEqual([queue.replay("b", "app"), queue.replay("b", "app")], [1, 0]);
    assert.deepEqual(wordsIn(queue, "b"), ["app"]);
    assert.deepEqual([queue.replay("b"), queue.replay("b")], [1, 0]);
    assert.deepEqual({ ...queue.load("a") }, { messages: 0, bytes: 0, staged: 0, dead: 2 });
    assert.equal(queue.bytes(), 8);
  });

  test("are let go of where another replica has all of the message, and nowhere else; the lane is behind", async () => {
    const { queue } = open();
    await laned(queue, "spare", ["b"]);
    await laned(queue, "only", ["b"], { isStored: false, database: "other" });
    queue.settle(queue.receive("b", bounds).map(({ id }) => ({ id, kind: "dead", error: "corrupt: x" })));
    await laned(queue, "waits", ["b"]);

    assert.deepEqual([queue.shedDead("b"), queue.shedDead("b")], [1, 0]);

    assert.deepEqual(
      queue.deadLetters().map(({ database }) => database),
      ["other"],
    );
    assert.deepEqual(
      queue.behind().map(({ lane, database }) => [lane, database]),
      [["b", "app"]],
    );
    assert.deepEqual({ ...queue.load("b") }, { messages: 1, bytes: 5, staged: 0, dead: 1 });
    assert.deepEqual(wordsIn(queue, "b"), ["waits"]);
  });

  test("come back however many there are", async () => {
    const { queue } = open();
    await Promise.all(
      Array.from({ length: 700 }, () =>
        queue.send("in", { database: "app", body: Buffer.from("x"), receivedAtMs: 0 }),
      ),
    );
    queue.settle(queue.receive("in", bounds).map(({ id }) => ({ id, kind: "dead", error: "corrupt: x" })));

    assert.equal(queue.replay("in"), 700);
    assert.equal(queue.load("in").messages, 700);
  });
});

test("a queue of the first version is opened: its messages are there, and none may be let go of", async (t) => {
  const path = await temporaryPath(t);
  const { queue } = open(path);
  await laned(queue, "one", ["b"]);
  await queue.close();
  const db = new DatabaseSync(path);
  db.exec("DROP INDEX delivery_spare; DROP INDEX delivery_database;");
  for (const column of ["elsewhere", "staged", "since"])
    db.exec(`ALTER TABLE delivery DROP COLUMN ${column}`);
  db.exec("PRAGMA user_version = 1");
  db.close();

  await using again = open(path).queue;

  assert.equal(shedAll(again, "b"), 0);
  assert.deepEqual(wordsIn(again, "b"), ["one"]);
});

type Step =
  | { readonly kind: "send" | "receive" | "expire"; readonly lane: number }
  | { readonly kind: "settle"; readonly outcome: number; readonly stored: readonly boolean[] }
  | { readonly kind: "shed" | "replay"; readonly lane: number };

const lanes = ["in", "a", "b", "c"] as const;
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("send" as const), lane: fc.constant(0) }) },
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant("receive" as const), lane: fc.integer({ min: 0, max: 3 }) }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant("settle" as const),
      outcome: fc.integer({ min: 0, max: 3 }),
      stored: fc.array(fc.boolean(), { minLength: 3, maxLength: 3 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constantFrom("shed" as const, "replay" as const),
      lane: fc.integer({ min: 1, max: 3 }),
    }),
  },
);

test("whatever lanes do, a message is stored by a replica or waits, and what is counted is what is there", async (t) => {
  const path = await temporaryPath(t);
  const property = fc.asyncProperty(fc.array(step, { maxLength: 120 }), async (steps) => {
    await rm(path, { force: true });
    for (const end of ["-wal", "-shm"]) await rm(path + end, { force: true });
    const { queue } = open(path);
    const storedBy = new Map<string, Set<string>>();
    const turns: { id: number; lane: string; word: string }[] = [];
    let sent = 0;
    for (const one of steps) {
      if (one.kind === "send") {
        const word = `message ${sent++}`;
        storedBy.set(word, new Set());
        await queue.send("in", {
          database: "app",
          body: Buffer.from(word),
          receivedAtMs: 0,
          stagedBytes: sent,
        });
      } else if (one.kind === "receive") {
        const lane = lanes[one.lane] ?? "in";
        for (const { id, body } of queue.receive(lane, { ...bounds, messagesMax: 3 })) {
          turns.push({ id, lane, word: Buffer.from(body).toString() });
        }
      } else if (one.kind === "settle") {
        const turn = turns.shift();
        if (turn === undefined) continue;
        queue.settle([settlementOf(turn, one.outcome, one.stored, storedBy)]);
      } else if (one.kind === "shed") {
        shedAll(queue, lanes[one.lane] ?? "a");
        queue.shedDead(lanes[one.lane] ?? "a");
      } else {
        queue.replay(lanes[one.lane] ?? "a");
      }
    }
    const counted = [lanes.map((lane) => ({ ...queue.load(lane) })), queue.bytes()];
    await queue.close();
    await using again = open(path).queue;

    assert.deepEqual(counted, [lanes.map((lane) => ({ ...again.load(lane) })), again.bytes()]);
    for (const lane of lanes) again.replay(lane);
    const kept = new Set(lanes.flatMap((lane) => wordsIn(again, lane)));
    for (const [word, stored] of storedBy) assert.ok(stored.size > 0 || kept.has(word), `${word} is gone`);
  });
  await fc.assert(property, { numRuns: 25 });
});

/** What a consumer would tell the queue: a turn in the first lane goes on to those replicas that did not store it. */
function settlementOf(
  { id, lane, word }: { readonly id: number; readonly lane: string; readonly word: string },
  outcome: number,
  stored: readonly boolean[],
  storedBy: ReadonlyMap<string, Set<string>>,
): Settlement {
  if (outcome === 0) return { id, kind: "retry", delayMs: 0, error: "unavailable: x" };
  if (lane === "in") {
    const replicas = lanes.slice(1);
    for (const [at, replica] of replicas.entries()) if (stored[at] === true) storedBy.get(word)?.add(replica);
    const onward = replicas.flatMap((one, at) =>
      stored[at] === true ? [] : [{ lane: one, dead: outcome === 1 }],
    );
    return { id, kind: "done", onward, isStored: stored.includes(true) };
  }
  if (outcome === 1) return { id, kind: "dead", error: "corrupt: x" };
  storedBy.get(word)?.add(lane);
  return { id, kind: "done", isStored: true };
}
