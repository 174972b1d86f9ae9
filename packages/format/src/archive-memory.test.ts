import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { indexArchive } from "./archive-listing.ts";
import { createArchiveMemory, type ListedReader } from "./archive-memory.ts";
import { type ArchiveReader, listingOf, planFromArchive } from "./archive-reader.ts";
import { PageferryError } from "./errors.ts";
import { frameOf, segmentOf } from "./fixtures.ts";
import { formatGenerationJson } from "./generation-json.ts";
import { generationJsonName, packName, parseGeneration, segmentName, snapshotName } from "./names.ts";
import { encodePack } from "./pack.ts";
import { encodeSegment } from "./segment.ts";
import { segmentAttrs } from "./segment-header.ts";
import { txId } from "./txid.ts";

const generation = parseGeneration("a100000000000000");
const at = (parent: number, last: number) => ({
  generation,
  parentTxId: txId(parent),
  txId: txId(last),
  stampMs: last * 1000,
});
const snapshot = snapshotName(at(0, 1));
const segment = (parent: number, last: number) => segmentName(at(parent, last));
const begin = Buffer.from(
  formatGenerationJson({
    ...{ version: 1, generation, parent: null, reason: "first", epoch: 3, host: "h", pageSize: 4096 },
    receivedAtMs: 1,
  }),
);

/** A reader over objects in memory whose listing grows as they do; `asked` are the names that were read. */
function readerOf(name: string) {
  const bytes = new Map<string, Uint8Array>();
  const asked: string[] = [];
  const state = { listing: new Map<string, number>(), isDown: false };
  const reader: ArchiveReader = {
    name,
    async *list() {},
    async get(object, { offset = 0, length } = {}) {
      asked.push(object);
      const found = bytes.get(object);
      if (found === undefined || state.isDown) {
        throw new PageferryError(state.isDown ? "unavailable" : "not-found", `${name}: ${object}`);
      }
      return (async function* () {
        yield found.subarray(offset, length === undefined ? undefined : offset + length);
      })();
    },
  };
  const listed: ListedReader = {
    reader,
    async listed() {
      if (state.isDown) throw new PageferryError("unavailable", `${name} is down`);
      return state.listing;
    },
  };
  const add = (object: string, content: Uint8Array = Buffer.from("x"), size = content.length) => {
    bytes.set(object, content);
    state.listing.set(object, size);
  };
  return { ...listed, asked, state, add };
}

suite("an archive that is kept", () => {
  test("tells what was added since, in the order in which a fresh one would", async () => {
    const reader = readerOf("one");
    const memory = createArchiveMemory();
    for (const name of [snapshot, segment(1, 2)]) reader.add(name);
    await planFromArchive(await memory.open([reader]), {});
    // Late, and before what is known.
    for (const name of [segment(2, 3), segment(0, 1), segment(3, 4)]) reader.add(name);

    const archive = await memory.open([reader]);

    const fresh = indexArchive([...reader.state.listing].map(([name, size]) => ({ name, size })));
    assert.deepEqual(listingOf(archive), fresh);
    assert.equal((await planFromArchive(archive, {})).txId, 4n);
  });

  test("reads each generation.json and each pack index once, and again when asked for what failed", async () => {
    const reader = readerOf("one");
    const memory = createArchiveMemory();
    const files = [2, 3].map((id) => ({
      bytes: encodeSegment(
        segmentOf({ txId: id, attrs: segmentAttrs({ stampMs: id * 1000 }), pages: [frameOf(0)] }),
      ),
    }));
    const pack = packName(at(1, 3));
    reader.add(generationJsonName(generation), begin);
    reader.add(snapshot);
    reader.add(pack, encodePack(files));
    reader.state.isDown = true;
    await assert.rejects(memory.open([reader]), { code: "unavailable" });
    reader.state.isDown = false;
    for (let call = 1; call <= 3; call += 1) {
      await planFromArchive(await memory.open([reader]), { timestampMs: 2500 });
      reader.add(segment(call + 2, call + 3));
    }

    assert.equal(listingOf(await memory.open([reader])).generations.get(generation)?.link?.epoch, 3);
    assert.deepEqual(reader.asked, [generationJsonName(generation), pack]);
  });

  test("forgets what is gone when a reader was listed anew", async () => {
    const reader = readerOf("one");
    const memory = createArchiveMemory();
    for (const name of [snapshot, segment(1, 2)]) reader.add(name);
    await planFromArchive(await memory.open([reader]), {});
    reader.state.listing = new Map([[snapshot, 1]]);

    assert.equal((await planFromArchive(await memory.open([reader]), {})).txId, 1n);
  });

  test("counts a copy once, with the size of the largest, whichever came first", async () => {
    const [cut, whole] = [readerOf("cut"), readerOf("whole")];
    const memory = createArchiveMemory();
    cut.add(snapshot, Buffer.from("x"), 1);
    await planFromArchive(await memory.open([cut, whole]), {});
    whole.add(snapshot, Buffer.from("xyz"), 3);

    const plan = await planFromArchive(await memory.open([cut, whole]), {});

    assert.equal(plan.bytes, 3);
    assert.deepEqual(plan.holders?.get(snapshot), ["cut", "whole"]);
    assert.deepEqual(
      plan.sizes?.get(snapshot),
      new Map([
        ["cut", 1],
        ["whole", 3],
      ]),
    );
  });

  test("leaves out a reader that cannot be listed, with a warning, and takes it up again", async () => {
    const [one, two] = [readerOf("one"), readerOf("two")];
    const memory = createArchiveMemory();
    one.add(snapshot);
    two.add(snapshot);
    two.add(segment(1, 2));
    two.state.isDown = true;
    const without = await memory.open([one, two]);
    assert.match(without.warnings[0] ?? "", /two cannot be listed/);
    two.state.isDown = false;

    const archive = await memory.open([one, two]);

    assert.deepEqual(archive.warnings, []);
    assert.equal((await planFromArchive(archive, {})).txId, 2n);
    await assert.rejects(createArchiveMemory().open([]), { code: "bad-request" });
  });
});
