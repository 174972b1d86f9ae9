// What no soak may overlook: a byte of a live page that is another one, and a segment that the host has lost.
import { open, rm } from "node:fs/promises";
import { newestMeta, treePages } from "@pageferry/format";
import { openPageSource } from "@pageferry/format/node";
import { listRanges } from "../archive.ts";

/** Changes the last byte of a value in a leaf that the newest meta reaches. */
export async function spoilPage(path: string): Promise<void> {
  const at = offsetOfValue(path);
  await using file = await open(path, "r+");
  const byte = new Uint8Array(1);
  await file.read(byte, 0, 1, at);
  await file.write(
    byte.map((value) => value ^ 1),
    0,
    1,
    at,
  );
}

function offsetOfValue(path: string): number {
  using source = openPageSource(path);
  const meta = newestMeta(source.read(0, 1).slice(), source.read(1, 1).slice());
  if (meta === undefined) throw new Error(`${path}: no valid meta`);
  for (const { id, run, header } of treePages(source, meta)) {
    const page = Buffer.from(run.buffer, run.byteOffset, run.byteLength);
    for (let element = 16; header.flags === 2 && element < 16 + header.count * 16; element += 16) {
      const isBucket = page.readUInt32LE(element) !== 0;
      const [position, keyBytes, valueBytes] = [4, 8, 12].map((from) => page.readUInt32LE(element + from));
      if (isBucket || !position || !keyBytes || !valueBytes) continue;
      return id * source.pageSize + element + position + keyBytes + valueBytes - 1;
    }
  }
  throw new Error(`${path}: no value`);
}

/** Removes what leads to the end of the object in the middle of a replica's segments: some are there twice, merged otherwise. */
export async function loseSegment(root: string): Promise<void> {
  const ranges = await listRanges(root);
  const lost = ranges[ranges.length >> 1]?.lastTxId ?? 0;
  const doomed = ranges.filter(({ firstTxId, lastTxId }) => firstTxId <= lost && lost <= lastTxId);
  await Promise.all(doomed.map(({ generation, name }) => rm(`${root}/${generation}/segments/${name}`)));
}
