import assert from "node:assert/strict";
import { test } from "node:test";
import { parseDatabaseName } from "@pageferry/format";
import { openObjectNotes } from "../../object-notes.ts";
import { memoryStore } from "../../stores/memory.ts";
import { createHoleNotes, holeNotes } from "./hole-notes.ts";

const app = parseDatabaseName("app");

test("since when a hole is known is known to the next process, and forgotten with the hole", async () => {
  const store = memoryStore();
  const open = async () => {
    const notes = await openObjectNotes({ store, prefixes: [holeNotes] });
    return { notes, holes: createHoleNotes(notes) };
  };
  const first = await open();
  first.holes.of(app).set("a1 05 07", 1000);
  first.holes.keep(app);
  await first.notes.save();

  const second = await open();
  const seen = second.holes.of(app);
  assert.deepEqual(seen, new Map([["a1 05 07", 1000]]));
  seen.clear();
  second.holes.keep(app);
  await second.notes.save();

  assert.deepEqual((await open()).holes.of(app), new Map());
  assert.deepEqual((await open()).holes.of(parseDatabaseName("app2")), new Map());
});
