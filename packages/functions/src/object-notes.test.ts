import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { PageferryError } from "@pageferry/format";
import { openObjectNotes } from "./object-notes.ts";
import type { Store } from "./store.ts";
import { memoryStore } from "./stores/memory.ts";
import { mergeUpkeep } from "./upkeep.ts";

const prefixes = ["source/", "upkeep/"];
const name = "upkeep/app/s3://bucket/a~b?endpoint=http://x";

async function namesIn(store: Store): Promise<string[]> {
  return (await Array.fromAsync(store.list(""))).map((object) => object.name);
}

suite("notes in objects", () => {
  test("are there for who comes next, whatever is in their names", async () => {
    const store = memoryStore();
    const notes = await openObjectNotes({ store, prefixes });
    notes.setNote(name, "done");
    notes.setNote("source/app", "heard");
    assert.deepEqual(await namesIn(store), [], "nothing is written before it is saved");

    await notes.save();

    for (const object of await namesIn(store)) assert.match(object, /^state\/[^/]+\.json$/);
    const next = await openObjectNotes({ store, prefixes });
    assert.deepEqual(next.notes("upkeep/"), new Map([[name, "done"]]));
    assert.deepEqual(
      (await openObjectNotes({ store, prefixes: ["source/"] })).notes(""),
      new Map([["source/app", "heard"]]),
    );
  });

  test("that are dropped are gone, and nothing is deleted for it", async () => {
    const store = memoryStore();
    const kept: Store = { ...store, remove: () => assert.fail("nobody may delete here") };
    const notes = await openObjectNotes({ store: kept, prefixes });
    notes.setNote("source/app", "heard");
    await notes.save();
    notes.dropNote("source/app");
    assert.deepEqual(notes.notes("source/"), new Map());

    await notes.save();

    assert.deepEqual((await openObjectNotes({ store, prefixes })).notes(""), new Map());
  });

  test("of others are seen at the next look, and what was set here stays", async () => {
    const store = memoryStore();
    const [mine, theirs] = [
      await openObjectNotes({ store, prefixes }),
      await openObjectNotes({ store, prefixes }),
    ];
    theirs.setNote("source/a", "theirs");
    theirs.setNote("source/b", "theirs");
    await theirs.save();
    mine.setNote("source/b", "mine");

    await mine.refresh();

    assert.deepEqual(
      mine.notes("source/"),
      new Map([
        ["source/a", "theirs"],
        ["source/b", "mine"],
      ]),
    );
  });

  test("that two write at once are merged where it is known how", async () => {
    const store = memoryStore();
    const merges = { "upkeep/": mergeUpkeep };
    const done = (atMs: number) => ({ atMs, objects: 1, bytes: 2 });
    const nothing = { compaction: null, prune: null, repair: null };
    const [compact, prune] = [
      await openObjectNotes({ store, prefixes, merges }),
      await openObjectNotes({ store, prefixes, merges }),
    ];
    compact.setNote(name, JSON.stringify({ ...nothing, compaction: done(5) }));
    await compact.save();
    prune.setNote(name, JSON.stringify({ ...nothing, compaction: done(3), prune: done(4) }));
    // One that began at the same time, found the work done, and had nothing to tell but that.
    const late = await openObjectNotes({ store, prefixes, merges });
    late.setNote(name, JSON.stringify({ ...nothing, compaction: { atMs: 6, objects: 0, bytes: 0 } }));
    await late.save();

    await prune.save();

    await compact.refresh();
    assert.deepEqual(JSON.parse(compact.notes(name).get(name) ?? ""), {
      ...{ compaction: done(5), prune: done(4), repair: null },
    });
  });

  test("that could not be written are written later", async () => {
    const store = memoryStore();
    let isAway = true;
    const failing: Store = {
      ...store,
      replace: async (...call) => {
        if (isAway) throw new PageferryError("unavailable", "away");
        return store.replace(...call);
      },
    };
    const notes = await openObjectNotes({ store: failing, prefixes });
    notes.setNote("source/app", "heard");
    await assert.rejects(notes.save(), { code: "unavailable" });
    isAway = false;

    await notes.save();

    assert.deepEqual(await namesIn(store), ["state/source~app.json"]);
  });
});
