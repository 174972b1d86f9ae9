import assert from "node:assert/strict";
import { suite, test } from "node:test";
import {
  encodePack,
  formatGenerationJson,
  formatTxId,
  generationJsonName,
  packName,
  txId,
} from "@pageferry/format";
import { epochMs, type History, historyOf } from "../testing/history.ts";
import { type ReplicaChain, type WalkChainOptions, walkChain } from "./continuity.ts";
import { createReplica } from "./replica.ts";
import { memoryStore } from "./stores/memory.ts";

interface Held {
  readonly name: string;
  readonly bytes: Uint8Array;
}

const history = historyOf("a1");
const otherHistory = historyOf("a1", "other");
const beginOf = ({ generation, begin }: History): Held => ({
  name: generationJsonName(generation),
  bytes: formatGenerationJson({ version: 1, receivedAtMs: epochMs, ...begin }),
});
const segmentsOf = (from: History, parent: number, last: number): Held[] =>
  Array.from({ length: last - parent }, (_, at) => from.segment(parent + at, parent + at + 1));
const all: readonly Held[] = [beginOf(history), history.snapshot(1), ...segmentsOf(history, 1, 7)];
const [, , second, third, fourth] = all as readonly [Held, Held, Held, Held, Held];

function packOf(from: History, parent: number, last: number): Held {
  const ids = { parentTxId: txId(parent), txId: txId(last), stampMs: epochMs + last * 1000 };
  return {
    name: packName({ generation: from.generation, ...ids }),
    bytes: encodePack(segmentsOf(from, parent, last)),
  };
}

async function walk(
  archives: readonly (readonly Held[])[],
  more: Partial<WalkChainOptions> = {},
): Promise<ReplicaChain[]> {
  const readers = await Promise.all(
    archives.map(async (objects, at) => {
      const store = memoryStore();
      for (const { name, bytes } of objects) await store.put(`r${at}/${name}`, bytes);
      return createReplica(store, { root: `r${at}` }).reader;
    }),
  );
  return walkChain({ readers, ...more });
}

const kinds = ({ findings }: ReplicaChain) => findings.map(({ kind, object }) => [kind, object]);

/** What one replica says of itself when nothing else is there. */
async function alone(objects: readonly Held[], more: Partial<WalkChainOptions> = {}): Promise<ReplicaChain> {
  const [row] = await walk([objects], more);
  return row as ReplicaChain;
}

const replaced = (old: Held, by: Uint8Array): Held[] =>
  all.map((one) => (one === old ? { name: one.name, bytes: by } : one));

