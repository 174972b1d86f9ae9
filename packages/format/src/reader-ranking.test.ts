import assert from "node:assert/strict";
import { suite, test } from "node:test";
import fc from "fast-check";
import { openArchive } from "./archive-open.ts";
import { type ArchiveReader, readObject } from "./archive-reader.ts";
import { PageferryError } from "./errors.ts";
import { createReaderRanking, type ReaderRanking } from "./reader-ranking.ts";
import { afterRead, expectedMs, type ReaderSpeed } from "./reader-speed.ts";

/** A reader that takes its time on a clock of the test's own. */
function readerOf(
  name: string,
  clock: { ms: number },
  latencyMs: number,
  more: Partial<ArchiveReader> = {},
): ArchiveReader {
  return {
    name,
    async *list() {
      yield { name: "object", size: 10 };
    },
    async get() {
      clock.ms += latencyMs;
      return (async function* () {
        yield new Uint8Array(10);
      })();
    },
    ...more,
  };
}

const silent = { get: () => new Promise<never>(() => undefined) };
const names = (readers: readonly ArchiveReader[]): string[] => readers.map(({ name }) => name);

async function read(ranking: ReaderRanking): Promise<string> {
  for (const reader of ranking.order(10)) {
    try {
      await readObject(reader, "object", { bytesMax: 100 });
      return reader.name;
    } catch (error) {
      ranking.failed(reader, error);
    }
  }
  return "nobody";
}

suite("the speed of a reader", () => {
  test("follows what it shows, and one slow read is no verdict", () => {
    let speed: ReaderSpeed | undefined;
    for (let at = 0; at < 10; at += 1) speed = afterRead(speed, { latencyMs: 10, transferMs: 0, bytes: 100 });
    const slow = afterRead(speed, { latencyMs: 1000, transferMs: 0, bytes: 100 });

    assert.equal(Math.round(speed?.latencyMs ?? 0), 10);
    assert.ok(slow.latencyMs > 10 && slow.latencyMs < 500);
  });

  test("tells of throughput only by reads that are large enough", () => {
    const small = afterRead(undefined, { latencyMs: 1, transferMs: 0, bytes: 1000 });
    const large = afterRead(small, { latencyMs: 1, transferMs: 1000, bytes: 1_000_000 });

    assert.equal(small.bytesPerMs, undefined);
    assert.equal(large.bytesPerMs, 1000);
  });

  test("makes more bytes never quicker than fewer, and stays between what was seen", () => {
    const sample = fc.record({
      latencyMs: fc.nat(10_000),
      transferMs: fc.nat(10_000),
      bytes: fc.nat(10_000_000),
    });
    fc.assert(
      fc.property(fc.array(sample, { minLength: 1 }), fc.nat(1e9), fc.nat(1e9), (samples, a, b) => {
        let speed: ReaderSpeed | undefined;
        for (const one of samples) speed = afterRead(speed, one);
        const seen = samples.map(({ latencyMs }) => latencyMs);
        const { latencyMs } = speed as ReaderSpeed;

        assert.ok(latencyMs >= Math.min(...seen) - 1e-6 && latencyMs <= Math.max(...seen) + 1e-6);
        assert.ok(
          expectedMs(speed as ReaderSpeed, Math.min(a, b)) <=
            expectedMs(speed as ReaderSpeed, Math.max(a, b)),
        );
      }),
    );
  });
});

