import assert from "node:assert/strict";
import { suite, test } from "node:test";
import fc from "fast-check";
import { replicas, segments, snapshots, truths } from "../../testing/golden.ts";
import { type TxId, txId } from "../txid.ts";
import {
  deriveMeta,
  detectPageSize,
  encodeMetaPage,
  type MetaFields,
  metaPagesFor,
  metaSlot,
  newestMeta,
  parseMeta,
} from "./meta.ts";

const sample: MetaFields = {
  pageSize: 4096,
  flags: 0,
  root: 72,
  sequence: 0n,
  freelist: 73,
  highWaterMark: 189,
  txId: txId(377),
};

const metas = fc.record({
  pageSize: fc.constantFrom(1024, 4096, 16_384, 65_536),
  flags: fc.nat(),
  root: fc.integer({ min: 2, max: 2 ** 32 - 2 }),
  sequence: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  freelist: fc.option(fc.integer({ min: 2, max: 2 ** 32 - 2 })),
  highWaterMark: fc.integer({ min: 3, max: 2 ** 32 - 1 }),
  txId: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map(txId),
});

suite("a meta page", () => {
  for (const replica of replicas) {
    test(`says what the Go implementation recorded of it, and is made again to the byte: ${replica}`, () => {
      for (const truth of truths(replica)) {
        const bytes = Buffer.from(truth.metaPageHex80, "hex");

        const meta = parseMeta(bytes);

        assert.ok(meta !== undefined);
        assert.equal(meta.txId, BigInt(truth.txId));
        assert.equal(meta.root, Number(truth.root));
        assert.equal(meta.highWaterMark, Number(truth.highWaterMark));
        const page = encodeMetaPage(meta, truth.metaPageId);
        assert.equal(page.length, meta.pageSize);
        assert.deepEqual(Buffer.from(page.subarray(0, 80)), bytes);
        assert.ok(page.subarray(80).every((byte) => byte === 0));
      }
    });
  }

  test("is what went in, for any meta", () => {
    fc.assert(
      fc.property(metas, fc.constantFrom(0 as const, 1 as const), (meta, slot) => {
        const { checksum, ...fields } = parseMeta(encodeMetaPage(meta, slot)) ?? { checksum: 0n };

        assert.deepEqual(fields, { ...meta });
        assert.equal(checksum, fnv1a(encodeMetaPage(meta, slot).subarray(16, 72)));
      }),
    );
  });

  test("with any one bit of the meta flipped is torn", () => {
    const page = encodeMetaPage(sample, 1);

    for (let bit = 16 * 8; bit < 80 * 8; bit += 1) {
      const torn = page.slice();
      torn[bit >> 3] = (torn[bit >> 3] as number) ^ (1 << (bit & 7));
      assert.equal(parseMeta(torn), undefined, `bit ${bit}`);
    }
  });

  test("is not found in zeros, in too few bytes, or under another magic, version or impossible page size", () => {
    const page = encodeMetaPage(sample, 1);

    assert.equal(parseMeta(new Uint8Array(4096)), undefined);
    assert.equal(parseMeta(page.subarray(0, 79)), undefined);
    assert.equal(parseMeta(page.subarray(0, 4)), undefined);
    assert.notEqual(parseMeta(page.subarray(0, 80)), undefined);
    assert.equal(parseMeta(resummed(page, 16, 0xed0cdaee)), undefined);
    assert.equal(parseMeta(resummed(page, 20, 3)), undefined);
    for (const pageSize of [0, 256, 4095, 5000, 131_072]) {
      assert.equal(parseMeta(resummed(page, 24, pageSize)), undefined, `page size ${pageSize}`);
    }
    assert.equal(parseMeta(resummed(page, 24, 8192))?.pageSize, 8192);
  });

  test("is the newer of two valid ones, the other where one is torn, and none where both are", () => {
    const older = encodeMetaPage(sample, 1);
    const newer = encodeMetaPage({ ...sample, txId: txId(378), root: 80 }, 0);
    const torn = new Uint8Array(4096);

    assert.equal(newestMeta(newer, older)?.txId, 378n);
    assert.equal(newestMeta(older, newer)?.txId, 378n);
    assert.equal(newestMeta(torn, older)?.txId, 377n);
    assert.equal(newestMeta(newer, torn)?.txId, 378n);
    assert.equal(newestMeta(torn, torn), undefined);
    assert.equal(newestMeta(encodeMetaPage({ ...sample, root: 5 }, 0), older)?.root, 5);
  });
});

