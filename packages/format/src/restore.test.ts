import assert from "node:assert/strict";
import { suite, test } from "node:test";
import fc from "fast-check";
import { makeHistory, pageSize, type StoredObject } from "../testing/history.ts";
import { openArchive } from "./archive-open.ts";
import { type ArchiveReader, planFromArchive } from "./archive-reader.ts";
import { PageferryError } from "./errors.ts";
import { formatGenerationJson, type GenerationJson } from "./generation-json.ts";
import { memorySink } from "./memory-sink.ts";
import { generationJsonName, parseGeneration } from "./names.ts";
import { executeRestore, type RestoreOptions, type RestoreResult } from "./restore.ts";
import type { RestoreTarget } from "./restore-plan.ts";
import { unpackStretch } from "./restore-unpack.ts";
import { decodeSegmentFile, encodeSegmentFile } from "./segment-file.ts";
import { type TxId, txId } from "./txid.ts";
import { inlineWorkbench, type RestoreSink } from "./workbench.ts";

const generation = parseGeneration("00000000000000a1");
const child = parseGeneration("00000000000000b2");
const writes = [[0], [1, 2], [], [3, 0], [5], [5, 4], [1], [2, 3]];
const history = makeHistory(generation, 6, writes);
const snapshot2 = await history.snapshot(2);
const snapshot3 = await history.snapshot(3);
const chain = [3, 4, 5, 6, 7, 8].map((id) => history.segment(id - 1, id));

/** A reader of objects in memory that counts what is asked of it. */
function readerOf(
  objects: Iterable<StoredObject>,
  name = "memory",
): ArchiveReader & { readonly gets: string[] } {
  const map = new Map(Array.from(objects, (object) => [object.name, object.bytes]));
  const gets: string[] = [];
  return {
    name,
    gets,
    async *list() {
      for (const [key, bytes] of map) yield { name: key, size: bytes.length };
    },
    async get(key, { offset = 0, length, signal } = {}) {
      signal?.throwIfAborted();
      gets.push(key);
      const bytes = map.get(key);
      if (bytes === undefined) throw new PageferryError("not-found", `${key}: not here`);
      return (async function* () {
        yield bytes.slice(offset, length === undefined ? undefined : offset + length);
      })();
    },
  };
}

interface Run {
  readonly bytes: Uint8Array | undefined;
  readonly result: RestoreResult;
}

async function run(
  readers: readonly ArchiveReader[],
  target: RestoreTarget = {},
  options: Partial<RestoreOptions> = {},
): Promise<Run> {
  const archive = await openArchive(readers);
  const plan = await planFromArchive(archive, target);
  const sink = memorySink();
  const result = await executeRestore({ plan, readers, sink, workbench: inlineWorkbench(sink), ...options });
  return { bytes: sink.bytes(), result };
}

function changed({ name, bytes }: StoredObject, at: number): StoredObject {
  const broken = new Uint8Array(bytes);
  broken[at] = (broken[at] as number) ^ 0x55;
  return { name, bytes: broken };
}

const isState = (bytes: Uint8Array | undefined, id: number): void => {
  assert.ok(bytes !== undefined);
  assert.ok(Buffer.from(history.image(id)).equals(bytes), `not the state of ${id}`);
};