suite("the chain of a replica", () => {
  test("that is whole has no findings, and costs its headers only", async () => {
    const large = history.segment(7, 8, 4 * 1024 * 1024);
    const row = await alone([...all, large, packOf(history, 8, 12)]);

    assert.deepEqual([row.findings, row.error, row.objects], [[], null, all.length + 2]);
    assert.deepEqual([row.points, row.newest?.txId], [12, 12n]);
    assert.ok(row.bytesRead < 64 * 1024, `${row.bytesRead} bytes`);
  });

  test("shows the range that is missing, and what lies beyond it", async () => {
    const row = await alone(all.filter((one) => one !== third));

    assert.deepEqual(kinds(row), [
      ["missing", `${history.generation} (${formatTxId(txId(2))}, ${formatTxId(txId(3))}]`],
    ]);
    assert.match(
      row.findings[0]?.why ?? "",
      /2\b.*last point.*5.*cannot be reached|last point before it; \d beyond/,
    );
    assert.deepEqual([row.points, row.newest?.txId], [2, 2n]);
  });

  test("shows two objects that were swapped", async () => {
    const swapped = all.map((one) => {
      if (one === second) return { name: one.name, bytes: fourth.bytes };
      return one === fourth ? { name: one.name, bytes: second.bytes } : one;
    });

    assert.deepEqual(
      kinds(await alone(swapped)).toSorted(),
      [
        ["swapped", second.name],
        ["swapped", fourth.name],
      ].toSorted(),
    );
  });

  for (const [where, held, id] of [
    ["the middle", fourth, 4],
    ["the end", all.at(-1) as Held, 7],
  ] as const) {
    test(`shows an object of another history in ${where}`, async () => {
      const row = await alone(replaced(held, otherHistory.segment(id - 1, id).bytes));

      assert.deepEqual(kinds(row), [["foreign", held.name]]);
    });
  }

  test("shows a snapshot of another state as a fork", async () => {
    const row = await alone([...all, otherHistory.snapshot(5)]);

    assert.deepEqual(kinds(row), [["fork", history.snapshot(5).name]]);
  });

  test("shows a merged range that ends in another state", async () => {
    const row = await alone([...all, otherHistory.segment(2, 6)]);

    assert.deepEqual(kinds(row), [["foreign", history.segment(2, 6).name]]);
  });

  test("shows a pack whose states contradict each other", async () => {
    const mixed = {
      ...packOf(history, 7, 9),
      bytes: encodePack([history.segment(7, 8), otherHistory.segment(8, 9)]),
    };

    assert.deepEqual(kinds(await alone([...all, mixed])), [["corrupt", mixed.name]]);
  });

  test("shows a header that cannot be read, and an object that was cut short", async () => {
    const torn = new Uint8Array(second.bytes);
    torn.fill(0xff, torn.length - 40);
    const row = await alone(
      replaced(second, torn).map((one) =>
        one.name === fourth.name ? { ...one, bytes: one.bytes.subarray(0, 100) } : one,
      ),
    );

    assert.deepEqual(
      kinds(row).toSorted(),
      [
        ["corrupt", second.name],
        ["corrupt", fourth.name],
      ].toSorted(),
    );
  });

  test("shows a generation.json of another generation", async () => {
    const [begin] = all as readonly [Held];
    const row = await alone(replaced(begin, beginOf(historyOf("b2")).bytes));

    assert.deepEqual(kinds(row), [["foreign", begin.name]]);
  });

  test("shows that it was rolled back, where evidence knows a newer state", async () => {
    const reader = "memory://r0/r0";
    const known = { generation: history.generation, txId: txId(7), stampMs: epochMs + 7000 };
    const older = all.slice(0, -2);
    const name = (await alone(older)).replica;

    const row = await alone(older, { known: new Map([[name, [known]]]) });
    const still = await alone(all, { known: new Map([[name, [known]]]) });
    const replacedByOther = await alone([beginOf(historyOf("b2")), historyOf("b2").snapshot(9)], {
      known: new Map([[name, [known]]]),
    });

    assert.deepEqual(kinds(row), [["rolled-back", `${history.generation} ${formatTxId(txId(7))}`]], reader);
    assert.deepEqual([still.findings, replacedByOther.findings], [[], []]);
  });

  test("follows a bridge into the parent, and shows one that does not fit there", async () => {
    const parent = { generation: history.generation, txId: txId(5) };
    const child = historyOf("b2", "", { parent, epoch: 2 });
    const fits = child.segment(5, 9);
    // A bridge goes on from its parent's state; this history says another one.
    const row = await alone([...all, beginOf(child), fits]);

    assert.deepEqual(kinds(row), [["foreign", fits.name]]);
  });

  test("is no matter of Go-made objects, which say nothing of states", async () => {
    const row = await alone([
      ...all,
      { name: `${history.generation}/segments/notes.txt`, bytes: new Uint8Array(3) },
    ]);

    assert.deepEqual(row.findings, []);
  });
});

suite("the chains of several replicas", () => {
  test("agree where one merged what the other has piece by piece", async () => {
    const merged = [...all.slice(0, 2), history.segment(1, 5), ...all.slice(6)];

    for (const row of await walk([all, merged])) assert.deepEqual([row.findings, row.error], [[], null]);
  });

  test("show a fork in both where they tell two histories, each sound by itself", async () => {
    const forked = [...all.slice(0, 6), history.segment(5, 6), otherHistory.segment(6, 7)];
    const mine = [...all.slice(0, 6), history.segment(5, 6), history.segment(6, 7)];
    // Sound by itself: it goes on from a state that nothing else in this replica tells.
    const other = [beginOf(history), otherHistory.snapshot(1), ...segmentsOf(otherHistory, 1, 4)];

    const [first, theirs] = await walk([mine, other]);

    assert.ok((first?.findingCount ?? 0) > 0 && (theirs?.findingCount ?? 0) > 0);
    assert.ok([...(first?.findings ?? []), ...(theirs?.findings ?? [])].every(({ kind }) => kind === "fork"));
    const [whole, changed] = await walk([mine, forked]);
    assert.deepEqual(kinds(changed as ReplicaChain), [["foreign", history.segment(6, 7).name]]);
    assert.equal(whole?.findingCount, 1);
  });

  test("go on without one that does not answer", async () => {
    const store = memoryStore();
    const { reader } = createReplica(store, { root: "x" });
    const dead = {
      ...reader,
      async *list(): AsyncGenerator<never> {
        yield* [];
        throw new Error("gone");
      },
    };
    const rows = await walkChain({ readers: [dead] });

    assert.match(rows[0]?.error ?? "", /gone/);
  });

  test("give up a replica whose reads hang, and end when they are stopped", async () => {
    const store = memoryStore();
    for (const { name, bytes } of all) await store.put(`x/${name}`, bytes);
    const { reader } = createReplica(store, { root: "x" });
    const hung = {
      ...reader,
      get: (name: string, range?: object) =>
        name.endsWith(".cbor") ? new Promise<never>(() => undefined) : reader.get(name, range),
    };

    const [row] = await walkChain({ readers: [hung], readMs: 50 });
    assert.match(row?.error ?? "", /unavailable/);

    const stop = new AbortController();
    const stopped = walkChain({ readers: [hung], signal: stop.signal });
    setTimeout(() => stop.abort(new Error("stopped")), 20);
    await assert.rejects(stopped, /stopped/);
  });
});
