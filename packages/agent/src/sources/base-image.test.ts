import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { createXxh3 } from "@pageferry/format";
import { createPageTable } from "../page-table.ts";
import { copySome, createBaseImage, type ImageFile, isWhole, overlayFrames } from "./base-image.ts";

const pageSize = 4096;

function block(fill: number): Uint8Array {
  return new Uint8Array(pageSize).fill(fill);
}

/** A table of pages 2 to 9, each filled with its id, and a file that has them. */
function fixture() {
  const table = createPageTable(pageSize);
  const xxh3 = createXxh3();
  const file = new Uint8Array(10 * pageSize);
  const written = new Map<number, number>();
  for (let id = 2; id < 10; id += 1) {
    file.set(block(id), id * pageSize);
    const digests = new Uint8Array(16);
    xxh3.pageDigest(id, block(id), digests, 0);
    table.addRun({ id, overflow: 0, digests });
  }
  const imageFile: ImageFile = {
    path: "image",
    writeAt(position, bytes) {
      for (let at = 0; at < bytes.length; at += pageSize)
        written.set((position + at) / pageSize, bytes[at] as number);
    },
    finish() {},
    discard() {},
  };
  const readAt = (position: number, into: Uint8Array): number => {
    const bytes = file.subarray(position, position + into.length);
    into.set(bytes);
    return bytes.length;
  };
  return { table, file, written, image: createBaseImage(imageFile, 0), readAt };
}

suite("an image", () => {
  test("takes the blocks that are what the table says, and leaves the others for the next round", () => {
    const { table, file, written, image, readAt } = fixture();
    file.set(block(77), 5 * pageSize);

    while (copySome(image, table, readAt, 3) > 0);

    assert.deepEqual([...written.keys()], [2, 3, 4, 6, 7, 8, 9]);
    assert.equal(image.missed, 1);
    assert.equal(isWhole(image, table), false);
  });

  test("is whole when a later round found the rest", () => {
    const { table, file, image, readAt } = fixture();
    file.set(block(77), 5 * pageSize);
    while (copySome(image, table, readAt, 64) > 0);
    file.set(block(5), 5 * pageSize);
    image.cursor = 2;

    copySome(image, table, readAt, 64);

    assert.equal(isWhole(image, table), true);
  });

  test("is whole when a delta brought the rest, with no meta page of it", () => {
    const { table, file, written, image, readAt } = fixture();
    file.set(block(77), 5 * pageSize);
    while (copySome(image, table, readAt, 64) > 0);

    overlayFrames(image, pageSize, [
      { id: 1, overflow: 0, data: block(1) },
      { id: 5, overflow: 0, data: block(5) },
    ]);

    assert.equal(isWhole(image, table), true);
    assert.equal(written.has(1), false);
  });

  test("takes nothing of a file that ends too early", () => {
    const { table, file, image } = fixture();
    const readAt = (position: number, into: Uint8Array): number => {
      const bytes = file.subarray(position, Math.min(position + into.length, 4.5 * pageSize));
      into.set(bytes);
      return bytes.length;
    };

    while (copySome(image, table, readAt, 64) > 0);

    assert.equal(image.copied.count(), 2);
    assert.equal(image.missed, 6);
  });
});