suite("the two meta pages of a state", () => {
  for (const T of [376, 377]) {
    test(`hold transaction ${T} in its own slot, and the one before it, with a valid checksum, in the other`, () => {
      const pages = metaPagesFor(encodeMetaPage({ ...sample, txId: txId(T) }, metaSlot(txId(T))));

      const [own, other] = [parseMeta(pages[T % 2 === 0 ? 0 : 1]), parseMeta(pages[T % 2 === 0 ? 1 : 0])];

      assert.deepEqual(
        pages.map((page) => [page[0], page[8], page.length]),
        [
          [0, 4, 4096],
          [1, 4, 4096],
        ],
      );
      assert.equal(own?.txId, BigInt(T));
      assert.equal(other?.txId, BigInt(T - 1));
      assert.notEqual(own?.checksum, other?.checksum);
      assert.deepEqual({ ...other, txId: own?.txId, checksum: own?.checksum }, own);
    });
  }

  test("of transaction 0 hold it alone, beside a meta page that is not valid", () => {
    const pages = metaPagesFor(encodeMetaPage({ ...sample, txId: txId(0) }, 0));

    assert.equal(newestMeta(...pages)?.txId, 0n);
    assert.equal(parseMeta(pages[1]), undefined);
    assert.deepEqual([pages[1][0], pages[1][8]], [1, 4]);
  });

  test("are not made from a torn one", () => {
    assert.throws(() => metaPagesFor(new Uint8Array(4096)), { code: "corrupt" });
  });
});

suite("the page size of a file", () => {
  for (let pageSize = 1024; pageSize <= 65_536; pageSize *= 2) {
    test(`of ${pageSize} is found, also when meta 0 is torn`, () => {
      const file = new Uint8Array(2 * pageSize);
      for (const [slot, page] of metaPagesFor(encodeMetaPage({ ...sample, pageSize }, 1)).entries()) {
        file.set(page, slot * pageSize);
      }

      const whole = detectPageSize(readerOf(file));
      file[50] = (file[50] as number) ^ 1;
      const torn = detectPageSize(readerOf(file));

      assert.deepEqual([whole, torn], [pageSize, pageSize]);
    });
  }

  test("is not taken from an old meta that lies elsewhere in a page", () => {
    const file = new Uint8Array(2 * 16_384);
    file.set(encodeMetaPage({ ...sample, pageSize: 16_384 }, 1), 4096);
    file.set(encodeMetaPage({ ...sample, pageSize: 16_384 }, 1), 16_384);

    assert.equal(detectPageSize(readerOf(file)), 16_384);
    assert.equal(detectPageSize(readerOf(file.subarray(0, 16_384))), undefined);
  });

  test("is not found in what is no bolt file, however short", () => {
    for (const length of [0, 4, 80, 5000]) {
      assert.equal(detectPageSize(readerOf(new Uint8Array(length).fill(0x62))), undefined);
    }
  });
});

