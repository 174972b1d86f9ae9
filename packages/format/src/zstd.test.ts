import { strict as assert } from "node:assert";
import { suite, test } from "node:test";
import fc from "fast-check";
import { flipped, zstdBomb } from "../testing/broken.ts";
import { createByteReader } from "./byte-reader.ts";
import { chunked, collect, seeded } from "./fixtures.ts";
import { encodeSkippable } from "./seekable.ts";
import { zstdCompress, zstdCompressSync, zstdDecompress, zstdDecompressSync } from "./zstd.ts";
import { fallbackDecompress } from "./zstd-fallback.ts";
import { walkFrames } from "./zstd-frames.ts";
import { decodeZstdStream } from "./zstd-stream.ts";

/** A frame without checksum and content size: one raw block. */
const bareFrame = Buffer.from("28b52ffd0038" + "190000" + "616263", "hex");

function noise(length: number, seed = 1): Uint8Array {
  const random = seeded(seed);
  return Uint8Array.from({ length }, () => random() & 0xff);
}

type Decode = (bytes: Uint8Array, outputBytesMax: number) => Promise<Uint8Array>;

const decoders: readonly (readonly [name: string, decode: Decode])[] = [
  ["on this thread", async (bytes, outputBytesMax) => zstdDecompressSync(bytes, { outputBytesMax })],
  ["on other threads", (bytes, outputBytesMax) => zstdDecompress(bytes, { outputBytesMax })],
  ["by the fallback", async (bytes, outputBytesMax) => fallbackDecompress(bytes, outputBytesMax)],
];

suite("compressing with zstd", () => {
  test("writes one frame with its content's size and checksum, on any thread", async () => {
    const bytes = noise(100_000);

    for (const packed of [zstdCompressSync(bytes, 3), await zstdCompress(bytes, 3)]) {
      const frames = [...walkFrames(packed, "payload")];

      assert.equal(frames.length, 1);
      assert.equal(frames[0]?.contentBytes, bytes.length);
      assert.equal(frames[0]?.hasChecksum, true);
    }
  });

  test("makes nothing of nothing, as Go does", async () => {
    assert.equal(zstdCompressSync(new Uint8Array(0), 3).length, 0);
    assert.equal((await zstdCompress(new Uint8Array(0), 3)).length, 0);
    assert.equal(zstdDecompressSync(new Uint8Array(0), { outputBytesMax: 0 }).length, 0);
  });
});

for (const [name, decode] of decoders) {
  suite(`decompressing ${name}`, () => {
    test("gives back what was compressed, at every level", async () => {
      for (const level of [-5, 1, 3, 9, 19]) {
        const bytes = Buffer.concat([noise(5000, level), new Uint8Array(200_000)]);

        assert.deepEqual(Buffer.from(await decode(zstdCompressSync(bytes, level), bytes.length)), bytes);
      }
    });

    test("reads all frames, and passes over skippable ones", async () => {
      const parts = [noise(10), noise(20), noise(0), noise(300_000)];
      const skippable = encodeSkippable(0x184d2a53, noise(7));
      const packed = Buffer.concat([
        skippable,
        ...parts.flatMap((part) => [zstdCompressSync(part, 3), skippable]),
        bareFrame,
      ]);

      assert.deepEqual(
        Buffer.from(await decode(packed, 400_000)),
        Buffer.concat([...parts, Buffer.from("abc")]),
      );
    });

    test("takes as much as is allowed, and not a byte more", async () => {
      const packed = Buffer.concat([zstdCompressSync(noise(1000), 3), zstdCompressSync(noise(1000), 3)]);

      assert.equal((await decode(packed, 2000)).length, 2000);
      await assert.rejects(decode(packed, 1999), { code: "too-large" });
      await assert.rejects(decode(bareFrame, 2), { code: "too-large" });
    });

    test("stops at a bomb before it has burst", async () => {
      const before = process.memoryUsage().arrayBuffers;

      await assert.rejects(decode(zstdBomb(), 1024 * 1024), { code: "too-large" });

      assert.ok(process.memoryUsage().arrayBuffers - before < 16 * 1024 * 1024);
    });

    test("notices any flipped bit, by the frame's checksum", async () => {
      const bytes = Buffer.concat([noise(100), new Uint8Array(300)]);
      const packed = zstdCompressSync(bytes, 3);

      for (let bit = 0; bit < packed.length * 8; bit += 1) {
        const result = await decode(flipped(packed, bit), 10_000).catch((error) => error.code);
        const isSame = result instanceof Uint8Array && Buffer.compare(result, bytes) === 0;
        assert.ok(isSame || result === "corrupt" || result === "too-large", `bit ${bit}: ${result}`);
      }
    });

    test("notices every cut", async () => {
      const packed = zstdCompressSync(noise(500), 3);

      for (let length = 1; length < packed.length; length += 1) {
        await assert.rejects(decode(packed.subarray(0, length), 1000), { code: "corrupt" });
      }
    });

    for (const [why, hex] of [
      ["is no frame", "00112233445566"],
      ["asks for a dictionary", "28b52ffd01380119000061"],
      ["sets a reserved bit", "28b52ffd083819000061"],
      ["has a block of the reserved type", "28b52ffd00380f0000"],
      ["has a block above 128 KiB", "28b52ffd00380b0010ff"],
      ["says more than its blocks can give", "28b52ffda0000000400b000061"],
      ["says other than its blocks give", "28b52ffd2002090000610000"],
      ["is a skippable frame cut short", "502a4d1808000000ff"],
    ] as const) {
      test(`refuses what ${why}`, async () => {
        await assert.rejects(decode(Buffer.from(hex, "hex"), 1000), { code: "corrupt" });
      });
    }

    test("refuses a window above 128 MiB", async () => {
      await assert.rejects(decode(Buffer.from("28b52ffd00a0" + "010000", "hex"), 1000), {
        code: "too-large",
      });
    });
  });
}

