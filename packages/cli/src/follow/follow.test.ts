import assert from "node:assert/strict";
import { mkdir, mkdtemp, open, readdir, readFile, rename, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, suite, test } from "node:test";
import { formatGenerationJson, parseGeneration, type StandbyState } from "@pageferry/format";
import { type History, makeHistory, pageSize, type StoredObject } from "../../../format/testing/history.ts";
import { capturedIo } from "../../testing/captured-io.ts";
import { until } from "../../testing/commands.ts";
import { openReplicaSource } from "../replica-source.ts";
import { follow } from "./follow.ts";
import type { Published, Report } from "./report.ts";
import { followDirectory, openStandby } from "./standby.ts";

const first = parseGeneration("00000000000000a1");
const second = parseGeneration("00000000000000a2");
const writes = [[0], [1, 2], [], [3, 0], [5, 8], [5, 4], [1, 7], [2, 3]];
const history = makeHistory(first, 9, writes);
const other = makeHistory(second, 12, [[4], [5], [6], [7]]);

suite("a standby", () => {
  let directory: string;
  let root: string;
  let path: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "pageferry-follow-"));
    root = join(directory, "replica");
    path = join(directory, "standby.db");
    await put(await history.snapshot(2), history.segment(2, 3), history.segment(3, 4));
  });
  afterEach(() => rm(directory, { recursive: true }));

  const put = async (...objects: readonly StoredObject[]): Promise<void> => {
    for (const { name, bytes } of objects) {
      await mkdir(dirname(join(root, name)), { recursive: true });
      // Whole or not there, as in a replica.
      await writeFile(join(directory, "part"), bytes);
      await rename(join(directory, "part"), join(root, name));
    }
  };
  const remove = (...objects: readonly StoredObject[]) =>
    Promise.all(objects.map(({ name }) => rm(join(root, name))));
  const begin = (generation: typeof first, epoch: number) =>
    put({
      name: `${generation}/generation.json`,
      bytes: formatGenerationJson({
        ...{
          version: 1,
          generation,
          parent: null,
          reason: "replaced",
          epoch,
          host: "h",
          pageSize,
          receivedAtMs: 1,
        },
      }),
    });
  const assertIs = async (of: History, id: number) =>
    assert.ok(Buffer.from(of.image(id)).equals(await readFile(path)), `it is transaction ${id}`);

  /** Follows until the end of the scope. */
  async function following(
    options: { readonly force?: boolean; readonly beforePlan?: () => Promise<void> } = {},
  ) {
    const controller = new AbortController();
    const standby = await openStandby(path, { ...options, signal: controller.signal });
    const published: Published[] = [];
    const waiting: unknown[] = [];
    const report: Report = {
      begun() {},
      published: (one) => void published.push(one),
      waiting: (error: unknown, _state: StandbyState | undefined) => void waiting.push(error),
      warn() {},
      upToDate() {},
    };
    const ended = follow({
      ...{ standby, report, intervalMs: 10, target: {}, io: { signal: controller.signal } },
      async open() {
        const source = await openReplicaSource([root], capturedIo(), undefined);
        return {
          ...source,
          async plan(...asked) {
            await options.beforePlan?.();
            return source.plan(...asked);
          },
        };
      },
      judge: async () => {},
      parallelism: undefined,
      integrity: undefined,
    }).finally(() => standby[Symbol.asyncDispose]());
    ended.catch(() => {});
    return {
      published,
      waiting,
      ended,
      isAt: (id: number) =>
        until(`it is at ${id}`, () => published.at(-1)?.result.txId === BigInt(id) || undefined),
      async [Symbol.asyncDispose]() {
        controller.abort("SIGTERM");
        await ended.catch(() => {});
      },
    };
  }

  test("is restored, and then takes what is new and nothing else", async () => {
    await using run = await following();
    await run.isAt(4);
    await assertIs(history, 4);
    const segment = history.segment(4, 5);
    await put(segment);
    await run.isAt(5);
    await put(history.pack([5, 6, 7]));
    await run.isAt(7);

    await assertIs(history, 7);
    assert.deepEqual(
      run.published.map(({ how, result }) => [how, result.objects]),
      [
        ["whole", 3],
        ["delta", 1],
        ["delta", 1],
      ],
    );
    assert.equal(run.published[1]?.result.fetchedBytes, segment.bytes.length);
    assert.equal(run.published[2]?.result.stateHash, history.stateHash(7));
    assert.deepEqual((await readdir(followDirectory(path))).sort(), [
      "agent.sock",
      "lock.guard",
      "state.json",
    ]);
  });

  test("leaves who has an older state open with that state", async () => {
    await using run = await following();
    await run.isAt(4);
    await using reader = await open(path);
    await put(history.segment(4, 8));
    await run.isAt(8);

    const bytes = Buffer.alloc(history.image(4).length);
    await reader.read(bytes, 0, bytes.length, 0);
    assert.ok(bytes.equals(history.image(4)));
  });

  test("goes on from where it was, also when it ended between publishing and noting that", async () => {
    {
      await using run = await following();
      await run.isAt(4);
    }
    const noted = await readFile(join(followDirectory(path), "state.json"));
    {
      await put(history.segment(4, 5));
      await using run = await following();
      await run.isAt(5);
      assert.equal(run.published[0]?.how, "delta");
    }
    // Back to the moment at which the note said both.
    const [state] = JSON.parse(noted.toString()).states;
    const note = JSON.parse(await readFile(join(followDirectory(path), "state.json"), "utf8"));
    note.states = [...note.states, state];
    await writeFile(join(followDirectory(path), "state.json"), JSON.stringify(note));
    await writeFile(join(followDirectory(path), ".pageferry-1-0123456789ab.tmp"), "rubbish");
    await put(history.segment(5, 6));
    await using run = await following();
    await run.isAt(6);
    assert.equal(run.published[0]?.how, "delta");
    await assertIs(history, 6);
  });

  test("that somebody wrote to is told, and keeps what was written", async () => {
    const run = await following();
    await run.isAt(4);
    const written = Buffer.from(history.image(5));
    await writeFile(path, written);
    await put(history.segment(4, 6));

    await assert.rejects(run.ended, { code: "conflict" });
    assert.ok(written.equals(await readFile(path)));
    await assert.rejects(following(), { code: "conflict" });
    await using again = await following({ force: true });
    await again.isAt(6);
  });

  test("that was only touched goes on", async () => {
    await using run = await following();
    await run.isAt(4);
    await utimes(path, 1, 1);
    await put(history.segment(4, 5));

    await run.isAt(5);
  });

  test("is never made of a file that was there", async () => {
    await writeFile(path, history.image(4));

    await assert.rejects(following(), { code: "exists" });
    assert.ok(Buffer.from(history.image(4)).equals(await readFile(path)));
  });

  test("is kept by one process", async () => {
    await using run = await following();
    await run.isAt(4);

    await assert.rejects(following(), { code: "locked" });
  });

  test("that was moved away is restored again", async () => {
    await using run = await following();
    await run.isAt(4);
    await rename(path, join(directory, "live.db"));

    await until("it is there again", () => run.published[1]);
    await assertIs(history, 4);
  });

  test("whose damage nobody sees heals: the end has to have its state hash", async () => {
    let damage: (() => Promise<void>) | undefined;
    await using run = await following({ beforePlan: async () => damage?.() });
    await run.isAt(4);
    await utimes(path, 1, 1);
    damage = async () => {
      await using file = await open(path, "r+");
      await file.write(Buffer.from([1]), 0, 1, 4 * pageSize + 100);
      await file.utimes(1, 1);
    };
    await until("it is damaged", async () => !Buffer.from(history.image(4)).equals(await readFile(path)));
    damage = undefined;
    await put(history.segment(4, 5));

    await run.isAt(5);
    await assertIs(history, 5);
    assert.deepEqual(
      run.published.map(({ how }) => how),
      ["whole", "whole"],
    );
  });

  test("follows a database that was replaced, and never goes back to what it was", async () => {
    await begin(first, 1);
    await using run = await following();
    await run.isAt(4);
    await begin(second, 2);
    await put(await other.snapshot(2));
    await run.isAt(2);
    await assertIs(other, 2);

    await rename(join(root, second), join(directory, "away"));
    await put(history.segment(4, 8));
    await until("it waits", () => run.waiting[0]);
    await rename(join(directory, "away"), join(root, second));
    await put(other.segment(2, 4));
    await run.isAt(4);

    await assertIs(other, 4);
    assert.deepEqual(
      run.published.map(({ result }) => result.generation),
      [first, second, second],
    );
  });

  test("stays as it is while its points are pruned away, and goes on with the next", async () => {
    await using run = await following();
    await run.isAt(4);
    await remove(history.segment(2, 3), history.segment(3, 4));
    await until("it waits", () => run.waiting[0]);
    await assertIs(history, 4);
    await put(await history.snapshot(6), history.segment(6, 7));

    await run.isAt(7);
    await assertIs(history, 7);
    assert.equal(run.published.at(-1)?.how, "whole");
  });

  test("waits for an archive that is away", async () => {
    await using run = await following();
    await run.isAt(4);
    await rename(root, join(directory, "away"));
    await until("it waits", () => run.waiting[0]);
    await rename(join(directory, "away"), root);
    await put(history.segment(4, 5));

    await run.isAt(5);
  });

  test("of an archive that is not there is told at once", async () => {
    await rm(root, { recursive: true });
    const run = await following();

    await assert.rejects(run.ended, { code: "not-found" });
  });
});
