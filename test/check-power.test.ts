// Our check against bbolt's, on the same broken files: what `tx.Check()` finds, ours has to find.
import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { suite, test } from "node:test";
import {
  checkDatabase,
  encodeMetaPage,
  isPageferryError,
  type Meta,
  newestMeta,
  parseMeta,
} from "@pageferry/format";
import { openPageSource } from "@pageferry/format/node";
import { checkFile, openChecker, runWriter, type Verdict } from "./go-apps.ts";
import { hexTxId, pageferryOk } from "./pageferry.ts";
import { type Chance, chance, temporaryDirectory } from "./temporary.ts";

const pageSize = 4096;
const page = (file: Uint8Array, id: number) => file.subarray(id * pageSize, (id + 1) * pageSize);
const view = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

interface Broken {
  readonly file: Uint8Array;
  /** Pages of a kind, by the flags in their headers: 1 branch, 2 leaf, 16 freelist. */
  readonly pagesOf: (flags: number) => number[];
  readonly old: Uint8Array;
  readonly meta: Meta;
  readonly random: Chance;
}

function setMeta(file: Uint8Array, change: (meta: Meta) => Partial<Meta>): void {
  for (const slot of [0, 1] as const) {
    const meta = parseMeta(page(file, slot));
    if (meta !== undefined) {
      page(file, slot).set(encodeMetaPage({ ...meta, ...change(meta) }, slot));
    }
  }
}

/** Ways to break a file; each changes `file` in place. */
const mutations: Record<string, (broken: Broken) => void> = {
  "a byte of a page header or element": ({ file, pagesOf, random }) => {
    const id = random.pick([...pagesOf(1), ...pagesOf(2), ...pagesOf(16)]);
    page(file, id)[random.below(16 + 16 * 6)] = random.below(256);
  },
  "a byte anywhere in the first keys": ({ file, pagesOf, random }) => {
    const leaf = view(page(file, random.pick(pagesOf(2))));
    const at = random.below(1000);
    leaf.setUint8(at, leaf.getUint8(at) ^ (1 << random.below(8)));
  },
  "an older version of a page": ({ file, old, random, meta }) => {
    const id = 2 + random.below(Math.min(meta.highWaterMark, old.length / pageSize) - 2);
    page(file, id).set(page(old, id));
  },
  "a child that is another's child": ({ file, pagesOf, random }) => {
    const branch = view(page(file, random.pick(pagesOf(1))));
    const count = branch.getUint16(10, true);
    const [from, to] = [random.below(count), random.below(count)];
    branch.setBigUint64(16 + 16 * to + 8, branch.getBigUint64(16 + 16 * from + 8, true), true);
  },
  "a child out of bounds": ({ file, pagesOf, random, meta }) => {
    const branch = view(page(file, random.pick(pagesOf(1))));
    branch.setBigUint64(
      16 + 16 * random.below(branch.getUint16(10, true)) + 8,
      BigInt(meta.highWaterMark),
      true,
    );
  },
  "a free page that is in use, or is free twice": ({ file, meta, random }) => {
    const freelist = view(page(file, meta.freelist ?? 0));
    const count = freelist.getUint16(10, true);
    freelist.setBigUint64(
      16 + 8 * random.below(count),
      BigInt(2 + random.below(meta.highWaterMark - 2)),
      true,
    );
  },
  "a freelist that forgets its last page": ({ file, meta }) => {
    const freelist = view(page(file, meta.freelist ?? 0));
    freelist.setUint16(10, freelist.getUint16(10, true) - 1, true);
  },
  "another root": ({ file, meta, random }) => {
    setMeta(file, () => ({ root: 2 + random.below(meta.highWaterMark - 2) }));
  },
  "another freelist page": ({ file, meta, random }) => {
    setMeta(file, () => ({ freelist: 2 + random.below(meta.highWaterMark - 2) }));
  },
  "a high-water mark that is too low or too high": ({ file, random }) => {
    setMeta(file, (meta) => ({ highWaterMark: meta.highWaterMark + random.below(7) - 3 }));
  },
};

/** What bbolt itself says, without our reading of the invariants and lengths. */
function boltFinds(verdict: Verdict): boolean {
  return verdict.errors.some((error) => /^(check|open|begin|panic|checker)/.test(error));
}

function weFind(path: string): boolean {
  try {
    using source = openPageSource(path);
    return checkDatabase(source, { mode: "full" }).problemCount > 0;
  } catch (error) {
    if (isPageferryError(error)) {
      return true;
    }
    throw error;
  }
}

suite("check", () => {
  test("finds what bbolt's own check finds, in files broken at random", async (t) => {
    const random = chance();
    await using directory = await temporaryDirectory();
    const [path, oldPath, broken] = ["app.db", "old.db", "broken.db"].map((name) => directory.file(name));
    assert.ok(path !== undefined && oldPath !== undefined && broken !== undefined);
    await runWriter({ path, count: 400, seed: random.seed + 1 });
    const old = new Uint8Array(await readFile(path));
    await runWriter({ path, count: 60, seed: random.seed + 2 });
    const sound = new Uint8Array(await readFile(path));
    const meta = newestMeta(page(sound, 0), page(sound, 1));
    assert.ok(meta !== undefined);
    const inUse = Array.from({ length: meta.highWaterMark - 2 }, (_, index) => index + 2).filter(
      (id) => view(page(sound, id)).getBigUint64(0, true) === BigInt(id),
    );
    const pagesOf = (flags: number) =>
      inUse.filter((id) => view(page(sound, id)).getUint16(8, true) === flags);
    await using checker = openChecker({ logical: false, timeoutMs: 3000 });
    const missed: string[] = [];
    const figures: Record<string, { bolt: number; ours: number }> = {};

    for (const [name, mutate] of Object.entries(mutations)) {
      const found = { bolt: 0, ours: 0 };
      figures[name] = found;
      for (let round = 0; round < 25; round += 1) {
        const file = Uint8Array.from(sound.subarray(0, meta.highWaterMark * pageSize));
        mutate({ file, pagesOf, old, meta, random });
        await writeFile(broken, file);
        const [bolt, ours] = [await checker.check(broken), weFind(broken)];
        found.bolt += boltFinds(bolt) ? 1 : 0;
        found.ours += ours ? 1 : 0;
        if (boltFinds(bolt) && !ours) {
          missed.push(`${name} (seed ${random.seed}, round ${round}): ${bolt.errors.join("; ")}`);
        }
      }
    }

    t.diagnostic(JSON.stringify(figures));
    assert.deepEqual(missed, []);
    assert.ok(Object.values(figures).reduce((sum, { bolt }) => sum + bolt, 0) > 60, JSON.stringify(figures));
  });

  test("prints the logical hash that the Go listing of the same file has, in every mode", async () => {
    await using directory = await temporaryDirectory();
    const modes = [
      {},
      { noFreelistSync: true },
      { pageSize: 16_384, mapFreelist: true },
      { pageSize: 65_536 },
    ];
    for (const [index, mode] of modes.entries()) {
      const path = directory.file(`mode-${index}.db`);
      await runWriter({ path, count: 150, nested: 0.5, overflow: 0.1, ...mode });
      const verdict = await checkFile(path);

      const said = JSON.parse(await pageferryOk(["check", "--json", path])) as Record<string, unknown>;

      assert.deepEqual(
        { txid: said.txid, logicalHash: said.logicalHash, livePages: said.livePages },
        { txid: hexTxId(verdict.txid), logicalHash: verdict.logicalSha256, livePages: verdict.livePages },
      );
    }
  });
});