suite("a restore", () => {
  test("gives the database of its point, byte for byte, checked against its state hash", async () => {
    const { bytes, result } = await run([readerOf([snapshot2, ...chain])]);

    isState(bytes, 8);
    assert.equal(result.txId, 8n);
    assert.equal(result.stateHash, history.stateHash(8));
    assert.equal(result.check?.mode, "quick");
    assert.equal(result.bytes, 9 * pageSize);
    assert.equal(result.objects, 7);
  });

  test("of a snapshot alone needs nothing else", async () => {
    for (const compression of ["zstd", "none"] as const) {
      const { bytes, result } = await run([
        readerOf([await history.snapshot(5, { compression: { codec: compression, level: 0, window: 0 } })]),
      ]);

      isState(bytes, 5);
      assert.equal(result.stateHash, history.stateHash(5));
    }
  });

  test("without known state hashes is checked in full", async () => {
    const objects = [
      await history.snapshot(2, { isHashed: false }),
      ...[3, 4].map((id) => history.segment(id - 1, id, { isHashed: false })),
    ];

    const { bytes, result } = await run([readerOf(objects)]);

    isState(bytes, 4);
    assert.equal(result.check?.mode, "full");
    assert.equal(result.stateHash, history.stateHash(4));
  });

  test("that a segment ends in, though what leads there is inside of a pack that goes beyond it", async () => {
    // A replica that was away got one pack; of another, which got each by itself, half is gone.
    const whole = readerOf([snapshot2, history.pack([2, 3, 4, 5, 8])]);
    const half = readerOf([history.segment(5, 6), history.segment(6, 7)], "half");
    for (const id of [6, 7]) {
      const { bytes } = await run([half, whole], { txId: txId(id) });
      isState(bytes, id);
    }
  });

  test("applies a pack up to a point inside of it", async () => {
    const { bytes } = await run([readerOf([snapshot2, history.pack([1, 3, 4, 7, 8])])], { txId: txId(7) });

    isState(bytes, 7);
  });

  test("tells how far it is, and ends at the whole", async () => {
    const seen: [string, number, number, number][] = [];

    const { result } = await run(
      [readerOf([snapshot2, ...chain])],
      {},
      {
        onProgress: ({ phase, bytes, total, objects }) => seen.push([phase, bytes, total, objects]),
      },
    );

    const last = seen.at(-1);
    assert.deepEqual(last, ["check", result.fetchedBytes, result.fetchedBytes, 7]);
    assert.deepEqual(
      seen,
      seen.toSorted((a, b) => a[1] - b[1]),
    );
  });
});

test("a restore of any archive of a history is exact, or a gap where the plan says so", async () => {
  const arbitrary = fc.record({
    writes: fc.array(fc.uniqueArray(fc.nat(5), { maxLength: 3 }), { minLength: 1, maxLength: 8 }),
    ranges: fc.array(fc.tuple(fc.nat(8), fc.nat(8), fc.boolean()), { maxLength: 12 }),
    snapshots: fc.uniqueArray(fc.nat(8), { maxLength: 3 }),
    target: fc.nat(8),
  });
  await fc.assert(
    fc.asyncProperty(arbitrary, async (made) => {
      const { newest, ...any } = makeHistory(generation, 6, made.writes);
      const objects: StoredObject[] = [];
      for (const [parent, id, isPack] of made.ranges) {
        if (parent >= id || id > newest) continue;
        const all = Array.from({ length: id - parent + 1 }, (_, at) => parent + at);
        objects.push(isPack ? any.pack(all) : any.segment(parent, id));
      }
      for (const id of made.snapshots) if (id <= newest) objects.push(await any.snapshot(id));
      const id = Math.min(made.target, newest);
      let restored: Run;
      try {
        restored = await run([readerOf(objects)], { txId: txId(id) });
      } catch (error) {
        assert.ok(
          error instanceof PageferryError && ["gap", "not-found"].includes(error.code),
          String(error),
        );
        return;
      }
      assert.ok(Buffer.from(any.image(id)).equals(restored.bytes ?? new Uint8Array(0)));
    }),
    { numRuns: 60 },
  );
});

