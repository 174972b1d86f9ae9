import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite, type TestContext, test } from "node:test";
import { type DurableQueue, openQueue } from "./queue.ts";

const bounds = { messagesMax: 10, bytesMax: 1_000_000, visibilityMs: 30_000 };

const text = (words: string): Uint8Array => new TextEncoder().encode(words);

const message = (words: string, more: object = {}) => ({
  database: "app",
  body: text(words),
  receivedAtMs: 1000,
  ...more,
});

const words = (deliveries: readonly { readonly body: Uint8Array }[]): string[] =>
  deliveries.map((delivery) => new TextDecoder().decode(delivery.body));

async function temporaryPath(t: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "pageferry-queue-"));
  t.after(() => rm(directory, { recursive: true, force: true }));
  return join(directory, "queue.db");
}

function openWithClock(
  path = ":memory:",
  bytesMax?: number,
): { queue: DurableQueue; clock: { now: number }; pass(ms: number): void } {
  const clock = { now: 1_000_000, seen: 0 };
  const more = bytesMax === undefined ? {} : { bytesMax };
  const queue = openQueue({ path, now: () => clock.now, monotonic: () => clock.seen, ...more });
  const pass = (ms: number) => {
    clock.now += ms;
    clock.seen += ms;
  };
  return { clock, queue, pass };
}

const dayMs = 86_400_000;

const notReplicas = () => false;

