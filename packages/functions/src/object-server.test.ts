import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { type ArchiveReader, PageferryError, type ReadRange } from "@pageferry/format";
import { createObjectServer } from "./object-server.ts";

const name = "a100000000000000/segments/0000000000000002.segment.cbor";
const bytes = Buffer.from(Array.from({ length: 1000 }, (_, at) => at % 251));

/** A reader that gives the object in pieces, and may fail after some bytes. */
function readerOf(
  reader: string,
  failAfter = Number.POSITIVE_INFINITY,
  code: "unavailable" | "not-found" = "unavailable",
) {
  const asked: ReadRange[] = [];
  const archive: ArchiveReader & { readonly asked: ReadRange[] } = {
    name: reader,
    asked,
    async *list() {
      yield { name, size: bytes.length };
    },
    async get(_name, range = {}) {
      asked.push(range);
      if (failAfter < 0) throw new PageferryError(code, `${reader}: ${code}`);
      const { offset = 0, length = bytes.length - offset } = range;
      const part = bytes.subarray(offset, offset + length);
      return (async function* () {
        for (let at = 0; at < part.length; at += 100) {
          if (at >= failAfter) throw new PageferryError("unavailable", `${reader}: reset`);
          yield part.subarray(at, at + 100);
        }
      })();
    },
  };
  return archive;
}

async function read(readers: readonly ArchiveReader[], range: ReadRange = {}): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of await createObjectServer().open(readers, { name }, range)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

suite("an object that a host gives", () => {
  test("comes from the next replica, from where the first one broke off", async () => {
    const [broken, whole] = [readerOf("broken", 300), readerOf("whole")];

    const got = await read([broken, whole]);

    assert.ok(got.equals(bytes));
    assert.deepEqual(
      whole.asked.map(({ offset }) => offset),
      [300],
    );
  });

  test("keeps to its range wherever it breaks off", async () => {
    const readers = [readerOf("one", 200), readerOf("two", 100), readerOf("three")];

    const got = await read(readers, { offset: 50, length: 700 });

    assert.ok(got.equals(bytes.subarray(50, 750)));
  });

  test("comes from whichever has it, and is not-found only when all were asked", async () => {
    const lacking = readerOf("lacking", -1, "not-found");

    assert.ok((await read([lacking, readerOf("whole")])).equals(bytes));
    await assert.rejects(read([lacking, readerOf("other", -1, "not-found")]), { code: "not-found" });
    await assert.rejects(read([lacking, readerOf("down", -1)]), { code: "unavailable" });
  });

  test("fails when nobody can go on", async () => {
    await assert.rejects(read([readerOf("one", 300), readerOf("two", 200)]), { code: "unavailable" });
  });

  test("is none of a store's other things", async () => {
    const open = createObjectServer().open([readerOf("one")], { name: "../token" }, {});

    await assert.rejects(open, { code: "not-found" });
  });
});
