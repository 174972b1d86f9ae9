import assert from "node:assert/strict";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { formatStateHash, formatTxId, PageferryError } from "@pageferry/format";
import { type BoltState, boltArchive, boltStates, type Held } from "../testing/bolt-history.ts";
import { latestEvidence } from "./evidence.ts";
import { createReplica, type Replica } from "./replica.ts";
import type { Store } from "./store.ts";
import { memoryStore } from "./stores/memory.ts";
import { type VerifyOptions, verifyDatabase } from "./verify.ts";
import type { ReplicaVerdict } from "./verify-report.ts";

const epochMs = Date.UTC(2026, 0, 2, 3, 4, 5);
const archive = boltArchive("a1");
/** A minute and more after everything: nothing is on its way. */
const nowMs = epochMs + 3_600_000;

let states: readonly BoltState[];
let all: readonly Held[];
let scratchDir: string;

before(async () => {
  scratchDir = await mkdtemp(join(tmpdir(), "verify-"));
  states = await boltStates(8, epochMs);
  all = [archive.begin, archive.snapshot(states[0] as BoltState), ...segmentsOf(states)];
});
after(() => rm(scratchDir, { recursive: true }));

function segmentsOf(of: readonly BoltState[]): Held[] {
  return of.slice(1).map((state, at) => archive.segment(of[at] as BoltState, state));
}

async function replicaOf(
  name: string,
  objects: readonly Held[],
  change: (store: Store) => Store = (store) => store,
): Promise<Replica> {
  const store = memoryStore();
  for (const { name: object, bytes } of objects) await store.put(`${name}/${object}`, bytes);
  return createReplica(change(store), { root: name });
}

function verify(replicas: readonly Replica[], more: Partial<VerifyOptions> = {}) {
  return verifyDatabase({
    database: "app",
    replicas,
    scratchDir,
    now: () => nowMs,
    random: () => 0.4,
    ...more,
  });
}

async function verdictOf(
  replicas: readonly Replica[],
  more: Partial<VerifyOptions> = {},
): Promise<ReplicaVerdict> {
  return (await verify(replicas, more)).replicas[0] as ReplicaVerdict;
}

function damaged({ name, bytes }: Held, at = bytes.length >> 1): Held {
  const changed = new Uint8Array(bytes);
  changed[at] = (changed[at] ?? 0) ^ 0x10;
  return { name, bytes: changed };
}

const at = (index: number): Held => all[index] as Held;
const without = (...gone: readonly Held[]): Held[] => all.filter((one) => !gone.includes(one));
const instead = (old: Held, by: Held): Held[] => all.map((one) => (one === old ? by : one));
const last = (): BoltState => states.at(-1) as BoltState;

