// Our files in Go: the libraries of the Go implementation read everything that our encoders write, and find the same in it.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { suite, test } from "node:test";
import {
  type CompressionConfig,
  defaultCompression,
  encodeSegment,
  encodeSegmentAsync,
  encodeSnapshot,
  type SegmentInput,
  segmentAttrs,
  txId,
  withReceived,
} from "@pageferry/format";
import { chunked, collect, frameOf, memorySpool, seeded, segmentOf } from "@pageferry/format/fixtures";
import { runProcess } from "./processes.ts";
import { temporaryDirectory } from "./temporary.ts";

const program = new URL("./.cache/bin/goreader", import.meta.url).pathname;
const none: CompressionConfig = { codec: "none", level: 0, window: 0 };

interface Report {
  readonly header?: { readonly parentTxId: number; readonly attrs: Readonly<Record<string, string>> | null };
  readonly txId: number;
  readonly bytes: number;
  readonly frames?: readonly (readonly [id: number, overflow: number])[];
  readonly sha256: string;
  readonly created: number;
}

async function readByGo(kind: "segment" | "snapshot", bytes: Uint8Array): Promise<Report> {
  await using directory = await temporaryDirectory();
  const path = directory.file("object");
  await writeFile(path, bytes);
  const { code, stdout, stderr } = await runProcess(program, [kind, path]);
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout) as Report;
}

function sha256(parts: Iterable<Uint8Array>): string {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest("hex");
}

function assertSame(report: Report, input: SegmentInput): void {
  assert.deepEqual(
    report.frames,
    input.pages.map(({ id, overflow }) => [Number(id), overflow]),
  );
  assert.equal(report.sha256, sha256(input.pages.map(({ data }) => data)));
  assert.deepEqual(
    [report.txId, report.header?.parentTxId, report.created],
    [Number(input.txId), Number(input.parentTxId), input.createdAt],
  );
  assert.deepEqual(report.header?.attrs ?? {}, input.attrs);
}

function noise(id: number, pages: number, random: () => number) {
  const frame = frameOf(id, pages);
  const words = new Uint32Array(frame.data.buffer);
  for (let at = 0; at < words.length; at += 2) words[at] = random();
  return frame;
}

const attrs = segmentAttrs({
  pre: 1n,
  post: 2n ** 128n - 1n,
  stampMs: 1_760_000_000_123,
  source: "bolt-file",
});

suite("the Go implementation's libraries", () => {
  for (const compression of [
    none,
    defaultCompression,
    { codec: "zstd", level: 1, window: 0 },
    { codec: "zstd", level: 11, window: 0 },
  ]) {
    test(`read our segment at ${compression.codec} ${compression.level}`, async () => {
      const input = segmentOf({ txId: 9, attrs, pages: [frameOf(1), frameOf(3, 4), frameOf(9)] });

      const report = await readByGo(
        "segment",
        withReceived(encodeSegment(input, { compression }), 1_760_000_000_999),
      );

      assertSame(report, input);
    });
  }

  test("read our large range of many frames, with its page index and seek table", async () => {
    const random = seeded(1);
    const runs = Array.from({ length: 120 }, (_, index) => noise(10 + index * 40, 30, random));
    const input = segmentOf({ txId: 500, parentTxId: 400, attrs, pages: [frameOf(0), ...runs] });

    assertSame(await readByGo("segment", await encodeSegmentAsync(input)), input);
    assertSame(await readByGo("segment", encodeSegment(input)), input);
  });

  for (const compression of [none, defaultCompression]) {
    test(`read our snapshot at ${compression.codec}`, async () => {
      const image = Buffer.concat([frameOf(0).data, noise(1, 900, seeded(2)).data]);
      const input = {
        txId: txId(7),
        pageSize: 4096,
        createdAt: 1_760_000_000,
        pageCount: 901n,
        stateHash: 5n,
        stampMs: 1_760_000_000_123,
      };
      const snapshot = await encodeSnapshot(
        chunked(image, () => 50_000),
        input,
        { spool: memorySpool(), compression },
      );

      const report = await readByGo("snapshot", await collect(snapshot.open()));

      assert.deepEqual([report.txId, report.bytes, report.created], [7, image.length, 1_760_000_000]);
      assert.equal(report.sha256, sha256([image]));
    });
  }
});