suite("the queue", () => {
  test("hands out messages in order, each to one taker", async () => {
    const { queue } = openWithClock();
    for (const word of ["one", "two", "three"]) await queue.send("in", message(word));

    const first = queue.receive("in", { ...bounds, messagesMax: 2 });
    const second = queue.receive("in", bounds);

    assert.deepEqual(words(first), ["one", "two"]);
    assert.deepEqual(words(second), ["three"]);
    assert.deepEqual(queue.receive("in", bounds), []);
    assert.deepEqual(
      { ...first[0], body: undefined },
      {
        id: 1,
        lane: "in",
        database: "app",
        body: undefined,
        receivedAtMs: 1000,
        receiveCount: 1,
      },
    );
  });

  test("hands a message out again when its visibility ends unsettled, and counts", async () => {
    const { queue, clock } = openWithClock();
    await queue.send("in", message("one"));
    queue.receive("in", bounds);

    clock.now += 29_999;
    assert.deepEqual(queue.receive("in", bounds), []);
    clock.now += 1;

    assert.equal(queue.receive("in", bounds)[0]?.receiveCount, 2);
  });

  test("keeps a message invisible for as long as its taker asks", async () => {
    const { queue, clock } = openWithClock();
    await queue.send("in", message("one"));
    const [delivery] = queue.receive("in", bounds);

    queue.extend([delivery?.id ?? 0], 90_000);

    clock.now += 60_000;
    assert.deepEqual(queue.receive("in", bounds), []);
    clock.now += 30_000;
    assert.equal(queue.receive("in", bounds).length, 1);
  });

  test("gives back at most the bytes asked for, but at least one message", async () => {
    const { queue } = openWithClock();
    for (const word of ["0123456789", "01234", "01234"]) await queue.send("in", message(word));

    assert.deepEqual(words(queue.receive("in", { ...bounds, bytesMax: 1 })), ["0123456789"]);
    assert.deepEqual(words(queue.receive("in", { ...bounds, bytesMax: 10 })), ["01234", "01234"]);
  });

  test("forgets what is done", async () => {
    const { queue, clock } = openWithClock();
    await queue.send("in", message("one"));
    const [delivery] = queue.receive("in", bounds);

    queue.settle([{ id: delivery?.id ?? 0, kind: "done" }]);

    clock.now += 1_000_000;
    assert.deepEqual(queue.receive("in", bounds), []);
    assert.equal(queue.bytes(), 0);
    assert.deepEqual(queue.depths(), []);
  });

  test("hands a retry out after its delay", async () => {
    const { queue, clock } = openWithClock();
    await queue.send("in", message("one"));
    const [delivery] = queue.receive("in", bounds);

    queue.settle([{ id: delivery?.id ?? 0, kind: "retry", delayMs: 5000, error: "unavailable: no answer" }]);

    clock.now += 4999;
    assert.deepEqual(queue.receive("in", bounds), []);
    clock.now += 1;
    assert.deepEqual(words(queue.receive("in", bounds)), ["one"]);
  });

  test("moves a message into lanes in the same step in which it is done, its body stored once", async () => {
    const { queue } = openWithClock();
    await queue.send("in", message("one"));
    const [delivery] = queue.receive("in", bounds);

    queue.settle([
      {
        id: delivery?.id ?? 0,
        kind: "done",
        onward: [{ lane: "a" }, { lane: "b", dead: true, error: "corrupt: x" }],
      },
    ]);

    assert.equal(queue.bytes(), 3);
    const [again] = queue.receive("a", bounds);
    assert.deepEqual(words([again ?? message("")]), ["one"]);
    queue.settle([{ id: again?.id ?? 0, kind: "done" }]);
    assert.equal(queue.bytes(), 0);
    queue.revive(queue.deadLetters().map((letter) => letter.id));
    assert.equal(queue.bytes(), 3);
    const [revived] = queue.receive("b", bounds);
    queue.settle([{ id: revived?.id ?? 0, kind: "done" }]);
    assert.equal(queue.bytes(), 0);
  });

  test("keeps dead letters apart, with why, and revives them", async () => {
    const { queue, clock } = openWithClock();
    await queue.send("in", message("bad"));
    await queue.send("in", message("good"));
    const [bad] = queue.receive("in", { ...bounds, messagesMax: 1 });

    queue.settle([{ id: bad?.id ?? 0, kind: "dead", error: "corrupt: checksum" }]);

    clock.now += 1_000_000;
    assert.deepEqual(words(queue.receive("in", bounds)), ["good"]);
    assert.deepEqual(
      queue.deadLetters().map((letter) => ({ ...letter })),
      [
        {
          id: bad?.id ?? 0,
          lane: "in",
          database: "app",
          size: 3,
          deadAtMs: 1_000_000,
          error: "corrupt: checksum",
        },
      ],
    );
    queue.revive([bad?.id ?? 0]);
    assert.equal(queue.receive("in", bounds)[0]?.receiveCount, 1);
  });

  test("hands out alone what was received three times without an answer", async () => {
    const { queue, clock } = openWithClock();
    for (const word of ["one", "two"]) await queue.send("in", message(word));
    for (let round = 0; round < 3; round++) {
      assert.equal(queue.receive("in", { ...bounds, messagesMax: 1 }).length, 1);
      clock.now += bounds.visibilityMs;
    }

    assert.deepEqual(words(queue.receive("in", bounds)), ["one"]);
    assert.deepEqual(words(queue.receive("in", bounds)), ["two"]);
  });

  test("hands out at once what the clock, set back by an hour, would hide for an hour", async () => {
    const { queue, clock } = openWithClock();
    await queue.send("in", message("one"));
    queue.settle([{ id: queue.receive("in", bounds)[0]?.id ?? 0, kind: "retry", delayMs: 5000 }]);

    clock.now -= 3_600_000;

    assert.equal(queue.receive("in", bounds).length, 1);
  });

  test("settles nothing twice", async () => {
    const { queue, clock } = openWithClock();
    await queue.send("in", message("one"));
    const [slow] = queue.receive("in", bounds);
    clock.now += bounds.visibilityMs;
    const [quick] = queue.receive("in", bounds);

    queue.settle([{ id: quick?.id ?? 0, kind: "done", onward: [{ lane: "a" }] }]);
    queue.settle([{ id: slow?.id ?? 0, kind: "done", onward: [{ lane: "a" }] }]);

    assert.equal(queue.receive("a", bounds).length, 1);
  });

  test("refuses more bytes than it may hold, and takes them when there is room", async () => {
    const { queue } = openWithClock(":memory:", 10);
    await queue.send("in", message("12345678"));

    await assert.rejects(queue.send("in", message("345")), { code: "unavailable" });
    const together = await Promise.allSettled([
      queue.send("in", message("9")),
      queue.send("in", message("01")),
    ]);

    assert.deepEqual(
      together.map((one) => one.status),
      ["fulfilled", "rejected"],
    );
    queue.settle(queue.receive("in", bounds).map(({ id }) => ({ id, kind: "done" }) as const));
    await queue.send("in", message("now there is"[0] ?? ""));
  });

  test("wakes who waits, by a send, by a lane, and when a delay ends", async () => {
    const { queue, clock } = openWithClock();
    const waiting = queue.wait("in", 60_000);
    await queue.send("in", message("one"));
    await waiting;

    const lane = queue.wait("a", 60_000);
    queue.settle([
      { id: queue.receive("in", bounds)[0]?.id ?? 0, kind: "done", onward: [{ lane: "a", delayMs: 20 }] },
    ]);
    await lane;
    await queue.wait("a", 60_000);
    clock.now += 20;

    assert.equal(queue.receive("a", bounds).length, 1);
    await queue.wait("a", 60_000, AbortSignal.abort());
  });

  test("says how much waits, how much is dead, and since when", async () => {
    const { queue } = openWithClock();
    await queue.send("in", message("one", { receivedAtMs: 500 }));
    await queue.send("in", message("three", { receivedAtMs: 600 }));
    await queue.send("in", message("x", { database: "other" }));
    queue.settle([{ id: 3, kind: "dead", error: "bad-name: x" }]);

    assert.deepEqual(
      queue.depths().map((depth) => ({ ...depth })),
      [
        { lane: "in", database: "app", messages: 2, bytes: 8, dead: 0, oldestMs: 500 },
        { lane: "in", database: "other", messages: 0, bytes: 0, dead: 1 },
      ],
    );
  });

  test("drops what is too old, and says how many messages had still waited", async () => {
    const { queue, pass } = openWithClock();
    await queue.send("in", message("old", { receivedAtMs: 1_000_000 }));
    await queue.send("in", message("dead", { receivedAtMs: 1_000_000 }));
    queue.settle([{ id: 2, kind: "dead", error: "bad-name: x" }]);
    pass(500);
    await queue.send("in", message("new", { receivedAtMs: 1_000_500 }));

    pass(600);
    assert.equal(queue.expire(1000, notReplicas), 1);
    assert.deepEqual(words(queue.receive("in", bounds)), ["new"]);
    assert.equal(queue.deadLetters().length, 0);
    pass(1000);
    assert.equal(queue.expire(1000, notReplicas), 1);
    assert.equal(queue.bytes(), 0);
    assert.deepEqual(queue.depths(), []);
  });

  test("drops nothing because a clock was set forward, nor because one was set back", async () => {
    const { queue, clock, pass } = openWithClock();
    await queue.send("in", message("one", { receivedAtMs: clock.now }));
    await queue.send("in", message("dead", { receivedAtMs: clock.now }));
    queue.settle([{ id: 2, kind: "dead", error: "bad-name: x" }]);

    clock.now += 30 * dayMs;
    assert.equal(queue.expire(14 * dayMs, notReplicas), 0);
    pass(13 * dayMs);
    assert.equal(queue.expire(14 * dayMs, notReplicas), 0);
    assert.deepEqual([queue.load("in").messages, queue.deadLetters().length], [1, 1]);
    clock.now -= 60 * dayMs;
    pass(2 * dayMs);
    assert.equal(queue.expire(14 * dayMs, notReplicas), 0);
    clock.now += 60 * dayMs;

    assert.equal(queue.expire(14 * dayMs, notReplicas), 1);
    assert.equal(queue.deadLetters().length, 0);
  });

  test("knows which staged bodies a message still points at", async () => {
    const { queue } = openWithClock();
    await queue.send("in", message("one", { digests: ["aa", "bb"] }));
    await queue.send("in", message("two", { digests: ["bb"] }));

    assert.deepEqual(queue.unreferenced(["aa", "bb", "cc"]), ["cc"]);
    queue.settle([{ id: 1, kind: "done" }]);
    assert.deepEqual(queue.unreferenced(["aa", "bb", "cc"]), ["aa", "cc"]);
  });

  test("keeps small notes, by prefix", () => {
    const { queue } = openWithClock();
    queue.setNote("database/app", "1");
    queue.setNote("database/app", "2");
    queue.setNote("other", "x");

    assert.deepEqual([...queue.notes("database/")], [["database/app", "2"]]);
  });
});