suite("a broken object", () => {
  const middle = chain[2] as StoredObject;
  const others = [snapshot2, ...chain.filter((object) => object !== middle)];

  test("is taken from the next reader", async () => {
    const bad = readerOf([...others, changed(middle, 60)], "bad");
    const good = readerOf([snapshot2, ...chain], "good");

    const { bytes } = await run([bad, good]);

    isState(bytes, 8);
    assert.ok(good.gets.includes(middle.name));
  });

  test("that is missing is taken from the next reader too", async () => {
    const { bytes } = await run([readerOf(others), readerOf([middle])]);

    isState(bytes, 8);
  });

  test("is looked for past a reader that falls silent, which is waited for once", async () => {
    const frozen = readerOf([snapshot2, ...chain], "frozen");
    const get = () => new Promise<never>(() => undefined);
    const begun = performance.now();

    const { bytes } = await run(
      [{ ...frozen, get }, readerOf([snapshot2, ...chain], "alive")],
      {},
      { stallMs: 200 },
    );

    isState(bytes, 8);
    assert.ok(performance.now() - begun < 1500, "it was waited for again and again");
  });

  test("cut short in the first reader is taken whole from the second, which lists its own size", async () => {
    for (const object of [snapshot2, chain[2] as StoredObject]) {
      const sound = [snapshot2, ...chain];
      const short = { name: object.name, bytes: object.bytes.slice(0, -40) };
      const cut = readerOf([short, ...sound.filter((one) => one !== object)], "cut");
      const sink = memorySink();
      const readers = [cut, readerOf(sound, "whole")];
      const archive = await openArchive(readers);

      await executeRestore({
        plan: await planFromArchive(archive, {}),
        readers,
        sink,
        workbench: {
          ...inlineWorkbench(sink),
          unpack: async (order, from) =>
            unpackStretch(order, "bytes" in from ? from.bytes : new Uint8Array(0), (offset, bytes) => {
              void sink.write(offset, [bytes.slice()]);
            }),
        },
      });

      isState(sink.bytes(), 8);
      assert.equal(archive.objects.find(({ name }) => name === object.name)?.size, object.bytes.length);
      assert.deepEqual(
        readers.map((reader) => archive.sizeIn(reader, { ...object, size: 0 })),
        [short.bytes.length, object.bytes.length],
      );
    }
  });

  test("that only a silent reader has is planned around, with all else that it alone has", async () => {
    const alone = chain.slice(0, 5);
    const way = history.segment(2, 7);
    const holder = readerOf([...alone, snapshot2], "holder");
    const alive = readerOf([snapshot2, way, chain[5] as StoredObject], "alive");
    const readers = [{ ...holder, get: () => new Promise<never>(() => undefined) }, alive];
    const archive = await openArchive(readers);
    const sink = memorySink();
    const wanted = { generation, txId: txId(7) };

    await executeRestore({
      plan: await planFromArchive(archive, wanted, { without: new Set([way.name]) }),
      readers,
      sink,
      workbench: inlineWorkbench(sink),
      stallMs: 150,
      replan: (without) => planFromArchive(archive, wanted, { without }),
    });

    isState(sink.bytes(), 7);
  });

  test("in all readers is corrupt, named, and leaves nothing", async () => {
    const sink = memorySink();
    const readers = [readerOf([...others, changed(middle, 60)])];
    const plan = await planFromArchive(await openArchive(readers), {});

    await assert.rejects(executeRestore({ plan, readers, sink, workbench: inlineWorkbench(sink) }), {
      code: "corrupt",
      message: new RegExp(middle.name),
    });

    assert.equal(sink.bytes(), undefined);
  });

  test("is planned around, where there is a way", async () => {
    const way = history.segment(2, 6);
    const readers = [readerOf([...others, changed(middle, 60), way])];
    const archive = await openArchive(readers);
    const plan = await planFromArchive(archive, { generation, txId: txId(5) });
    const sink = memorySink();

    await assert.rejects(
      executeRestore({
        plan,
        readers,
        sink,
        workbench: inlineWorkbench(sink),
        replan: (without, point) => planFromArchive(archive, point, { without }),
      }),
      { code: "corrupt", message: /no way around it/ },
    );

    const { bytes } = await run(
      readers,
      { txId: txId(6) },
      {
        replan: (without, point) => planFromArchive(archive, point, { without }),
      },
    );
    isState(bytes, 6);
  });

  test("is the only one planned around, though others were being read when it was found", async () => {
    const newest = changed(chain[5] as StoredObject, 60);
    const whole = readerOf([snapshot2, ...chain.slice(0, 5), newest]);
    const slow: ArchiveReader = {
      ...whole,
      get: (name, options = {}) =>
        name === newest.name || options.signal === undefined
          ? whole.get(name, options)
          : new Promise((_resolve, reject) => {
              options.signal?.addEventListener("abort", () => reject(new Error("ended")));
            }),
    };
    const archive = await openArchive([whole]);
    const plan = await planFromArchive(archive, {});
    const sink = memorySink();
    const around: string[] = [];

    await assert.rejects(
      executeRestore({
        plan,
        readers: [slow],
        sink,
        workbench: inlineWorkbench(sink),
        replan: (without, point) => {
          around.push(...without);
          return planFromArchive(archive, point, { without });
        },
      }),
      { code: "corrupt" },
    );

    assert.deepEqual(around, [newest.name]);
  });

  test("of another history is planned around where a seam shows it, be it the older or the younger one", async () => {
    const fork = makeHistory(generation, 6, [...writes.slice(0, 3), [5], ...writes.slice(4)]);
    const snapshot4 = await fork.snapshot(4);
    const ways: [string, StoredObject[]][] = [
      ["the older one", [snapshot2, chain[0], fork.segment(3, 4), ...chain.slice(2), history.segment(3, 5)]],
      ["the younger one", [snapshot2, ...chain, fork.segment(4, 6)]],
      ["the snapshot", [snapshot2, ...chain, snapshot4]],
    ].map(([name, objects]) => [name as string, objects as StoredObject[]]);
    for (const [name, objects] of ways) {
      const readers = [readerOf(objects)];
      const archive = await openArchive(readers);
      const sink = memorySink();

      await executeRestore({
        plan: await planFromArchive(archive, { txId: txId(6) }),
        readers,
        sink,
        workbench: inlineWorkbench(sink),
        replan: (without, point) => planFromArchive(archive, point, { without }),
      });

      assert.ok(sink.bytes() !== undefined, name);
      isState(sink.bytes(), 6);
    }
  });

  test("that vanished after the plan is planned around, be it a segment or the snapshot", async () => {
    const snapshot6 = await history.snapshot(6);
    const whole = [snapshot2, ...chain, snapshot6, history.segment(6, 8)];
    for (const gone of [snapshot6.name, history.segment(6, 8).name]) {
      const archive = await openArchive([readerOf(whole)]);
      const plan = await planFromArchive(archive, {});
      const readers = [readerOf(whole.filter(({ name }) => name !== gone))];
      const sink = memorySink();

      const result = await executeRestore({
        plan,
        readers,
        sink,
        workbench: inlineWorkbench(sink),
        replan: (without, point) => planFromArchive(archive, point, { without }),
      });

      assert.deepEqual([plan.steps.length, result.txId], [1, 8n]);
      isState(sink.bytes(), 8);
    }
  });

  test("that vanished between the listing and the plan is planned around, and said", async () => {
    const pack = history.pack([2, 3, 4, 5, 6, 7]);
    const listed = readerOf([snapshot2, pack, history.segment(2, 4), history.segment(4, 8)]);
    const now = readerOf([snapshot2, history.segment(2, 4), history.segment(4, 8)]);
    const archiveOf = () => openArchive([{ ...now, list: listed.list }]);

    const byTime = await planFromArchive(await archiveOf(), { timestampMs: 5500 });
    const again = await planFromArchive(
      await archiveOf(),
      { timestampMs: 5500 },
      { without: new Set([pack.name]) },
    );

    assert.deepEqual([byTime.txId, byTime.steps.map(({ name }) => name)], [4n, [history.segment(2, 4).name]]);
    assert.match(byTime.warnings.join(), new RegExp(`${pack.name} was removed`));
    assert.deepEqual([again.txId, again.warnings], [4n, []]);
    await assert.rejects(planFromArchive(await archiveOf(), { txId: txId(5) }), {
      code: "not-found",
      message: /transaction 0000000000000005 is not a point/,
    });
  });

  test("whose reader cannot be reached is unavailable, not corrupt, and is not planned around", async () => {
    const down: ArchiveReader = {
      ...readerOf([]),
      get: async () => {
        throw new PageferryError("unavailable", "no answer");
      },
    };
    const plan = await planFromArchive(await openArchive([readerOf([snapshot2, ...chain])]), {});
    const sink = memorySink();
    let replans = 0;
    const replan = async (): Promise<never> => {
      replans += 1;
      throw new Error("not this way");
    };

    await assert.rejects(
      executeRestore({ plan, readers: [down], sink, workbench: inlineWorkbench(sink), replan }),
      {
        code: "unavailable",
      },
    );
    assert.equal(replans, 0);
  });
});