suite("the ranking of readers", () => {
  test("tries each once, and then asks the fastest", async () => {
    const clock = { ms: 0 };
    const readers = [
      readerOf("slow", clock, 200),
      readerOf("fast", clock, 20),
      readerOf("slower", clock, 300),
    ];
    const ranking = createReaderRanking(readers, { now: () => clock.ms });

    const asked: string[] = [];
    for (let at = 0; at < 8; at += 1) asked.push(await read(ranking));

    assert.deepEqual(asked.slice(0, 3).toSorted(), ["fast", "slow", "slower"]);
    assert.deepEqual(new Set(asked.slice(3)), new Set(["fast"]));
  });

  test("does not try a remote one while a local file is at hand", () => {
    const clock = { ms: 0 };
    const local = readerOf("local", clock, 0, { pathOf: (name) => `/archive/${name}` });
    const ranking = createReaderRanking([readerOf("remote", clock, 1), local]);

    assert.deepEqual(names(ranking.order(10_000)), ["local", "remote"]);
  });

  test("asks those that listed an object before those that did not, and a last resort after them", () => {
    const clock = { ms: 0 };
    const readers = [
      readerOf("resort", clock, 1, { isLastResort: true }),
      readerOf("without", clock, 1),
      readerOf("holder", clock, 1),
    ];
    const ranking = createReaderRanking(readers);

    assert.deepEqual(names(ranking.order(10, ["resort", "holder"])), ["holder", "resort", "without"]);
  });

  test("asks one that failed last, until some time has passed", async () => {
    const clock = { ms: 0 };
    const readers = [readerOf("one", clock, 1), readerOf("two", clock, 100)];
    const ranking = createReaderRanking(readers, { now: () => clock.ms });
    await read(ranking);
    await read(ranking);

    ranking.failed(readers[0] as ArchiveReader, new PageferryError("unavailable", "gone"));
    const during = names(ranking.order(10));
    clock.ms += 60_000;

    assert.deepEqual(during, ["two", "one"]);
    assert.deepEqual(names(ranking.order(10)), ["one", "two"]);
  });

  test("holds a broken object against nobody", () => {
    const readers = [readerOf("one", { ms: 0 }, 1), readerOf("two", { ms: 0 }, 1)];
    const ranking = createReaderRanking(readers);

    ranking.failed(readers[0] as ArchiveReader, new PageferryError("corrupt", "broken"));

    assert.deepEqual(names(ranking.order(10)), ["one", "two"]);
    assert.equal(ranking.areDown(["one"]), false);
  });

  test("waits for a silent one once, however many objects there are", async () => {
    const readers = [readerOf("frozen", { ms: 0 }, 1, silent), readerOf("alive", { ms: 0 }, 1)];
    const ranking = createReaderRanking(readers, { stallMs: 100 });
    const begun = performance.now();

    const asked: string[] = [];
    for (let at = 0; at < 20; at += 1) asked.push(await read(ranking));

    assert.deepEqual(new Set(asked), new Set(["alive"]));
    assert.ok(performance.now() - begun < 1000, "it was waited for more than once");
    assert.equal(ranking.areDown(["frozen"]), true);
  });

  test("gives up one that falls silent in the middle of an object", async () => {
    const stuck: Partial<ArchiveReader> = {
      async get() {
        return (async function* () {
          yield new Uint8Array(5);
          await new Promise(() => undefined);
        })();
      },
    };
    const ranking = createReaderRanking(
      [readerOf("stuck", { ms: 0 }, 1, stuck), readerOf("alive", { ms: 0 }, 1)],
      { stallMs: 100 },
    );

    assert.equal(await read(ranking), "alive");
  });

  test("gives nobody up who is alone", async () => {
    const late: Partial<ArchiveReader> = {
      async get() {
        await new Promise((resolve) => setTimeout(resolve, 150));
        return (async function* () {
          yield new Uint8Array(1);
        })();
      },
    };
    const ranking = createReaderRanking([readerOf("late", { ms: 0 }, 1, late)], { stallMs: 40 });

    assert.equal(await read(ranking), "late");
  });
});

suite("an archive of several readers", () => {
  const broken: Partial<ArchiveReader> = {
    async *list() {
      yield* [];
      throw new PageferryError("unavailable", "no answer");
    },
  };
  const frozen: Partial<ArchiveReader> = {
    async *list() {
      yield { name: "object", size: 10 };
      await new Promise(() => undefined);
    },
  };

  test("leaves out one that cannot be listed, and one that falls silent, and says so", async () => {
    const clock = { ms: 0 };
    const readers = [
      readerOf("dead", clock, 1, broken),
      readerOf("frozen", clock, 1, frozen),
      readerOf("alive", clock, 1),
    ];

    const archive = await openArchive(readers, { stallMs: 100 });

    assert.deepEqual(names(archive.readers), ["alive"]);
    assert.deepEqual(archive.holders("object"), ["alive"]);
    assert.equal(archive.warnings.length, 2);
    assert.match(archive.warnings.join("\n"), /dead cannot be listed.*\n.*frozen cannot be listed/);
  });

  test("fails with the first one's error when none can be listed", async () => {
    const readers = ["one", "two"].map((name) => readerOf(name, { ms: 0 }, 1, broken));

    await assert.rejects(openArchive(readers), { code: "unavailable", message: "no answer" });
  });
});
