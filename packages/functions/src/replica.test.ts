import assert from "node:assert/strict";
import { suite, test } from "node:test";
import {
  decodePackIndex,
  decodeSegmentFile,
  type Generation,
  PageferryError,
  parseObjectName,
  segmentState,
} from "@pageferry/format";
import { type History, historyOf, id } from "../testing/history.ts";
import { goPolicy } from "../testing/policy.ts";
import type { StateObjectName } from "./describe.ts";
import { newestRestorable } from "./holdings.ts";
import { createReplica, type Replica } from "./replica.ts";
import type { ReplicaItem } from "./replica-put.ts";
import type { Store } from "./store.ts";
import { memoryStore } from "./stores/memory.ts";

const history = historyOf("a1");
const fork = historyOf("a1", "other");

const itemOf = (
  { name, bytes }: { name: string; bytes: Uint8Array },
  receivedAtMs?: number,
): ReplicaItem => ({
  name: parseObjectName(name) as StateObjectName,
  body: bytes,
  ...(receivedAtMs === undefined ? {} : { receivedAtMs }),
});

const segments = (from: History, ...ranges: readonly (readonly [number, number])[]): ReplicaItem[] =>
  ranges.map(([parent, last]) => itemOf(from.segment(parent, last)));

const kinds = async (puts: Promise<{ kind: string }[]>): Promise<string[]> =>
  (await puts).map((put) => put.kind);

async function namesIn(store: Store): Promise<string[]> {
  return (await Array.fromAsync(store.list(""))).map((object) => object.name);
}

async function bytesOf(store: Store, name: string): Promise<Uint8Array> {
  return Buffer.concat(await Array.fromAsync(await store.get(name)));
}

function open(root = ""): { store: Store; replica: Replica; again(): Replica } {
  const store = memoryStore();
  return { store, replica: createReplica(store, { root }), again: () => createReplica(store, { root }) };
}

const put = (
  replica: Replica,
  items: readonly ReplicaItem[],
  pack = false,
  generation: Generation = history.generation,
) => replica.putAll(generation, items, { pack });