suite("a verification", () => {
  test("restores an older point and the newest from each replica, and finds them equal", async () => {
    const merged = [
      ...all.slice(0, 2),
      archive.segment(states[0] as BoltState, states[5] as BoltState),
      ...all.slice(7),
    ];
    const report = await verify([await replicaOf("one", all), await replicaOf("two", merged)]);

    assert.deepEqual([report.isSound, report.next, report.unlisted], [true, null, []]);
    for (const { verdict, points, newest, problems, error } of report.replicas) {
      assert.deepEqual([verdict, problems, error], ["FOUND", [], null]);
      assert.equal(newest?.txid, formatTxId(last().txId));
      assert.equal(points.length, 2);
      const [older, newestPoint] = points;
      assert.ok((older?.txid ?? "") < (newestPoint?.txid ?? ""));
      assert.deepEqual(
        [newestPoint?.mode, newestPoint?.stateHash],
        ["restore", formatStateHash(last().stateHash)],
      );
      assert.match(newestPoint?.logicalHash ?? "", /^[0-9a-f]{64}$/);
    }
    const [one, two] = report.replicas;
    assert.equal(one?.points[1]?.logicalHash, two?.points[1]?.logicalHash);
    assert.deepEqual(await readdir(scratchDir), []);
  });

  test("draws the same older point where both have it", async () => {
    for (const drawn of [0, 0.3, 0.6, 0.99]) {
      const [one, two] = (
        await verify([await replicaOf("one", all), await replicaOf("two", all)], { random: () => drawn })
      ).replicas;

      assert.equal(one?.points[0]?.txid, two?.points[0]?.txid);
    }
  });

  test("says CORRUPT, and names the object, where one on the way does not hold", async () => {
    const row = await verdictOf([await replicaOf("one", instead(at(4), damaged(at(4))))]);

    assert.equal(row.verdict, "CORRUPT");
    assert.deepEqual(
      row.problems.map(({ object }) => object),
      [at(4).name],
    );
    // Its points up to the one before remain: the snapshot's and two segments'.
    assert.deepEqual([row.restorable, row.lost], [3, 5]);
    assert.deepEqual(row.lostRanges, [
      {
        generation: archive.generation,
        from: formatTxId((states[3] as BoltState).txId),
        to: formatTxId(last().txId),
        points: 5,
      },
    ]);
  });

  test("says CORRUPT where every object holds and their pages are not the state that they say", async () => {
    const [two, three] = [states[2] as BoltState, states[3] as BoltState];
    const lied = archive.segment(two, { ...three, image: withOtherPage(three) });
    const row = await verdictOf([await replicaOf("one", [...all.slice(0, 4), lied])]);

    assert.equal(row.verdict, "CORRUPT");
    assert.match(row.problems[0]?.why ?? "", new RegExp(formatTxId(three.txId)));
  });

  test("says LOST where a range is missing, and what the other replica has of it", async () => {
    const [one, two] = (await verify([await replicaOf("one", without(at(4))), await replicaOf("two", all)]))
      .replicas;

    assert.deepEqual([one?.verdict, two?.verdict], ["LOST", "FOUND"]);
    const words = one?.problems.map(({ object, why }) => `${object}: ${why}`).join("\n") ?? "";
    assert.match(words, new RegExp(`${at(4).name}: .*/two has it`));
    assert.match(words, /is the last point before it/);
  });

  test("says LOST of a replica without a point", async () => {
    assert.equal((await verdictOf([await replicaOf("one", [])])).verdict, "LOST");
    assert.equal((await verdictOf([await replicaOf("one", [archive.begin])])).verdict, "LOST");
  });

  test("says LATE where the others are ahead for more than a minute, and not while it may be on its way", async () => {
    const replicas = [await replicaOf("one", without(all.at(-1) as Held)), await replicaOf("two", all)];

    const late = await verdictOf(replicas);
    const young = await verdictOf(replicas, { now: () => last().stampMs + 30_000 });

    assert.deepEqual([late.verdict, late.problems[0]?.object], ["LATE", all.at(-1)?.name]);
    assert.equal(young.verdict, "FOUND");
  });

  test("says LATE where a commit was captured long ago and is not there", async () => {
    const replicas = [await replicaOf("one", all)];
    const captured = { txId: 999n as BoltState["txId"], stampMs: nowMs - 120_000 };

    assert.equal((await verdictOf(replicas, { newestCaptured: captured })).verdict, "LATE");
    const young = { ...captured, stampMs: nowMs - 30_000 };
    assert.equal((await verdictOf(replicas, { newestCaptured: young })).verdict, "FOUND");
    const there = { txId: last().txId, stampMs: last().stampMs };
    assert.equal((await verdictOf(replicas, { newestCaptured: there })).verdict, "FOUND");
  });

  test("says FORK of both where one point gives two states, each sound", async () => {
    const other = { ...(states[6] as BoltState), txId: last().txId, stampMs: last().stampMs };
    const forged = await forgedAt(other);
    const report = await verify([
      await replicaOf("one", all),
      await replicaOf("two", [archive.begin, archive.snapshot(forged)]),
    ]);

    assert.deepEqual(
      report.replicas.map(({ verdict }) => verdict),
      ["FORK", "FORK"],
    );
  });

  test("says FORK where generations contradict", async () => {
    const other = boltArchive("b2");
    const objects = [...all, other.begin, other.snapshot(last())];

    assert.equal((await verdictOf([await replicaOf("one", objects)])).verdict, "FORK");
  });

  test("has no verdict on a replica that does not answer, and goes on with the others", async () => {
    const dead = await replicaOf("one", all, (store) => ({
      ...store,
      async *list() {
        yield* [];
        throw new PageferryError("unavailable", "nobody there");
      },
    }));
    const report = await verify([dead, await replicaOf("two", all)]);

    assert.deepEqual(
      report.replicas.map(({ verdict }) => verdict),
      [null, "FOUND"],
    );
    assert.match(report.replicas[0]?.error ?? "", /nobody there/);
    assert.deepEqual([report.isSound, report.unlisted.length], [false, 1]);
  });

  test("gives up a replica whose reads hang, and ends when it is stopped", async () => {
    const hung = await replicaOf("one", all, (store) => ({
      ...store,
      get: (name, options) =>
        name.endsWith(".cbor") ? new Promise<never>(() => undefined) : store.get(name, options),
    }));

    const row = await verdictOf([hung], { stallMs: 100 });
    assert.deepEqual([row.verdict, /unavailable/.test(row.error ?? "")], [null, true]);

    const stop = new AbortController();
    const stopped = verify([hung], { signal: stop.signal });
    setTimeout(() => stop.abort(new Error("stopped")), 30);
    await assert.rejects(stopped, /stopped/);
    assert.deepEqual(await readdir(scratchDir), []);
  });

  test("is not misled by a point that was merged away while it ran", async () => {
    let lists = 0;
    const racing = await replicaOf("one", all, (store) => ({
      ...store,
      list(prefix, options) {
        lists += 1;
        return store.list(prefix, options);
      },
      async get(name, options) {
        // Gone with the first read, as by a compaction; the merged range came before.
        if (lists === 1 && name.endsWith(at(3).name)) {
          const merged = archive.segment(states[0] as BoltState, states[4] as BoltState);
          await store.put(`one/${merged.name}`, merged.bytes);
          await store.remove([at(2), at(3), at(4)].map((one) => `one/${one.name}`));
        }
        return store.get(name, options);
      },
    }));
    const row = await verdictOf([racing]);

    assert.deepEqual([row.verdict, row.problems], ["FOUND", []]);
    assert.equal(row.points.at(-1)?.txid, formatTxId(last().txId));
  });

  test("goes on where it ended, with the same points, and remembers what it saw", async () => {
    const replicas = [await replicaOf("one", instead(at(4), damaged(at(4)))), await replicaOf("two", all)];
    let calls = 0;
    let report = await verify(replicas, { depth: "full", budgetMs: 0 });
    const restored = report.replicas.flatMap(({ points }) => points);
    while (report.next !== null) {
      assert.equal(report.isSound, false);
      const cursor = JSON.parse(JSON.stringify(report.next));
      report = await verify(replicas, { depth: "full", budgetMs: 0, cursor });
      restored.push(...report.replicas.flatMap(({ points }) => points));
      calls += 1;
    }

    assert.ok(calls > all.length, `${calls} calls`);
    assert.equal(restored.length, 4);
    assert.deepEqual(
      report.replicas.map(({ verdict }) => verdict),
      ["CORRUPT", "FOUND"],
    );
  });

  test("reads the objects of what is too large to be restored, and says so", async () => {
    const sound = await verdictOf([await replicaOf("one", all)], { bytesMax: 1000 });
    const broken = await verdictOf([await replicaOf("one", instead(at(4), damaged(at(4))))], {
      bytesMax: 1000,
    });

    assert.deepEqual(
      sound.points.map(({ mode, logicalHash }) => [mode, logicalHash]),
      [
        ["objects", null],
        ["objects", null],
      ],
    );
    assert.equal(sound.points[1]?.stateHash, formatStateHash(last().stateHash));
    assert.deepEqual(
      [sound.verdict, broken.verdict, broken.problems[0]?.object],
      ["FOUND", "CORRUPT", at(4).name],
    );
  });

  test("by headers alone restores nothing, and shows what they show", async () => {
    const row = await verdictOf([await replicaOf("one", without(at(4)))], { depth: "chain" });

    assert.deepEqual([row.verdict, row.points, row.restorable], ["LOST", [], 3]);
    assert.equal(row.objects, all.length - 1);
  });

  test("in full names a broken object that no drawn point needs", async () => {
    const spare = archive.snapshot(states[3] as BoltState);
    const row = await verdictOf([await replicaOf("one", [...all, damaged(spare)])], {
      depth: "full",
      random: () => 0.1,
    });

    assert.deepEqual([row.verdict, row.problems.map(({ object }) => object)], ["CORRUPT", [spare.name]]);
    assert.deepEqual([row.restorable, row.lost], [8, 0]);
  });

  test("leaves evidence where it is told to, the newest point last, and sees by it that a replica was rolled back", async () => {
    const store = memoryStore();
    for (const { name, bytes } of all) await store.put(`one/${name}`, bytes);
    const replica = createReplica(store, { root: "one" });

    await verify([replica]);
    assert.equal(await latestEvidence(replica.objects, {}), undefined);
    let clock = nowMs;
    await verify([replica], { evidence: true, now: () => clock++ });
    const evidence = await latestEvidence(replica.objects, {});

    assert.deepEqual([evidence?.verdict, evidence?.txId, evidence?.mode], ["FOUND", last().txId, "restore"]);
    await store.remove([`one/${all.at(-1)?.name}`]);
    const row = await verdictOf([replica], { depth: "chain" });
    assert.deepEqual([row.verdict, row.problems.length], ["LOST", 1]);
    assert.match(row.problems[0]?.why ?? "", /rolled-back/);
  });
});

/** The same state with another byte in a page that is live. */
function withOtherPage({ image, pageSize, highWaterMark }: BoltState): Uint8Array {
  const changed = new Uint8Array(image);
  const id = highWaterMark - 1;
  for (let page = id; page > 1; page -= 1) changed[page * pageSize + pageSize - 1] = 0x77;
  return changed;
}

/** A state under another transaction's id, whole and sound by itself. */
async function forgedAt(state: BoltState): Promise<BoltState> {
  const { encodeMetaPage, metaPagesFor, metaSlot, newestMeta, metaBytes } = await import("@pageferry/format");
  const image = new Uint8Array(state.image);
  const block = (slot: number) => image.slice(slot * state.pageSize, slot * state.pageSize + metaBytes);
  const meta = newestMeta(block(0), block(1));
  assert.ok(meta !== undefined);
  const pages = metaPagesFor(encodeMetaPage({ ...meta, txId: state.txId }, metaSlot(state.txId)));
  const flat = Array.isArray(pages) ? Buffer.concat(pages) : (pages as unknown as Uint8Array);
  image.set(flat, 0);
  return { ...state, image };
}
