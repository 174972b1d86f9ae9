import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { generationNamed, goController } from "../../testing/go-controller.ts";
import { type FollowedShadow, shadowBench } from "../../testing/shadow-bench.ts";
import { recordedHistory, withOtherData } from "./simulated-file.ts";

const history = await recordedHistory("replica", "0862e0be1cb6d5ca");
const unlisted = await recordedHistory("replica-nofreelist", "78f6c0c032c4d12e");
const [first, second, third] = [1, 2, 3].map(generationNamed) as [string, string, string];

/** Long enough for a source to have taken what it should not. */
const anyTimeMs = 400;

suite("a shadow directory as a source", { concurrency: 8 }, () => {
  for (const [name, recorded] of Object.entries({
    "with a freelist": history,
    "without a freelist": unlisted,
  })) {
    test(`gives every transaction of a database ${name} by itself, and each is what it was`, async (context) => {
      const bench = shadowBench(context, recorded);
      const go = goController(recorded, bench.shadow);
      const last = recorded.commits.at(-1)?.txId ?? assert.fail();
      go.writeSnapshot(first, 2);
      go.write(first, 3, last - 30);
      const followed = bench.start();
      await followed.reach(last - 30);

      go.write(first, last - 29, last);
      await followed.reach(last);
      await followed.stop();

      assert.deepEqual(followed.begins(), ["first/snapshot"]);
      const { singles, ranges } = followed.consumer.counts;
      assert.deepEqual([singles, ranges], [last - 2, 0]);
      assert.deepEqual(followed.alarms(), []);
      assert.equal(
        readdirSync(join(bench.shadow, first, "segments")).length,
        last - 2,
        "nothing was said to be stored",
      );
    });
  }

  test("stamps transactions with the time they were committed at", async (context) => {
    const bench = shadowBench(context, history);
    const beganMs = Date.parse("2026-03-01T10:00:00Z");
    const go = goController(history, bench.shadow, { beganMs });
    go.writeSnapshot(first, 2);
    go.write(first, 3, 20);
    const followed = bench.start();

    await followed.reach(20);

    const stamps = followed.events.flatMap((event) => (event.type === "delta" ? [event.stampMs] : []));
    assert.deepEqual(
      stamps,
      Array.from({ length: 18 }, (_, index) => beganMs + (index + 3) * 1000 + 500),
    );
  });

  test("waits for the directory and for a snapshot, and says so", async (context) => {
    const bench = shadowBench(context, history);
    const go = goController(history, bench.shadow);
    const followed = bench.start();
    await followed.until("an alarm", () => followed.alarms().includes("unreadable"));

    go.write(first, 3, 9);
    await followed.until("an alarm", () => followed.alarms().includes("not-found"));
    go.writeSnapshot(first, 2);

    await followed.reach(9);
    assertNoAlarms(followed);
  });
});

/** What was told is over. */
function assertNoAlarms({ events }: FollowedShadow): void {
  const standing = new Set<string>();
  for (const event of events) {
    if (event.type === "alarm") standing.add(event.code);
    if (event.type === "cleared") standing.delete(event.code);
  }
  assert.deepEqual([...standing], []);
}

/** A source that is at a transaction, with its directory. */
async function at(context: Parameters<typeof shadowBench>[0], id: number) {
  const bench = shadowBench(context, history);
  const go = goController(history, bench.shadow);
  go.writeSnapshot(first, 2);
  go.write(first, 3, id);
  const followed = bench.start();
  await followed.reach(id);
  return { bench, go, followed };
}

const atNine = (context: Parameters<typeof shadowBench>[0]) => at(context, 9);

/** The same database where transaction 44 was lost with the power and made again with other data: metas and sizes are the same. */
const remade = withOtherData(history, 44);