suite("a replica takes objects", () => {
  test("once, whatever the bytes, when the states are the same: a segment sent again has another receipt time", async () => {
    const { store, replica, again } = open();
    const segment = history.segment(4, 5);

    assert.deepEqual(await kinds(put(replica, [itemOf(segment, 1000)])), ["stored"]);
    assert.deepEqual(await kinds(put(replica, [itemOf(segment, 2000)])), ["present"]);
    assert.deepEqual(await kinds(put(again(), [itemOf(segment, 3000)])), ["present"]);

    assert.deepEqual(await namesIn(store), [segment.name]);
    const { header } = decodeSegmentFile(await bytesOf(store, segment.name));
    assert.equal(segmentState(header).receivedMs, 1000);
  });

  test("below its root and nowhere else", async () => {
    const { store, replica } = open("backups/app");
    const { name } = history.segment(4, 5);

    await put(replica, segments(history, [4, 5]));

    assert.deepEqual(await namesIn(store), [`backups/app/${name}`]);
    assert.deepEqual(await Array.fromAsync(replica.reader.list()), [
      { name, size: (await bytesOf(store, `backups/app/${name}`)).length },
    ]);
  });

  test("packed, when they follow one another in one batch, each still a point", async () => {
    const { store, replica } = open();

    await put(replica, segments(history, [4, 5], [5, 6], [6, 9], [11, 12]), true);

    const names = await namesIn(store);
    assert.deepEqual(
      names.map((name) => parseObjectName(name)?.kind),
      ["pack", "segment"],
    );
    const index = decodePackIndex(await bytesOf(store, names[0] ?? ""));
    assert.deepEqual(
      index.map((entry) => [entry.parentTxId, entry.txId, entry.post]),
      [
        [4n, 5n, history.stateHash(5)],
        [5n, 6n, history.stateHash(6)],
        [6n, 9n, history.stateHash(9)],
      ],
    );
  });

  test("not again out of a pack, also when it was packed before this process began", async () => {
    const { store, replica, again } = open();
    await put(replica, segments(history, [4, 5], [5, 6], [6, 7]), true);
    const before = await namesIn(store);

    for (const one of [replica, again()]) {
      assert.deepEqual(await kinds(put(one, segments(history, [5, 6]))), ["present"]);
      assert.deepEqual(await kinds(put(one, segments(history, [5, 6], [6, 7]), true)), [
        "present",
        "present",
      ]);
    }

    assert.deepEqual(await namesIn(store), before);
  });

  test("that close a gap, though they end in a state that is there", async () => {
    const { replica } = open();
    await put(replica, [itemOf(history.snapshot(4))]);
    await put(replica, segments(history, [6, 7]));
    assert.equal(newestRestorable(await replica.holdings(), history.generation), 4n);

    assert.deepEqual(await kinds(put(replica, segments(history, [4, 7]))), ["stored"]);

    assert.equal(newestRestorable(await replica.holdings(), history.generation), 7n);
  });

  test("of which one is broken without harm to the others", async () => {
    const { store, replica } = open();
    const broken = history.segment(5, 6);
    broken.bytes.set([broken.bytes[100] === 0 ? 1 : 0], 100);
    const misnamed = { name: history.segment(6, 8).name, bytes: history.segment(6, 7).bytes };

    const outcomes = await put(replica, [
      ...segments(history, [4, 5]),
      itemOf(broken),
      itemOf(misnamed),
      ...segments(history, [7, 8]),
    ]);

    assert.deepEqual(
      outcomes.map((outcome) => outcome.kind),
      ["stored", "failed", "failed", "stored"],
    );
    for (const outcome of outcomes)
      if (outcome.kind === "failed") assert.equal((outcome.error as PageferryError).code, "corrupt");
    assert.equal((await namesIn(store)).length, 2);
  });
});

suite("what is stored and cannot be read", () => {
  for (const code of ["unsupported-version", "bad-name", "too-large"] as const) {
    test(`is the replica's fault and not the message's: ${code}`, async () => {
      const { store, replica } = open();
      await put(replica, segments(history, [4, 5]));
      const broken: Store = {
        ...store,
        get: () => Promise.reject(new PageferryError(code, "what lies here is of tomorrow")),
      };

      const [outcome] = await put(createReplica(broken, { root: "" }), segments(history, [5, 6]));

      assert.equal(outcome?.kind === "failed" && outcome.fault, "replica");
      assert.equal(outcome?.kind === "failed" && (outcome.error as PageferryError).code, "unavailable");
    });
  }
});

suite("another history of the same transactions is a fork:", () => {
  const isFork = async (replica: Replica, store: Store, items: readonly ReplicaItem[]) => {
    const before = await namesIn(store);
    const [outcome] = await put(replica, items);
    assert.equal(outcome?.kind, "fork");
    const added = (await namesIn(store)).filter((name) => !before.includes(name));
    assert.equal(added.length, 1);
    assert.match(added[0] ?? "", new RegExp(`^quarantine/${history.generation}/[0-9a-f]{16}-`));
    assert.deepEqual(await bytesOf(store, added[0] ?? ""), Buffer.from(items[0]?.body as Uint8Array));
  };

  for (const [when, before] of [
    ["the same name", segments(history, [4, 5])],
    ["a longer range to the same transaction", segments(history, [2, 5])],
    ["a snapshot of the same transaction", [itemOf(history.snapshot(5))]],
    ["a stored parent with another state", segments(history, [3, 4])],
  ] as const) {
    test(`quarantined and told, at once and by a process that finds it: ${when}`, async () => {
      const { store, replica, again } = open();
      await put(replica, before);

      await isFork(replica, store, segments(fork, [4, 5]));

      assert.equal((await replica.holdings()).quarantined, 1);
      assert.deepEqual(await kinds(put(again(), segments(fork, [4, 5]))), ["fork"]);
      assert.equal((await namesIn(store)).filter((name) => name.startsWith("quarantine/")).length, 1);
    });
  }

  test("quarantined when it is in the middle of a pack, found by a process that did not write it", async () => {
    const { store, replica, again } = open();
    await put(replica, segments(history, [4, 5], [5, 6], [6, 7]), true);

    await isFork(again(), store, segments(fork, [4, 6]));
  });

  test("quarantined within one batch, and the first history goes on", async () => {
    const { replica } = open();

    const outcomes = await put(
      replica,
      [...segments(history, [4, 5]), ...segments(fork, [5, 6]), ...segments(history, [5, 6])],
      true,
    );

    assert.deepEqual(
      outcomes.map((outcome) => outcome.kind),
      ["stored", "fork", "stored"],
    );
  });

  test("quarantined when it is a snapshot", async () => {
    const { store, replica } = open();
    await put(replica, segments(history, [4, 5]));

    await isFork(replica, store, [itemOf(fork.snapshot(5))]);
  });
});

