import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { createXxh3, pageDigestBytes } from "./xxh3.ts";

/** Made with github.com/zeebo/xxh3 v1.0.2: Hash128(id as u64 little-endian ‖ block), big-endian; blocks as in `blockOf`. */
const known = [
  { pageId: 2, size: 512, digest: "9679dc23e14b6498dae4ec5a86ae02a2" },
  { pageId: 3, size: 1024, digest: "31619baecdc301b97b07706da5feb265" },
  { pageId: 730, size: 4096, digest: "a0a263d2b09f59a1c32b21293074e2cb" },
  { pageId: 4_294_967_294, size: 4096, digest: "195319e0d00c09e1b3dbae2f7f83a122" },
  { pageId: 17, size: 16_384, digest: "4c4c7223d4ee1a3a557fdeca6df484fc" },
  { pageId: 9, size: 65_536, digest: "291f25df5b18274ac37161f94c626234" },
];

suite("a page digest", () => {
  test("is what another implementation of XXH3-128 gives, at every page size and id", () => {
    const xxh3 = createXxh3();

    for (const { pageId, size, digest } of known) {
      assert.equal(digestOf(xxh3, pageId, blockOf(pageId, size)), digest);
    }
  });

  test("depends on the page id, not on the block alone", () => {
    const xxh3 = createXxh3();
    const block = blockOf(1, 4096);

    assert.notEqual(digestOf(xxh3, 5, block), digestOf(xxh3, 6, block));
  });

  test("is the same for hashers that take turns, and for a block inside of a larger buffer", () => {
    const [first, second] = [createXxh3(), createXxh3()];
    const block = blockOf(730, 4096);
    const inside = new Uint8Array(3 * 4096);
    inside.set(block, 4096);

    const digests = [
      digestOf(first, 730, block),
      digestOf(second, 730, inside.subarray(4096, 8192)),
      digestOf(first, 730, block),
    ];

    assert.deepEqual(new Set(digests), new Set(["a0a263d2b09f59a1c32b21293074e2cb"]));
  });

  test("is written at the offset that is asked for, and nowhere else", () => {
    const into = new Uint8Array(3 * pageDigestBytes).fill(0xee);

    createXxh3().pageDigest(730, blockOf(730, 4096), into, pageDigestBytes);

    assert.equal(Buffer.from(into.subarray(16, 32)).toString("hex"), "a0a263d2b09f59a1c32b21293074e2cb");
    assert.ok(into.subarray(0, 16).every((byte) => byte === 0xee));
    assert.ok(into.subarray(32).every((byte) => byte === 0xee));
  });
});

function digestOf(xxh3: ReturnType<typeof createXxh3>, pageId: number, block: Uint8Array): string {
  const into = new Uint8Array(pageDigestBytes);
  xxh3.pageDigest(pageId, block, into, 0);
  return Buffer.from(into).toString("hex");
}

function blockOf(pageId: number, size: number): Uint8Array {
  return Uint8Array.from({ length: size }, (_, index) =>
    Number(((BigInt(index) ** 2n + BigInt(7 * index + pageId)) >> 3n) & 255n),
  );
}