suite("a segment file", { concurrency: 8 }, () => {
  test("counts when it is whole, however often it is written in between", async (context) => {
    const { go, followed } = await atNine(context);
    const bytes = go.segment(10);
    const path = go.segmentPath(first, 10);
    for (const share of [0, 0.1, 0.5, 0.99]) {
      writeFileSync(path, bytes.subarray(0, Math.floor(bytes.length * share)));
      await sleep(anyTimeMs / 4);
    }
    const torn = Uint8Array.from(bytes);
    torn[bytes.length >> 1] = (torn[bytes.length >> 1] as number) ^ 1;
    writeFileSync(path, torn);
    await sleep(anyTimeMs);
    assert.equal(followed.consumer.txId(), 9);

    writeFileSync(path, bytes);

    await followed.reach(10);
  });

  const foreign: Record<string, (path: string, go: ReturnType<typeof goController>) => void> = {
    "of another transaction": (path, go) => writeFileSync(path, go.segment(11)),
    "of anything else": (path) => writeFileSync(path, "this is not a segment"),
    "beyond all bounds": (path) => {
      writeFileSync(path, "");
      truncateSync(path, 2 ** 33);
    },
    "that is a directory": (path) => mkdirSync(path),
    "that is a link to a whole one": (path, go) => {
      writeFileSync(`${path}.elsewhere`, go.segment(10));
      symlinkSync(`${path}.elsewhere`, path);
    },
    "that is a pipe nobody writes to": (path) => void execFileSync("sh", ["-c", 'mkfifo "$0"', path]),
  };
  for (const [what, put] of Object.entries(foreign)) {
    test(`${what} is passed over, and the right one is taken`, async (context) => {
      const { go, followed } = await atNine(context);
      const path = go.segmentPath(first, 10);
      put(path, go);
      go.write(first, 11, 12);
      await sleep(anyTimeMs);
      assert.equal(followed.consumer.txId(), 9);

      rmSync(path, { recursive: true });
      go.write(first, 10);

      await followed.reach(12);
    });
  }

  test("of another database with the right number is not applied", async (context) => {
    const { go, followed } = await atNine(context);
    writeFileSync(go.segmentPath(first, 10), goController(unlisted, "").segment(10));
    await sleep(anyTimeMs);
    assert.equal(followed.consumer.txId(), 9);

    go.write(first, 10);

    await followed.reach(10);
  });

  test("that vanishes before it was read is missed, until a snapshot closes the gap in the same history", async (context) => {
    const { go, followed } = await atNine(context);
    go.write(first, 11, 40);
    await sleep(anyTimeMs);
    assert.equal(followed.consumer.txId(), 9);

    go.writeSnapshot(first, 30);

    await followed.reach(40);
    assert.deepEqual(followed.begins(), ["first/snapshot"]);
    assert.equal(followed.consumer.counts.ranges, 1, "one range over what is missing");
  });

  test("that comes late is taken, and what is behind it follows", async (context) => {
    const { go, followed } = await atNine(context);
    go.write(first, 12, 20);
    go.write(first, 11);
    await sleep(anyTimeMs);

    go.write(first, 10);

    await followed.reach(20);
    assert.equal(followed.consumer.counts.ranges, 0);
  });

  test("beside files that nobody knows is taken", async (context) => {
    const { bench, go, followed } = await atNine(context);
    for (const name of ["notes.txt", "0000000000000007/segments", "zz", `${first}/segments/a.tmp`]) {
      const path = join(bench.shadow, name);
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, "x");
    }

    go.write(first, 10, 12);

    await followed.reach(12);
  });
});