suite("a generation's beginning", () => {
  test("is written once, the first to arrive", async () => {
    const { store, replica, again } = open();

    assert.equal((await replica.begin(history.begin, 1000)).kind, "stored");
    assert.equal((await replica.begin({ ...history.begin, host: "moved" }, 2000)).kind, "present");
    assert.equal((await again().begin(history.begin, 3000)).kind, "present");

    const [name] = await namesIn(store);
    assert.equal(name, `${history.generation}/generation.json`);
    assert.equal(JSON.parse(Buffer.from(await bytesOf(store, name ?? "")).toString()).receivedAtMs, 1000);
  });

  test("that tells another parent, epoch or page size is a fork, and the first is kept", async () => {
    const { store, replica, again } = open();
    await replica.begin(history.begin, 1000);
    const other = { ...history.begin, epoch: 7 };

    assert.equal((await replica.begin(other, 2000)).kind, "fork");
    assert.equal((await again().begin(other, 2000)).kind, "fork");

    assert.equal(
      JSON.parse(Buffer.from(await bytesOf(store, (await namesIn(store))[0] ?? "")).toString()).epoch,
      1,
    );
  });

  test("written by two hosts at a time is one of the two", async () => {
    const { replica, again } = open();
    const other = again();
    await Promise.all([replica.holdings(), other.holdings()]);

    assert.equal((await replica.begin(history.begin, 1000)).kind, "stored");
    assert.equal((await other.begin(history.begin, 2000)).kind, "present");
  });
});

