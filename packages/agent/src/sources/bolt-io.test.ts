import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { encodeMetaPage, type MetaFields, txId } from "@pageferry/format";
import { createMetaReader } from "./bolt-io.ts";

const pageSize = 4096;

function metaPage(id: number): Uint8Array {
  const fields: MetaFields = {
    pageSize,
    flags: 0,
    root: 3,
    sequence: 0n,
    freelist: 2,
    highWaterMark: 4,
    txId: txId(id),
  };
  return encodeMetaPage(fields, id % 2 === 0 ? 0 : 1);
}

function torn(page: Uint8Array): Uint8Array {
  const copy = page.slice();
  copy[70] = (copy[70] as number) ^ 1;
  return copy;
}

/** A reader whose slots answer what the scripts say, read after read, the last for ever. */
function scripted(slot0: Uint8Array[], slot1: Uint8Array[]) {
  const scripts = [slot0, slot1] as const;
  const reads = [0, 0] as [number, number];
  const reader = createMetaReader((position, into) => {
    const slot = position === 0 ? 0 : 1;
    const script = scripts[slot];
    const page = script[Math.min(reads[slot], script.length - 1)] as Uint8Array;
    reads[slot] += 1;
    const length = Math.min(into.length, page.length);
    into.set(page.subarray(0, length));
    return length;
  }, pageSize);
  return { reader, reads };
}

suite("the newest meta", () => {
  test("is the valid one with the higher txid, and tells what the other slot holds", () => {
    const { reader } = scripted([metaPage(8)], [metaPage(7)]);

    const view = reader.read();

    assert.equal(view?.meta.txId, 8n);
    assert.equal(view?.other?.txId, 7n);
    assert.deepEqual(view?.otherRaw, metaPage(7).subarray(0, 80));
  });

  test("is the same object while nothing changes, and another when a byte does", () => {
    const { reader } = scripted([metaPage(8), metaPage(8), metaPage(10)], [metaPage(7)]);

    const first = reader.read();

    assert.equal(reader.read(), first);
    assert.equal(reader.read()?.meta.txId, 10n);
  });

  test("is the other slot's where one is torn", () => {
    const { reader } = scripted([metaPage(8)], [torn(metaPage(9))]);

    assert.equal(reader.read()?.meta.txId, 8n);
  });

  test("is not taken from a look that a whole commit came into: valid, then torn by the commit after the next", () => {
    // Slot 0 holds 8 when it is read; then 10 is committed there, and 11 is half written when slot 1 is read.
    const { reader } = scripted([metaPage(8), metaPage(10)], [torn(metaPage(11))]);

    assert.equal(reader.read()?.meta.txId, 10n);
  });

  test("is unknown where neither slot is valid, for a moment or for good", () => {
    const { reader } = scripted([torn(metaPage(8))], [torn(metaPage(7))]);

    assert.equal(reader.read(), undefined);
  });

  test("is unknown in a file that is shorter, also when it was known before", () => {
    const { reader } = scripted([metaPage(8), new Uint8Array(0)], [metaPage(7), new Uint8Array(0)]);
    reader.read();

    assert.equal(reader.read(), undefined);
  });

  test("is unknown where the page size is another", () => {
    const other = encodeMetaPage(
      { pageSize: 8192, flags: 0, root: 3, sequence: 0n, freelist: 2, highWaterMark: 4, txId: txId(8) },
      0,
    );
    const { reader } = scripted([other], [torn(metaPage(7))]);

    assert.equal(reader.read(), undefined);
  });
});
