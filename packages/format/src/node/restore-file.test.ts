import assert from "node:assert/strict";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { suite, type TestContext, test } from "node:test";
import { makeHistory, type StoredObject } from "../../testing/history.ts";
import { openArchive } from "../archive-open.ts";
import { type ArchiveReader, planFromArchive } from "../archive-reader.ts";
import { isPageferryError } from "../errors.ts";
import { parseGeneration } from "../names.ts";
import { txId } from "../txid.ts";
import { directoryReader } from "./file-reader.ts";
import { type RestoreFileOptions, type RestoreFileResult, restoreFile } from "./restore-file.ts";

const history = makeHistory(parseGeneration("00000000000000a1"), 9, [
  [0],
  [1, 2],
  [],
  [3, 0],
  [5, 8],
  [5, 4],
  [1, 7],
  [2, 3],
]);
const none = { codec: "none", level: 0, window: 0 } as const;
const chain = [3, 4, 5, 6, 7, 8].map((id) => history.segment(id - 1, id));

interface Place {
  readonly root: string;
  readonly output: string;
  readonly reader: ArchiveReader;
}

async function place(t: TestContext, objects: readonly StoredObject[]): Promise<Place> {
  const directory = await mkdtemp(join(tmpdir(), "pageferry-restore-"));
  t.after(() => rm(directory, { recursive: true, force: true }));
  const root = join(directory, "replica");
  for (const { name, bytes } of objects) {
    await mkdir(dirname(join(root, name)), { recursive: true });
    await writeFile(join(root, name), bytes);
  }
  return { root, output: join(directory, "app.db"), reader: directoryReader(root) };
}

async function restore(
  { reader, output }: Place,
  options: Partial<RestoreFileOptions> = {},
): Promise<RestoreFileResult> {
  const plan = await planFromArchive(await openArchive([reader]), {});
  return restoreFile({ plan, readers: [reader], output, threads: 2, ...options });
}

/** The same archive, but not in files that threads can read themselves. */
const remote = ({ name, list, get }: ArchiveReader): ArchiveReader => ({ name, list, get });

suite("a restore to a file, in threads", () => {
  const archives: Record<string, () => Promise<StoredObject[]>> = {
    "of single segments": async () => [await history.snapshot(2), ...chain],
    "of segments that are not compressed": async () => [
      await history.snapshot(2, { compression: none }),
      ...[3, 4, 5, 6, 7, 8].map((id) => history.segment(id - 1, id, { compression: none })),
    ],
    "of a pack and an overlapping range": async () => [
      await history.snapshot(2),
      history.pack([2, 3, 4, 5]),
      history.segment(3, 8),
    ],
    "of a snapshot alone": async () => [await history.snapshot(8)],
    "without state hashes": async () => [
      await history.snapshot(2, { isHashed: false }),
      history.segment(2, 8, { isHashed: false }),
    ],
  };
  for (const [name, objects] of Object.entries(archives)) {
    for (const [where, wrap] of [
      ["out of files", (reader: ArchiveReader) => reader],
      ["out of a store", remote],
    ] as const) {
      test(`${name}, ${where}, gives the exact database`, async (t) => {
        const at = await place(t, await objects());

        const result = await restore({ ...at, reader: wrap(at.reader) });

        assert.equal(result.txId, 8n);
        assert.equal(result.stateHash, history.stateHash(8));
        assert.ok(Buffer.from(history.image(8)).equals(await readFile(at.output)));
        assert.deepEqual(await readdir(dirname(at.output)), ["app.db", "replica"]);
      });
    }
  }

  test("says which object is broken, and leaves nothing", async (t) => {
    const at = await place(t, [await history.snapshot(2), ...chain]);
    const broken = chain[3] as StoredObject;
    const bytes = new Uint8Array(broken.bytes);
    bytes[70] = (bytes[70] as number) ^ 1;
    await writeFile(join(at.root, broken.name), bytes);

    await assert.rejects(restore(at), { code: "corrupt", message: new RegExp(broken.name) });

    assert.deepEqual(await readdir(dirname(at.output)), ["replica"]);
  });

  test("of a snapshot that is broken anywhere gives an error, or the exact database all the same", async (t) => {
    const snapshot = await history.snapshot(8);
    const at = await place(t, [snapshot]);
    let refused = 0;
    for (let byte = 0; byte < snapshot.bytes.length; byte += 7) {
      const bytes = new Uint8Array(snapshot.bytes);
      bytes[byte] = (bytes[byte] as number) ^ 0x10;
      await writeFile(join(at.root, snapshot.name), bytes);
      try {
        await restore(at, { threads: byte % 70 === 0 ? 1 : 0, force: true });
      } catch (error) {
        refused += 1;
        assert.ok(isPageferryError(error), String(error));
        assert.match(error.code, /^(corrupt|too-large|unsupported-version)$/);
        continue;
      }
      // What no checksum covers is the header's time, and names of keys that may be absent.
      assert.ok(Buffer.from(history.image(8)).equals(await readFile(at.output)));
    }
    assert.ok(refused > snapshot.bytes.length / 7 / 2);
  });

  test("ends with its signal's reason, and leaves nothing", async (t) => {
    const at = await place(t, [await history.snapshot(2), ...chain]);
    const stop = new AbortController();

    await assert.rejects(
      restore(at, { signal: stop.signal, parallelism: 1, onProgress: () => stop.abort(new Error("enough")) }),
      /enough/,
    );

    assert.deepEqual(await readdir(dirname(at.output)), ["replica"]);
  });

  test("plans around an object that is gone", async (t) => {
    const at = await place(t, [await history.snapshot(2), ...chain, history.segment(4, 8)]);
    const archive = await openArchive([at.reader]);
    const plan = await planFromArchive(archive, { txId: txId(8) });
    await rm(join(at.root, history.segment(4, 8).name));

    const result = await restoreFile({
      plan,
      readers: [at.reader],
      output: at.output,
      threads: 1,
      replan: (without, point) => planFromArchive(archive, point, { without }),
    });

    assert.equal(result.objects, 7);
    assert.ok(Buffer.from(history.image(8)).equals(await readFile(at.output)));
  });
});
