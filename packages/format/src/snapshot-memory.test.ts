// A database larger than the memory it may take goes through both directions. Alone in its file, so that nothing else counts.
import { strict as assert } from "node:assert";
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { seeded } from "./fixtures.ts";
import type { Spool } from "./ports.ts";
import { decodeSnapshot, encodeSnapshot } from "./snapshot.ts";
import { txId } from "./txid.ts";

const pageSize = 4096;
const databaseBytes = 256 * 1024 * 1024;
/** What both directions may add to what the process took before: frames in flight, and garbage not yet collected. */
const grownBytesMax = 160 * 1024 * 1024;

/** Pages of which half is noise, made as they are read. */
async function* database(): AsyncGenerator<Uint8Array> {
  const random = seeded(1);
  const noise = Uint32Array.from({ length: 64 * 1024 }, random);
  for (let at = 0; at < databaseBytes; at += 256 * 1024) {
    const chunk = new Uint8Array(256 * 1024);
    for (let page = 0; page < chunk.length; page += pageSize) {
      const from = random() % (noise.byteLength - pageSize / 2);
      chunk.set(new Uint8Array(noise.buffer, from, pageSize / 2), page + pageSize / 2);
    }
    yield chunk;
  }
}

async function diskSpool(path: string): Promise<Spool> {
  const file = await open(path, "w");
  let size = 0;
  return {
    async write(bytes) {
      await file.write(bytes);
      size += bytes.length;
    },
    size: () => size,
    open: () => createReadStream(path, { highWaterMark: 1024 * 1024 }),
    remove: () => file.close(),
  };
}

test("256 MiB are packed and unpacked without ever being in memory", async () => {
  const directory = await mkdtemp(join(tmpdir(), "pageferry-memory-"));
  const spool = await diskSpool(join(directory, "spool"));
  const before = process.memoryUsage.rss();
  let peak = before;
  const sampler = setInterval(() => {
    peak = Math.max(peak, process.memoryUsage.rss());
  }, 20);
  const [written, read] = [createHash("sha256"), createHash("sha256")];
  async function* hashed(): AsyncGenerator<Uint8Array> {
    for await (const chunk of database()) {
      written.update(chunk);
      yield chunk;
    }
  }

  const input = { txId: txId(7), pageSize, createdAt: 0, pageCount: BigInt(databaseBytes / pageSize) };
  const snapshot = await encodeSnapshot(hashed(), input, { spool });
  const { raw, header } = decodeSnapshot(snapshot.open());
  for await (const part of raw) {
    read.update(part);
  }

  assert.equal((await header).pageCount, input.pageCount);
  assert.equal(read.digest("hex"), written.digest("hex"));
  clearInterval(sampler);
  await spool.remove();
  await rm(directory, { recursive: true });
  const grown = peak - before;
  assert.ok(grown < grownBytesMax, `grew by ${(grown / 1024 / 1024).toFixed(0)} MiB`);
});
