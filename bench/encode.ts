// Encoding and decoding of one transaction's segment: 17 pages of a real etcd database, as a small commit writes them.
import { readFile } from "node:fs/promises";
import {
  decodeSegment,
  encodeSegment,
  type PageFrame,
  pageHeader,
  txId,
  zstdDecompress,
} from "@pageferry/format";
import { medians } from "./machine.ts";

const pageSize = 4096;
const pagesPerSegment = 17;
const vector = new URL("../packages/format/vectors/etcd-3.4.23.db.zst", import.meta.url);

/** Segments over the tree pages of the vector, each of seventeen pages spread over the file. */
async function sampleSegments(count: number) {
  const file = await zstdDecompress(new Uint8Array(await readFile(vector)), { outputBytesMax: 2 ** 26 });
  const block = (id: number) => file.subarray(id * pageSize, (id + 1) * pageSize);
  const ids = Array.from({ length: file.length / pageSize }, (_, id) => id).filter((id) => {
    const header = pageHeader(block(id));
    return id > 1 && Number(header.id) === id && header.overflow === 0;
  });
  return Array.from({ length: count }, (_, index) => {
    const chosen = Array.from(
      { length: pagesPerSegment },
      (_, page) => ids[(index * 31 + page * 97) % ids.length] ?? 2,
    );
    const pages: PageFrame[] = [...new Set(chosen)]
      .sort((a, b) => a - b)
      .map((id) => ({ id: BigInt(id), overflow: 0, data: block(id) }));
    return {
      txId: txId(index + 2),
      parentTxId: txId(index + 1),
      pageSize,
      highWaterMark: BigInt(file.length / pageSize),
      createdAt: 1_700_000_000,
      attrs: { stamp: "1700000000000", source: "bolt-file" },
      pages,
    };
  });
}

/** One line per codec. */
export async function benchEncode(): Promise<Record<string, Record<string, number>>> {
  const inputs = await sampleSegments(100);
  const rawBytes = inputs.reduce((sum, { pages }) => sum + pages.length * pageSize, 0);
  const levels = { none: "none", "zstd level 1": 3, "zstd level 3": 0, "zstd level 6": 6 } as const;
  const results: Record<string, Record<string, number>> = {};
  for (const [name, level] of Object.entries(levels)) {
    const codec = typeof level === "string" ? level : "zstd";
    const compression = { codec, level: typeof level === "string" ? 0 : level, window: 0 };
    results[name] = await medians(7, async () => {
      const begun = performance.now();
      const files = inputs.map((input) => encodeSegment(input, { compression }));
      const encoded = performance.now();
      for (const file of files) {
        decodeSegment(file);
      }
      const decoded = performance.now();
      return {
        "encode ms": (encoded - begun) / inputs.length,
        "encode MB/s": rawBytes / 1000 / (encoded - begun),
        "decode ms": (decoded - encoded) / inputs.length,
        "decode MB/s": rawBytes / 1000 / (decoded - encoded),
        ratio: rawBytes / files.reduce((sum, file) => sum + file.length, 0),
      };
    });
  }
  return results;
}