suite("walking frames", () => {
  test("finds each, to the last byte", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 6 }), (parts) => {
        const frames = parts.filter((part) => part.length > 0).map((part) => zstdCompressSync(part, 1));
        const ends = frames.map((_, index) => Buffer.concat(frames.slice(0, index + 1)).length);

        assert.deepEqual(
          [...walkFrames(Buffer.concat(frames), "x")].map((frame) => frame.end),
          ends,
        );
      }),
    );
  });
});

suite("decompressing a stream", () => {
  const open = (bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> =>
    decodeZstdStream(
      createByteReader(
        chunked(bytes, () => size),
        "stream",
      ),
      {
        payloadBytes: bytes.length,
        parallelism: 3,
        what: "stream",
      },
    );

  test("gives the same whatever the chunks, with small, large and unsized frames in any order", async () => {
    const large = Buffer.concat([noise(600_000), new Uint8Array(5_000_000)]);
    const parts = [noise(1000, 2), large, Buffer.from("abc"), noise(5000, 3)];
    const packed = Buffer.concat([
      zstdCompressSync(parts[0] as Uint8Array, 3),
      zstdCompressSync(large, 1),
      bareFrame,
      encodeSkippable(0x184d2a5e, noise(9)),
      zstdCompressSync(parts[3] as Uint8Array, 3),
    ]);

    for (const size of [packed.length, 65_536, 777]) {
      assert.deepEqual(Buffer.from(await collect(open(packed, size))), Buffer.concat(parts));
    }
  });

  test("refuses a frame that is stored in far more than it says", async () => {
    const empty = Buffer.from("000000".repeat(50_000), "hex");
    const packed = Buffer.concat([
      Buffer.from("28b52ffd2003", "hex"),
      empty,
      Buffer.from("190000616263", "hex"),
    ]);

    await assert.rejects(collect(open(packed, 65_536)), { code: "corrupt" });
  });

  test("notices a large frame that is broken, or says another size", async () => {
    const packed = zstdCompressSync(Buffer.concat([noise(600_000), new Uint8Array(5_000_000)]), 1);

    await assert.rejects(collect(open(flipped(packed, 8 * 300_000), 65_536)), { code: "corrupt" });
    await assert.rejects(collect(open(packed.subarray(0, -1), 65_536)), { code: "corrupt" });
  });

  test("gives the source's own failure, not one of ours", async () => {
    const packed = zstdCompressSync(Buffer.concat([noise(600_000), new Uint8Array(5_000_000)]), 1);
    const failure = new Error("connection reset");
    async function* failing(): AsyncGenerator<Uint8Array> {
      yield packed.subarray(0, 400_000);
      throw failure;
    }
    const stream = decodeZstdStream(createByteReader(failing(), "stream"), {
      payloadBytes: packed.length,
      parallelism: 2,
      what: "stream",
    });

    await assert.rejects(collect(stream), failure);
  });
});
