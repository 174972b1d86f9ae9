import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { companionsAt, indexCompanions } from "./companion-choice.ts";
import { companionsName } from "./companions-name.ts";
import { parseGeneration } from "./names.ts";
import { txId } from "./txid.ts";

const first = parseGeneration("aaaaaaaaaaaaaaaa");
const second = parseGeneration("bbbbbbbbbbbbbbbb");
const links = new Map([[second, { parent: { generation: first, txId: txId(10) } }]]);

function object(generation: typeof first, id: number, stampMs: number) {
  const name = companionsName({ generation, txId: txId(id), stampMs, digest: "0".repeat(16) });
  return { name, size: 1 };
}

function stampAt(
  objects: ReturnType<typeof object>[],
  generation: typeof first,
  id: number,
  notAfterMs?: number,
): number | undefined {
  return companionsAt(indexCompanions(objects), links, { generation, txId: txId(id), notAfterMs })?.stampMs;
}

suite("the companion files of a point", () => {
  test("are the newest that were read while it was the newest, though its commit is older", () => {
    const objects = [object(first, 5, 100), object(first, 7, 300), object(first, 5, 200)];

    assert.equal(stampAt(objects, first, 4), undefined);
    assert.equal(stampAt(objects, first, 5), 200);
    assert.equal(stampAt(objects, first, 6), 200);
    assert.equal(stampAt(objects, first, 9), 300);
  });

  test("are not later than the time that was asked for", () => {
    const objects = [object(first, 5, 100), object(first, 5, 200)];

    assert.equal(stampAt(objects, first, 5, 150), 100);
    assert.equal(stampAt(objects, first, 5, 99), undefined);
  });

  test("are those of the generation before, up to where the point's own began, as long as it has none", () => {
    const old = [object(first, 8, 100), object(first, 12, 200)];

    assert.equal(stampAt(old, second, 20), 100);
    assert.equal(stampAt([...old, object(second, 15, 300)], second, 20), 300);
    assert.equal(stampAt([...old, object(second, 15, 300)], second, 14), 100);
  });

  test("are found where generations claim to come from each other", () => {
    const circle = new Map([
      [first, { parent: { generation: second, txId: txId(1) } }],
      [second, { parent: { generation: first, txId: txId(1) } }],
    ]);

    assert.equal(companionsAt(new Map(), circle, { generation: first, txId: txId(9) }), undefined);
  });

  test("are looked for among their own names only", () => {
    const strange = [
      "files/x",
      "files/../x",
      "aaaaaaaaaaaaaaaa/files/x",
      "files/aaaaaaaaaaaaaaaa/x.files.cbor",
    ];

    assert.equal(indexCompanions(strange.map((name) => ({ name, size: 1 }))).size, 0);
  });
});