suite("what a replica holds", () => {
  test("is the same from memory and from a listing", async () => {
    const { replica, again } = open();
    const child = historyOf("b2", "", { parent: { generation: history.generation, txId: id(6) }, epoch: 2 });
    await replica.begin(history.begin, 1);
    await put(replica, [itemOf(history.snapshot(4)), ...segments(history, [4, 5], [5, 6], [8, 9])]);
    await replica.begin(child.begin, 2);
    await put(replica, segments(child, [6, 10]), false, child.generation);

    for (const holdings of [await replica.holdings(), await again().holdings()]) {
      assert.equal(newestRestorable(holdings, history.generation), 6n);
      assert.equal(newestRestorable(holdings, child.generation), 10n);
      assert.deepEqual(holdings.of(history.generation).coverage.stretches(), [
        { from: 4n, to: 6n },
        { from: 8n, to: 9n },
      ]);
      assert.equal(holdings.of(child.generation).begin?.epoch, 2);
    }
  });

  test("is listed from memory as it is stored, and from the store again when somebody asks for that", async () => {
    const { store, replica, again } = open();
    await put(replica, segments(history, [4, 5]));
    const listed = async (from: Pick<Replica["reader"], "list">) =>
      (await Array.fromAsync(from.list())).sort((a, b) => (a.name < b.name ? -1 : 1));
    assert.deepEqual(await listed(replica.remembered), await listed(replica.reader));
    await replica.begin(history.begin, 1);
    await put(replica, [itemOf(history.snapshot(4)), ...segments(history, [5, 6], [6, 7])], true);
    const before = await listed(replica.remembered);
    assert.deepEqual(before, await listed(replica.reader));
    assert.deepEqual(before, await listed(again().remembered));

    await store.remove([history.segment(4, 5).name]);
    assert.deepEqual(await listed(replica.remembered), before);
    await replica.refresh();

    assert.deepEqual(await listed(replica.remembered), await listed(replica.reader));
  });

  test("does not miss what is stored while it is being listed", async () => {
    const { store, replica } = open();
    await put(replica, segments(history, [4, 5]));
    const gate = Promise.withResolvers<void>();
    const slow: Store = {
      ...store,
      async *list(prefix, options) {
        yield* await Array.fromAsync(store.list(prefix, options));
        await gate.promise;
      },
    };
    const other = createReplica(slow, { root: "" });
    const listing = other.holdings();
    const putting = put(other, segments(history, [5, 6]));
    gate.resolve();

    await putting;
    assert.deepEqual((await listing).of(history.generation).coverage.stretches(), [{ from: 4n, to: 6n }]);
  });

  test("is asked for again after a listing that failed", async () => {
    const { store } = open();
    let isDown = true;
    const flaky: Store = {
      ...store,
      async *list(prefix, options) {
        if (isDown) throw new PageferryError("unavailable", "the store does not answer");
        yield* store.list(prefix, options);
      },
    };
    const replica = createReplica(flaky, { root: "" });

    const failed = await put(replica, segments(history, [4, 5], [5, 6]));
    assert.deepEqual(
      failed.map((outcome) => outcome.kind),
      ["failed", "failed"],
    );
    isDown = false;

    assert.deepEqual(await kinds(put(replica, segments(history, [4, 5], [5, 6]))), ["stored", "stored"]);
  });
});

