import assert from "node:assert/strict";
import { suite, test } from "node:test";
import fc from "fast-check";
import { etcdImage, image, imageSource, replicas } from "../../testing/golden.ts";
import { sample } from "../../testing/sample.ts";
import type { StateHash } from "../state-hash.ts";
import { checkDatabase } from "./check.ts";
import { checkShare, joinShares } from "./check-share.ts";

const soundStateHash = stateHashOf(sample().bytes, 4096);

suite("shares of a sound database", () => {
  for (const [name, bytes, pageSize] of [
    ...replicas.map((replica) => [replica, image(replica).bytes, image(replica).pageSize] as const),
    ["etcd, without a freelist", etcdImage(), 4096] as const,
  ]) {
    test(`come to what one check comes to, however many there are: ${name}`, () => {
      const source = imageSource(bytes, pageSize);
      const expectedStateHash = stateHashOf(bytes, pageSize);
      const whole = checkDatabase(source, { mode: "quick", expectedStateHash });

      for (const count of [1, 2, 3, 4, 200]) {
        assert.deepEqual(inShares(bytes, pageSize, count, expectedStateHash), whole);
      }
    });
  }

  test("split the work of a large database", () => {
    const bytes = etcdImage();
    const pages = [0, 1].map((index) => checkShare(imageSource(bytes, 4096), { index, of: 2 }).pages);

    assert.ok(Math.min(...pages) > Math.max(...pages) / 2, pages.join(" and "));
  });
});

suite("shares are not joined", () => {
  test("where the state is another", () => {
    assert.equal(inShares(sample().bytes, 4096, 2, soundStateHash + 1n), undefined);
  });

  test("where a page is reached by two of them", () => {
    const source = imageSource(sample().bytes, 4096);
    const share = checkShare(source, { index: 0, of: 2 });

    assert.equal(joinShares([share, share], share.stateHash * 2n), undefined);
  });

  test("where the file is too short, or holds no meta", () => {
    const { bytes } = sample();

    assert.equal(inShares(bytes.subarray(0, bytes.length - 4096), 4096, 2, soundStateHash), undefined);
    assert.equal(inShares(new Uint8Array(bytes.length), 4096, 2, soundStateHash), undefined);
    assert.equal(joinShares([], 0n), undefined);
  });

  test("wherever one check finds a problem, and nowhere else: any four bytes changed", () => {
    const { bytes } = sample();
    const place = fc.record({
      page: fc.nat(bytes.length / 4096 - 1),
      at: fc.oneof(fc.nat(100), fc.nat(4092)),
      to: fc.oneof(fc.nat(200), fc.nat(2 ** 32 - 1)),
      of: fc.constantFrom(1, 2, 3),
    });
    let found = 0;
    fc.assert(
      fc.property(place, ({ page, at, to, of }) => {
        const broken = new Uint8Array(bytes);
        new DataView(broken.buffer).setUint32(page * 4096 + at, to, true);
        const source = imageSource(broken, 4096);
        const { problems } = checkDatabase(source, { mode: "quick", expectedStateHash: soundStateHash });
        found += Math.sign(problems.length);

        assert.equal(inShares(broken, 4096, of, soundStateHash) === undefined, problems.length > 0);
      }),
      { numRuns: 500 },
    );
    assert.ok(found > 50, `${found} of 500 changes were problems`);
  });
});

function inShares(bytes: Uint8Array, pageSize: number, of: number, expected: StateHash) {
  const shares = Array.from({ length: of }, (_, index) => {
    return checkShare(imageSource(bytes, pageSize), { index, of });
  });
  return joinShares(shares, expected);
}

function stateHashOf(bytes: Uint8Array, pageSize: number): StateHash {
  return checkDatabase(imageSource(bytes, pageSize), { mode: "full" }).stateHash ?? 0n;
}