suite("forked generations", { concurrency: 8 }, () => {
  test("of a controller that forks one for each transaction, or writes each twice, are one history", async (context) => {
    const bench = shadowBench(context, history);
    const go = goController(history, bench.shadow);
    go.writeSnapshot(first, 2);
    for (let id = 3; id <= 60; id += 1) {
      go.write(generationNamed(100 + id), id);
      go.write(generationNamed(99 + id), id);
    }
    const followed = bench.start();

    await followed.reach(60);

    assert.deepEqual(followed.begins(), ["first/snapshot"]);
    assert.equal(followed.consumer.counts.singles, 58);
  });

  test("are given two seconds for the snapshot that would tell a new process", async (context) => {
    const { go, followed } = await atNine(context);
    go.write(second, 10);
    const nowS = Date.now() / 1000;
    utimesSync(go.segmentPath(second, 10), nowS, nowS);
    await sleep(1000);
    assert.equal(followed.consumer.txId(), 9);

    await followed.reach(10);
    assert.deepEqual(followed.begins(), ["first/snapshot"]);
  });

  test("of an application that was started again are one history where the snapshot agrees", async (context) => {
    const { go, followed } = await atNine(context);
    go.write(second, 10);
    go.writeSnapshot(second, 10);
    go.write(second, 11, 20);

    await followed.reach(20);

    assert.deepEqual(followed.begins(), ["first/snapshot"]);
    assert.equal(followed.consumer.counts.singles, 18);
  });

  test("are two where the snapshot does not: its pages fit, but what they refer to is another past", async (context) => {
    const { bench, go, followed } = await at(context, 60);
    const again = goController(remade, bench.shadow);
    again.write(second, 61);
    again.writeSnapshot(second, 61);
    again.write(second, 62, 80);
    followed.consumer.adopt(remade);

    await followed.reach(80);

    assert.deepEqual(followed.begins(), ["first/snapshot", "unprovable/bridge"]);
    assert.ok(existsSync(go.segmentPath(first, 60)));
  });

  test("are two where transactions are missing between two processes", async (context) => {
    const { go, followed } = await atNine(context);
    go.write(second, 15);
    go.writeSnapshot(second, 15);
    go.write(second, 16, 20);

    await followed.reach(20);

    assert.deepEqual(followed.begins(), ["first/snapshot", "unprovable/bridge"]);
  });

  test("are two where the transactions go back", async (context) => {
    const { bench, followed } = await at(context, 60);
    const again = goController(remade, bench.shadow, { beganMs: Date.now() - 600_000 });
    again.write(second, 44);
    again.writeSnapshot(second, 44);
    // Also what follows our 60, to the letter.
    again.write(second, 45, 80);
    followed.consumer.adopt(remade);

    await followed.reach(80);

    assert.deepEqual(followed.begins(), ["first/snapshot", "replaced/snapshot"]);
  });

  test("that were left do not come back into the one that is followed", async (context) => {
    const { bench, go, followed } = await at(context, 60);
    const again = goController(remade, bench.shadow, { beganMs: Date.now() - 600_000 });
    again.writeSnapshot(second, 44);
    again.write(second, 45, 61);
    followed.consumer.adopt(remade);
    await followed.reach(61);
    // The old process was not dead: it fits nowhere any more.
    go.write(first, 61, 70);
    await sleep(anyTimeMs);
    assert.equal(followed.consumer.txId(), 61);

    again.write(third, 62, 66);

    await followed.reach(66);
    assert.equal(followed.begins().length, 2);
  });

  test("whose next transaction is two things, and no snapshot tells, are waited for", async (context) => {
    const { bench, go, followed } = await atNine(context);
    const now = { beganMs: Date.now() - 10_000 };
    goController(history, bench.shadow, now).write(second, 10);
    goController(withOtherData(history, 10), bench.shadow, now).write(third, 10);
    await sleep(3000);
    assert.equal(followed.consumer.txId(), 9);

    go.writeSnapshot(second, 10);

    await followed.reach(10);
    assert.deepEqual(followed.begins(), ["first/snapshot"]);
  });
});

