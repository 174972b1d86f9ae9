import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { parseDatabaseName } from "@pageferry/format";
import type { Happening } from "./event-log.ts";
import { createUpkeep } from "./upkeep.ts";

const place = { database: parseDatabaseName("app"), replica: "file:///mnt/a" };
const merge = (sources: number) => ({ name: "x", level: 0, sources, bytesIn: 10, bytesOut: 7 });
const compaction = (...merged: ReturnType<typeof merge>[]) => ({
  dryRun: false,
  merged,
  bytesIn: 10,
  bytesOut: 7,
});

function open(notes = new Map<string, string>()) {
  const [told, changed]: [Happening[], string[]] = [[], []];
  let nowMs = 1000;
  const upkeep = createUpkeep({
    now: () => nowMs++,
    notes: { notes: () => new Map(notes), setNote: (name, value) => void notes.set(name, value) },
    happened: (happening) => told.push(happening),
    onChange: (database) => changed.push(database),
  });
  return { upkeep, told, changed, notes };
}

suite("what was done", () => {
  test("is remembered, also by the next process, and told where it came to something", () => {
    const { upkeep, told, changed, notes } = open();

    upkeep.compacted(place, compaction(merge(3), merge(4)));
    upkeep.compacted(place, compaction());
    upkeep.pruned(place, { dryRun: false, removed: ["a", "b"], bytesFreed: 50 });
    upkeep.pruned(place, { dryRun: true, removed: [], bytesFreed: 0 });

    assert.deepEqual(
      told.map(({ kind, message }) => `${kind}: ${message}`),
      ["compacted: 7 objects became 2", "pruned: 2 objects are gone, 50 bytes are free"],
    );
    assert.deepEqual(upkeep.of(place), {
      compaction: { atMs: 1001, objects: 0, bytes: 3 },
      prune: { atMs: 1002, objects: 2, bytes: 50 },
      repair: null,
    });
    assert.equal(changed.length, 3);
    assert.deepEqual(open(notes).upkeep.of(place).prune, { atMs: 1002, objects: 2, bytes: 50 });
  });

  test("of a repair is told of each replica by the name that the status gives it", () => {
    const { upkeep, told } = open();
    const row = {
      copied: 2,
      bytes: 9,
      healed: 1,
      checked: null,
      broken: [],
      failed: [],
      failures: 0,
      error: null,
    };

    const report = { dryRun: false, points: 1, isWhole: true, unlisted: [] };
    upkeep.repaired({ ...report, database: "app", replicas: [{ replica: "file:///mnt/a/app", ...row }] });

    assert.deepEqual(told, [{ ...place, kind: "repaired", message: "2 objects were copied, 1 was healed" }]);
    assert.deepEqual(upkeep.of(place).repair, { atMs: 1000, objects: 3, bytes: 9 });
  });

  test("stays so when it cannot be noted, and a note that cannot be read is none", () => {
    const { upkeep } = open(new Map([["upkeep/app/file:///mnt/a", "{"]]));
    assert.equal(upkeep.of(place).compaction, null);
    const full = createUpkeep({
      now: () => 1,
      notes: {
        notes: () => new Map(),
        setNote() {
          throw new Error("full");
        },
      },
      happened: () => undefined,
      onChange: () => undefined,
    });

    full.compacted(place, compaction(merge(2)));

    assert.equal(full.of(place).compaction?.objects, 2);
  });
});
