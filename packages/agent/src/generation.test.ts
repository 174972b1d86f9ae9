import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { parseGeneration, txId } from "@pageferry/format";
import { type Cursor, emptyCursor, type GenerationCursor } from "./cursor.ts";
import { type BeginFacts, beginGeneration } from "./generation.ts";
import type { BeginEvent } from "./sources/capture-event.ts";

const identity = { device: "1", inode: "1", birthtimeNs: "1", bootId: "b", machineId: "m" };
const parent = { txId: txId(9), stateHash: 9n };
const bridge: BeginEvent = {
  type: "begin",
  reason: "replaced",
  via: "bridge",
  parent,
  txId: txId(12),
  stateHash: 12n,
  pageSize: 4096,
  identity,
};
const facts: BeginFacts = {
  random: Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 1),
  lastTxId: txId(9),
  isParentWhole: true,
  restoredFrom: null,
};
const old: GenerationCursor = {
  generation: parseGeneration("00000000000000aa"),
  parent: null,
  reason: "first",
  epoch: 1,
  pageSize: 4096,
  via: "snapshot",
  parentStateHash: null,
  baseTxId: txId(2),
  baseAtMs: 0,
  baseNeededFrom: null,
  acknowledgedTxId: txId(9),
  isAbandoned: false,
  origin: null,
};

function after(
  generations: readonly GenerationCursor[],
  event: BeginEvent,
  change: Partial<BeginFacts> = {},
) {
  const cursor: Cursor = { ...emptyCursor, generations };
  const begun = beginGeneration(cursor, event, { ...facts, ...change });
  return { kept: begun.generations.slice(0, -1), begun: begun.generations.at(-1) };
}

suite("a generation begins", () => {
  test("with a snapshot and without a parent when it is the first", () => {
    const { begun } = after(
      [],
      { ...bridge, reason: "first", via: "snapshot", parent: null },
      { lastTxId: null },
    );

    assert.deepEqual(
      [begun?.generation, begun?.reason, begun?.parent, begun?.via, begun?.baseNeededFrom, begun?.epoch],
      ["0000000000000001", "first", null, "snapshot", 0n, null],
    );
  });

  test("with a bridge from the state it was compared with", () => {
    const { begun, kept } = after([old], bridge);

    assert.deepEqual(
      [begun?.parent, begun?.via, begun?.baseNeededFrom],
      [{ generation: old.generation, txId: 9n }, "bridge", null],
    );
    assert.deepEqual(kept, [old]);
  });

  test("with a snapshot where the archive will never hold the state a bridge would stand on", () => {
    const { begun } = after([old], bridge, { isParentWhole: false });

    assert.deepEqual([begun?.via, begun?.baseNeededFrom], ["snapshot", 0n]);
  });

  test("with the point that the file was restored from as its parent, also on a machine that never had it", () => {
    const point = { generation: parseGeneration("00000000000000cc"), txId: txId(200) };
    const restoredFrom = { ...point, stateHash: 9n, stampMs: 1 };
    const restored: BeginEvent = { ...bridge, reason: "restored", via: "snapshot", parent: null };
    const nobody = { lastTxId: null, isParentWhole: false, restoredFrom };

    for (const { begun } of [after([], restored, nobody), after([old], restored, { restoredFrom })]) {
      assert.deepEqual([begun?.parent, begun?.reason, begun?.via], [point, "restored", "snapshot"]);
    }
    // One that never came to anything has no say in it.
    const stillborn = { ...old, parent: null, baseTxId: null, acknowledgedTxId: null };
    assert.deepEqual(after([stillborn], restored, nobody).begun?.parent, point);
  });

  test("with a bridge from the point that the file was restored to, whatever this machine had, where it is just that", () => {
    const point = { generation: parseGeneration("00000000000000cc"), txId: txId(9) };
    const facts = { restoredFrom: { ...point, stateHash: 9n, stampMs: 1 }, isParentWhole: false };
    const restored: BeginEvent = { ...bridge, reason: "restored", txId: txId(9), stateHash: 9n };
    const asked = (begun: GenerationCursor | undefined) => [
      begun?.parent,
      begun?.via,
      begun?.parentStateHash,
    ];

    assert.deepEqual(asked(after([], restored, { ...facts, lastTxId: null }).begun), [point, "bridge", 9n]);
    const { begun, kept } = after([old], restored, facts);
    assert.deepEqual([asked(begun), kept], [[point, "bridge", 9n], [old]]);
    // What takes its place before anything came of it stands on the same point; what follows it does not.
    const nothing = { lastTxId: null, isParentWhole: true };
    const unsent = { ...(begun as GenerationCursor), acknowledgedTxId: null };
    assert.deepEqual(asked(after([unsent], bridge, nothing).begun), [point, "bridge", 9n]);
    const [parent, via, stateHash] = asked(after([unsent], bridge).begun);
    assert.deepEqual([parent, via, stateHash], [{ ...point, generation: unsent.generation }, "bridge", null]);
  });

  test("as one that cannot be proved when the source knew nothing of the generation before", () => {
    const { begun } = after([old], { ...bridge, reason: "first", via: "snapshot", parent: null });

    assert.deepEqual(
      [begun?.reason, begun?.parent],
      ["unprovable", { generation: old.generation, txId: 9n }],
    );
  });

  test("in the place of one that never came to anything, with its parent", () => {
    const stillborn = {
      ...old,
      parent: { generation: old.generation, txId: txId(5) },
      via: "bridge" as const,
    };
    const nothing = { ...stillborn, generation: parseGeneration("00000000000000bb"), baseTxId: null };

    const { begun, kept } = after([old, { ...nothing, acknowledgedTxId: null }], bridge, { lastTxId: null });

    assert.deepEqual([begun?.parent?.txId, begun?.via, kept], [5n, "bridge", [old]]);
  });
});