suite("an object that is not what its name says is corrupt", () => {
  const cases: Record<string, StoredObject[]> = {
    "another segment": [
      snapshot2,
      { name: chain[0]?.name ?? "", bytes: chain[1]?.bytes ?? new Uint8Array(0) },
    ],
    "a snapshot of another transaction": [{ name: snapshot2.name, bytes: snapshot3.bytes }],
    "a pack of other transactions": [
      snapshot2,
      { name: history.pack([2, 3, 4]).name, bytes: history.pack([3, 4]).bytes },
    ],
  };
  for (const [name, objects] of Object.entries(cases)) {
    test(name, async () => {
      await assert.rejects(run([readerOf(objects)]), { code: "corrupt" });
    });
  }

  test("a segment that begins at another state than the one before it ended at (a fork)", async () => {
    const fork = makeHistory(generation, 6, [...writes.slice(0, 3), [5], ...writes.slice(4)]);

    await assert.rejects(
      run([readerOf([snapshot2, ...chain.slice(0, 2), fork.segment(4, 5)])], {}, { integrity: "none" }),
      {
        code: "corrupt",
        message: /begins at state/,
      },
    );
  });

  test("a segment with pages of another size", async () => {
    const { header, data } = decodeSegmentFile(chain[5]?.bytes ?? new Uint8Array(0));
    const other = {
      name: chain[5]?.name ?? "",
      bytes: encodeSegmentFile({ header: { ...header, pageSize: 1024 }, data }),
    };

    await assert.rejects(run([readerOf([snapshot2, ...chain.slice(0, 5), other])]), { code: "corrupt" });
  });
});