suite("a restart", { concurrency: 8 }, () => {
  test("goes on from a checkpoint that is behind the mirror, in the same history", async (context) => {
    const { bench, go, followed } = await atNine(context);
    const reference = await followed.checkpoint();
    go.write(first, 10, 40);
    await followed.reach(40);
    followed.source.stop({ deadlineMs: 0 });

    const again = bench.start({ reference });
    go.write(first, 41, 50);
    await again.reach(50);

    assert.deepEqual(again.begins(), ["continue/continue"]);
  });

  test("at every transaction goes on with the same history", async (context) => {
    const bench = shadowBench(context, history);
    const go = goController(history, bench.shadow);
    go.writeSnapshot(first, 2);
    let followed = bench.start();
    await followed.reach(2);
    const begins: string[] = [];
    for (let id = 3; id <= 12; id += 1) {
      // Also in another generation each time.
      go.write(generationNamed(id), id);
      await followed.reach(id);
      const reference = await followed.checkpoint();
      await followed.stop();
      begins.push(...followed.begins());
      followed = bench.start({ reference });
      await followed.until("a begin", () => followed.begins().length > 0);
    }
    assert.deepEqual(new Set(begins.slice(1)), new Set(["continue/continue"]));
  });

  const damages: Record<string, (mirrorDir: string) => void> = {
    "whose mirror is gone": (mirrorDir) => rmSync(mirrorOf(mirrorDir)),
    "whose own directory is gone": (mirrorDir) => rmSync(mirrorDir, { recursive: true }),
    "after a reboot, with a mirror that is whole": (mirrorDir) => bootAnew(mirrorDir),
    "after a reboot, with a mirror that is torn": (mirrorDir) => {
      bootAnew(mirrorDir);
      truncateSync(mirrorOf(mirrorDir), 5 * 4096);
    },
    "with a mirror of before": (mirrorDir) => {
      renameSync(join(mirrorDir, "old.db"), mirrorOf(mirrorDir));
    },
    "whose memory is rubbish": (mirrorDir) => writeFileSync(join(mirrorDir, "histories.json"), "{"),
  };
  for (const [what, damage] of Object.entries(damages)) {
    test(`${what} makes it again, and goes on with the same history`, async (context) => {
      const { bench, go, followed } = await atNine(context);
      writeFileSync(join(bench.mirrorDir, "old.db"), readFileSync(mirrorOf(bench.mirrorDir)));
      go.write(second, 10, 20);
      await followed.reach(20);
      const reference = await followed.checkpoint();
      await followed.stop();
      damage(bench.mirrorDir);
      go.write(second, 21, 30);

      const again = bench.start({ reference });

      await again.reach(30);
      assert.deepEqual(again.begins(), ["continue/continue"]);
      assert.equal(again.consumer.counts.ranges, 0);
    });
  }

  test("after a power loss that took segments with it goes on from the next snapshot, as another history", async (context) => {
    const { bench, go, followed } = await atNine(context);
    const reference = await followed.checkpoint();
    await followed.stop();
    bootAnew(bench.mirrorDir);
    truncateSync(mirrorOf(bench.mirrorDir), 4096);
    for (const id of [7, 8, 9]) writeFileSync(go.segmentPath(first, id), "");
    const again = bench.start({ reference });
    await sleep(anyTimeMs);
    assert.deepEqual(again.begins(), []);

    go.write(second, 10);
    go.writeSnapshot(second, 10);
    go.write(second, 11, 12);

    await again.reach(12);
    assert.deepEqual(again.begins(), ["unprovable/bridge"]);
  });
});

/** The mirror's file. */
function mirrorOf(mirrorDir: string): string {
  const name = readdirSync(mirrorDir).find((one) => /^mirror-\d+\.db$/.test(one)) ?? assert.fail("no mirror");
  return join(mirrorDir, name);
}

function bootAnew(mirrorDir: string): void {
  const path = join(mirrorDir, "histories.json");
  writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, "utf8")), bootId: "another" }));
}

suite("while it runs", { concurrency: 8 }, () => {
  test("a mirror that somebody removes is made again", async (context) => {
    const { bench, go, followed } = await atNine(context);
    rmSync(bench.mirrorDir, { recursive: true });
    await followed.until("a mirror", () => existsSync(bench.mirrorDir));

    go.write(first, 10, 12);

    await followed.reach(12);
    assert.deepEqual(followed.begins(), ["first/snapshot"]);
    assertNoAlarms(followed);
  });

  test("a directory that is deleted and made again goes on where its snapshot says so", async (context) => {
    const { bench, go, followed } = await atNine(context);
    rmSync(bench.shadow, { recursive: true });
    await followed.until("an alarm", () => followed.alarms().includes("unreadable"));

    go.write(second, 10);
    go.writeSnapshot(second, 10);
    go.write(second, 11, 12);

    await followed.reach(12);
    assert.deepEqual(followed.begins(), ["first/snapshot"]);
    assertNoAlarms(followed);
  });
});