suite("the meta of a segment that carries none", () => {
  for (const replica of replicas) {
    test(`is derived to the byte that the live file had, at every transaction: ${replica}`, () => {
      const truth = new Map(truths(replica).map((entry) => [`${entry.generation} ${entry.txId}`, entry]));

      let derived = 0;
      for (const first of firstSnapshots(replica)) {
        let parent: MetaFields | undefined = newestMeta(first.image, first.image.subarray(first.pageSize));
        for (const segment of segments(replica, first.generation).filter((one) => one.txId > first.txId)) {
          const meta = deriveMeta(segment, parent);
          const expected = truth.get(`${first.generation} ${segment.txId}`);
          assert.ok(meta.root !== undefined && expected !== undefined);
          parent = { ...meta, root: meta.root };
          const page = Buffer.from(encodeMetaPage(parent, metaSlot(parent.txId))).subarray(0, 80);
          assert.equal(page.toString("hex"), expected.metaPageHex80, `transaction ${segment.txId}`);
          derived += 1;
        }
      }

      assert.equal(derived, { replica: 448, "replica-nofreelist": 39, "replica-16k-none": 9 }[replica]);
    });
  }

  test("has the parent's root and sequence where the transaction wrote no tree page, and none without a parent", () => {
    const evidence = {
      txId: txId(9),
      pageSize: 4096,
      highWaterMark: 20n,
      frames: [{ id: 5n, data: pageOf(5, 0x10) }],
    };

    const known = deriveMeta(evidence, { root: 7, sequence: 3n });
    const unknown = deriveMeta(evidence);

    assert.deepEqual(known, {
      ...sample,
      txId: 9n as TxId,
      root: 7,
      sequence: 3n,
      freelist: 5,
      highWaterMark: 20,
    });
    assert.equal(unknown.root, undefined);
  });

  test("has no freelist where no frame is one", () => {
    const evidence = {
      txId: txId(9),
      pageSize: 4096,
      highWaterMark: 20,
      frames: [{ id: 5, data: pageOf(5, 2) }],
    };

    assert.equal(deriveMeta(evidence).freelist, null);
    assert.equal(deriveMeta(evidence).root, 5);
  });

  test("does not count a meta page that is among the frames", () => {
    const frames = [
      { id: 1, data: encodeMetaPage(sample, 1) },
      { id: 5, data: pageOf(5, 2) },
    ];

    assert.equal(deriveMeta({ txId: txId(9), pageSize: 4096, highWaterMark: 20, frames }).root, 5);
  });

  test("is refused where two pages could be the root or the freelist, none could, or one is neither", () => {
    const given = (...pages: [id: number, flags: number][]) =>
      deriveMeta({
        txId: txId(9),
        pageSize: 4096,
        highWaterMark: 20,
        frames: pages.map(([id, flags]) => ({ id, data: pageOf(id, flags) })),
      });

    assert.throws(() => given([5, 2], [6, 2]), {
      code: "corrupt",
      message: /5 and 6 could both be the root/,
    });
    assert.throws(() => given([5, 16], [6, 16]), {
      code: "corrupt",
      message: /5 and 6 could both be the freelist/,
    });
    assert.throws(() => given([5, 8]), { code: "corrupt", message: /page 5/ });
    const circle = pageOf(5, 1);
    circle[10] = 1;
    circle[16 + 8] = 5;
    const evidence = { txId: txId(9), pageSize: 4096, highWaterMark: 20, frames: [{ id: 5, data: circle }] };
    assert.throws(() => deriveMeta(evidence), { code: "corrupt", message: /none is the root/ });
  });
});

function firstSnapshots(replica: string) {
  const first = new Map<string, ReturnType<typeof snapshots>[number]>();
  for (const snapshot of snapshots(replica)) {
    if (!first.has(snapshot.generation)) first.set(snapshot.generation, snapshot);
  }
  return first.values();
}

function pageOf(id: number, flags: number): Uint8Array {
  const page = new Uint8Array(4096);
  page[0] = id;
  page[8] = flags;
  return page;
}

function readerOf(file: Uint8Array): (offset: number, length: number) => Uint8Array {
  return (offset, length) => file.subarray(offset, offset + length);
}

/** The page with another u32 at `at`, and the checksum that goes with it. */
function resummed(page: Uint8Array, at: number, value: number): Uint8Array {
  const copy = page.slice();
  const view = new DataView(copy.buffer);
  view.setUint32(at, value, true);
  view.setBigUint64(72, fnv1a(copy.subarray(16, 72)), true);
  return copy;
}

/** FNV-1a 64 as its authors write it. */
function fnv1a(bytes: Uint8Array): bigint {
  return bytes.reduce(
    (hash, byte) => BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n),
    0xcbf29ce484222325n,
  );
}