test("a state that differs from its state hash is corrupt, and nothing is published", async () => {
  const other = makeHistory(generation, 6, [[4], ...writes.slice(1)]);
  const sink = memorySink();
  const readers = [readerOf([await other.snapshot(2, { isHashed: false }), ...chain])];
  const plan = await planFromArchive(await openArchive(readers), { txId: txId(3) });

  await assert.rejects(executeRestore({ plan, readers, sink, workbench: inlineWorkbench(sink) }), {
    code: "corrupt",
    message: /state hash/,
  });

  assert.equal(sink.bytes(), undefined);
});

test("a state that differs from what the plan says, as a manifest does, is corrupt also without a check", async () => {
  const readers = [readerOf([snapshot2, ...chain])];
  const plan = await planFromArchive(await openArchive(readers), {});
  for (const integrity of ["none", "quick"] as const) {
    const sink = memorySink();
    await assert.rejects(
      executeRestore({
        plan: { ...plan, stateHash: 1n },
        readers,
        sink,
        workbench: inlineWorkbench(sink),
        integrity,
      }),
      { code: "corrupt", message: /the plan says/ },
    );
  }
});

suite("a bridge", () => {
  const document: GenerationJson = {
    version: 1,
    generation: child,
    parent: { generation, txId: txId(5) },
    reason: "unprovable",
    epoch: 2,
    host: "h",
    pageSize,
    receivedAtMs: 1,
  };
  const link = { name: generationJsonName(child), bytes: formatGenerationJson(document) };

  test("from the parent's point is followed, and checked at the seam", async () => {
    const after = makeHistory(child, 6, [...writes.slice(0, 5), [2], [0]]);

    const { bytes, result } = await run([readerOf([snapshot2, ...chain, link, after.segment(5, 7)])]);

    assert.ok(Buffer.from(after.image(7)).equals(bytes ?? new Uint8Array(0)));
    assert.equal(result.generation, child);
  });

  test("whose state before is not the parent's is corrupt", async () => {
    const forked = makeHistory(child, 6, [...writes.slice(0, 4), [0], [2], [0]]);

    await assert.rejects(run([readerOf([snapshot2, ...chain, link, forked.segment(5, 7)])]), {
      code: "corrupt",
    });
  });
});