suite("the queue's file", () => {
  test("is for its owner's eyes, and for one process", async (t) => {
    const path = await temporaryPath(t);
    await using _ = openWithClock(path).queue;

    for (const suffix of ["", "-wal"]) assert.equal((await stat(path + suffix)).mode & 0o777, 0o600);
    assert.throws(() => openWithClock(path), { code: "locked" });
  });

  test("holds everything that was sent, and hands out at once what a killed process had taken", async (t) => {
    const path = await temporaryPath(t);
    const first = openWithClock(path).queue;
    for (const word of ["one", "two", "three"]) await first.send("in", message(word));
    first.receive("in", { ...bounds, messagesMax: 2 });
    await first.close();
    await first.close();

    await using again = openWithClock(path).queue;

    assert.deepEqual(words(again.receive("in", bounds)), ["one", "two", "three"]);
    assert.equal(again.bytes(), 11);
  });

  test("that is no queue is refused as corrupt, and one in no directory is not-found", async (t) => {
    const path = await temporaryPath(t);
    const { writeFile } = await import("node:fs/promises");
    await writeFile(path, "this is not a database, but long enough to be looked at as one ".repeat(20));

    assert.throws(() => openWithClock(path), { code: "corrupt" });
    assert.throws(() => openWithClock("/none/at/all/queue.db"), { code: "not-found" });
  });

  test("refuses calls once it is closed", async (t) => {
    const { queue } = openWithClock(await temporaryPath(t));
    await queue.close();

    await assert.rejects(async () => queue.send("in", message("x")), { code: "unavailable" });
    assert.throws(() => queue.receive("in", bounds), { code: "unavailable" });
  });
});