suite("the Go implementation's methods", () => {
  test("store and fetch a snapshot and segments, tell the newest state, and prune", async () => {
    const { store, replica } = open();
    const { generation } = history;
    const snapshot = await replica.putSnapshot(generation, {
      txId: id(4),
      stampMs: 1000,
      body: history.snapshot(4).bytes,
    });
    const segment = await replica.putSegment(generation, history.segment(4, 7).bytes);

    const decoded = await replica.fetchSegment(segment);
    const { raw, header } = await replica.fetchSnapshot(snapshot);
    const bytes = Buffer.concat(await Array.fromAsync(raw));
    const state = await replica.latestState();

    assert.equal(decoded.header.txId, 7n);
    assert.equal((await header).txId, 4n);
    assert.equal(bytes.length, 2048);
    assert.deepEqual(state, {
      generation,
      snapshot: { ...snapshot, timestamp: "1970-01-01T00:00:01.000Z" },
      segments: [{ ...segment, timestamp: "2026-01-02T03:04:12.000Z" }],
      lastUploaded: "2026-01-02T03:04:12.000Z",
    });
    await replica.putSnapshot(generation, { txId: id(7), stampMs: 2000, body: history.snapshot(7).bytes });
    const { removed, retained } = await replica.prune(generation, goPolicy(1), { graceMs: 0 });
    assert.deepEqual([removed.toSorted(), retained], [[segment.name, snapshot.name], []]);
    assert.equal(await replica.writeState(), true);
    assert.deepEqual((await namesIn(store)).length, 2);
    assert.equal((await replica.holdings()).of(generation).snapshots.length, 1);
  });

  test("refuse another history as a fork, and keep it in quarantine", async () => {
    const { replica } = open();
    await replica.putSegment(history.generation, history.segment(4, 5).bytes);

    await assert.rejects(replica.putSegment(history.generation, fork.segment(4, 5).bytes), { code: "fork" });
  });

  test("name a segment without a time as the Go implementation does", async () => {
    const { replica } = open();
    const { header, data } = decodeSegmentFile(history.segment(4, 5).bytes);
    const { encodeSegmentFile } = await import("@pageferry/format");
    const bytes = encodeSegmentFile({ data, header: { ...header, attrs: {} } });

    const { name } = await replica.putSegment(history.generation, bytes);

    assert.equal(name, `${history.generation}/segments/0000000000000005.segment.cbor`);
  });

  test("know no state of an empty archive", async () => {
    assert.equal(await open().replica.latestState(), undefined);
    assert.equal(await open().replica.writeState(), false);
  });

  test("leave a pinned or leased point alone, and prune nothing beside a pin they cannot read", async () => {
    const { store, replica } = open();
    const { generation } = history;
    await put(replica, [
      itemOf(history.snapshot(4)),
      ...segments(history, [4, 7]),
      itemOf(history.snapshot(9)),
    ]);
    const lease = { generation, txId: "0000000000000007", expiresAtMs: Date.now() + 60_000 };
    const prune = () => replica.prune(undefined, goPolicy(1), { graceMs: 0 });

    await store.replace("leases/1.json", Buffer.from(JSON.stringify(lease)));
    assert.deepEqual((await prune()).removed, []);
    await store.replace("leases/1.json", Buffer.from(JSON.stringify({ ...lease, expiresAtMs: 1 })));
    await store.put("pins/1.json", Buffer.from("{"));
    await assert.rejects(prune(), { code: "corrupt" });
    await store.remove(["pins/1.json"]);

    assert.equal((await prune()).removed.length, 2);
  });

  test("report what a store keeps all the same, count it as not removed, and ask for a locked one once a day", async () => {
    const now = { ms: Date.now() };
    const memory = memoryStore();
    const asked: string[][] = [];
    const store: Store = {
      ...memory,
      async remove(all, call) {
        const names = [...all];
        // Marks are no objects of the archive: nothing locks them.
        if (names.every((name) => name.startsWith("app/marks/"))) return memory.remove(names, call);
        const [locked, ...others] = names.toSorted();
        asked.push([...(locked === undefined ? [] : [locked]), ...others]);
        await memory.remove(others, call);
        return [
          ...(locked === undefined ? [] : [{ name: locked, reason: "locked" } as const]),
          ...others.map((name) => ({ name, reason: "delete-marker" }) as const),
        ];
      },
    };
    const replica = createReplica(store, { root: "app", now: () => now.ms });
    await put(replica, [
      itemOf(history.snapshot(4)),
      ...segments(history, [4, 7]),
      itemOf(history.snapshot(9)),
    ]);
    const prune = async () => {
      const { removed, retained } = await replica.prune(undefined, goPolicy(1), { graceMs: 0 });
      return { removed, retained };
    };
    const dayMs = 24 * 60 * 60 * 1000;

    const first = await prune();
    now.ms += dayMs - 1;
    const second = await prune();
    now.ms += 1;
    const third = await prune();

    const lockedName = first.retained.find(({ reason }) => reason === "locked")?.name;
    assert.deepEqual(first.removed, []);
    assert.deepEqual(first.retained.map(({ reason }) => reason).toSorted(), ["delete-marker", "locked"]);
    assert.deepEqual(second, { removed: [], retained: [{ name: lockedName, reason: "locked" }] });
    assert.deepEqual(third, second);
    assert.deepEqual(
      asked.map((names) => names.length),
      [2, 1],
    );
  });

  test("close the store they were given, twice like once, unless it is another's", async () => {
    let closed = 0;
    const store = { ...memoryStore(), close: async () => void closed++ };

    await createReplica(store, { root: "a", ownsStore: false }).close();
    assert.equal(closed, 0);
    await createReplica(store, { root: "a" }).close();
    assert.equal(closed, 1);
  });
});