test("a broken generation.json leaves named generations within reach, but the newest is no guess", async () => {
  const readers = [readerOf([snapshot2, { name: generationJsonName(child), bytes: Buffer.from("{") }])];

  await assert.rejects(run(readers), { code: "corrupt", message: new RegExp(generationJsonName(child)) });
  isState((await run(readers, { generation })).bytes, 2);
});

suite("a restore that is ended", () => {
  test("by its signal gives the signal's reason and discards", async () => {
    const stop = new AbortController();
    let isDiscarded = false;
    const memory = memorySink();
    const sink: RestoreSink = {
      ...memory,
      async discard() {
        isDiscarded = true;
      },
    };
    const readers = [readerOf([snapshot2, ...chain])];
    const plan = await planFromArchive(await openArchive(readers), {});

    const restoring = executeRestore({
      plan,
      readers,
      sink,
      workbench: inlineWorkbench(sink),
      parallelism: 1,
      signal: stop.signal,
      onProgress: () => stop.abort(new Error("enough")),
    });

    await assert.rejects(restoring, /enough/);
    assert.ok(isDiscarded);
    assert.equal(memory.bytes(), undefined);
  });

  test("by one write that fails, the others going on, is not published", async () => {
    for (const failing of [0, 1, 2, 3]) {
      const memory = memorySink();
      let writes = 0;
      const sink: RestoreSink = {
        ...memory,
        async write(offset, pieces) {
          if (writes++ === failing) throw new PageferryError("disk-full", "no room");
          return memory.write(offset, pieces);
        },
      };
      const readers = [readerOf([snapshot2, ...chain])];
      const plan = await planFromArchive(await openArchive(readers), {});

      await assert.rejects(
        executeRestore({ plan, readers, sink, workbench: inlineWorkbench(sink), integrity: "none" }),
        { code: "disk-full" },
      );
      assert.equal(memory.bytes(), undefined);
    }
  });

  test("by a full disk says so", async () => {
    const sink: RestoreSink = {
      ...memorySink(),
      async write() {
        throw new PageferryError("disk-full", "no room");
      },
    };
    for (const objects of [[snapshot2], [snapshot2, ...chain]]) {
      const readers = [readerOf(objects), readerOf(objects, "another")];
      const plan = await planFromArchive(await openArchive(readers), {});

      await assert.rejects(executeRestore({ plan, readers, sink, workbench: inlineWorkbench(sink) }), {
        code: "disk-full",
        message: "no room",
      });
    }
  });
});

test("at most as many objects as were asked for are under way, and none is fetched twice", async () => {
  let open = 0;
  let most = 0;
  const inner = readerOf([snapshot2, ...chain]);
  const reader: ArchiveReader = {
    ...inner,
    async get(name, options) {
      open += 1;
      most = Math.max(most, open);
      await new Promise((resolve) => setImmediate(resolve));
      open -= 1;
      return inner.get(name, options);
    },
  };

  await run([reader], {}, { parallelism: 3 });

  assert.equal(most, 3);
  assert.equal(new Set(inner.gets).size, inner.gets.length);
});

test("times of commits are kept in points and found by timestamp", async () => {
  const archive = await openArchive([
    readerOf([snapshot2, history.pack([2, 3, 4, 7]), history.segment(7, 8)]),
  ]);

  const plan = await planFromArchive(archive, { timestampMs: 6999 });

  assert.equal(plan.txId, 4n satisfies bigint as TxId);
});