const sender = `
  import { openQueue } from ${JSON.stringify(new URL("./queue.ts", import.meta.url).href)};
  const queue = openQueue({ path: process.argv[1], now: Date.now });
  const taken = setInterval(() => {
    const ids = queue.receive("in", { messagesMax: 3, bytesMax: 1e6, visibilityMs: 30_000 }).map(({ id }) => id);
    queue.settle(ids.map((id) => ({ id, kind: "done", onward: [{ lane: "kept" }] })));
  }, 3);
  for (let index = Number(process.argv[2]); ; index++) {
    await Promise.all([0, 1, 2].map(async (part) => {
      const word = index + "." + part + ".";
      await queue.send("in", { database: "app", body: Buffer.from(word.padEnd(3000, "x")), receivedAtMs: 0 });
      process.stdout.write(word + "\\n");
    }));
  }
`;

test("every message that was acknowledged survives SIGKILL at any moment, wherever it had got to", async (t) => {
  const path = await temporaryPath(t);
  const acknowledged = new Set<string>();
  for (let round = 0; round < 8; round++) {
    const child = spawn(
      process.execPath,
      [
        ...process.execArgv.filter((flag) => !flag.startsWith("--test")),
        "--input-type=module-typescript",
        "-e",
        sender,
        path,
        `${round * 100_000}`,
      ],
      { stdio: ["ignore", "pipe", "inherit"] },
    );
    let out = "";
    child.stdout.setEncoding("utf8").on("data", (chunk) => {
      if (out === "") setTimeout(() => child.kill("SIGKILL"), 20 + Math.random() * 150);
      out += chunk;
    });
    await new Promise((resolve) => child.once("close", resolve));
    for (const line of out.split("\n").slice(0, -1)) acknowledged.add(line);
  }

  await using queue = openWithClock(path).queue;
  const found = new Set<string>();
  for (const lane of ["in", "kept"]) {
    for (let some = queue.receive(lane, bounds); some.length > 0; some = queue.receive(lane, bounds)) {
      for (const word of words(some)) found.add(word.replace(/x+$/, ""));
    }
  }

  assert.ok(acknowledged.size > 100, `${acknowledged.size} were acknowledged`);
  assert.deepEqual(
    [...acknowledged].filter((word) => !found.has(word)),
    [],
  );
});
