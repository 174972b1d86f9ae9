import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { etcdImage, image, imageSource, replicas } from "../../testing/golden.ts";
import { checkDatabase } from "./check.ts";
import { type Meta, metaSlot, newestMeta } from "./meta.ts";
import { openingProblem } from "./opening.ts";
import { walkTree } from "./tree.ts";

function golden() {
  const { bytes, pageSize } = image("replica");
  const own = Buffer.from(bytes);
  const metas = [0, 1].map((slot) => own.subarray(slot * pageSize, (slot + 1) * pageSize));
  const meta = newestMeta(metas[0] as Buffer, metas[1] as Buffer) as Meta;
  const problem = (image: Uint8Array = own) => openingProblem(imageSource(image, pageSize));
  const spoil = (page: number) => own.fill(0xaa, page * pageSize, (page + 1) * pageSize);
  return { own, pageSize, meta, problem, spoil };
}

suite("what keeps bolt from opening a file", () => {
  test("is nothing in a sound one, with a freelist and without", () => {
    for (const replica of replicas) {
      const { bytes, pageSize } = image(replica);
      assert.equal(openingProblem(imageSource(bytes, pageSize)), undefined, replica);
    }
    assert.equal(openingProblem(imageSource(etcdImage(), 4096)), undefined);
  });

  test("is a file that ends too early, a lost freelist, a lost root, and no meta page", () => {
    const { own, pageSize, meta, problem } = golden();
    assert.match(problem(own.subarray(0, pageSize)) ?? "", /^page 1: /);
    assert.match(problem(own.subarray(0, (meta.highWaterMark - 1) * pageSize)) ?? "", /beyond the end/);
    for (const page of [meta.freelist ?? 0, meta.root]) {
      const one = golden();
      one.spoil(page);
      assert.match(one.problem() ?? "", new RegExp(`^page ${page}: `));
    }
    const none = golden();
    none.spoil(0);
    none.spoil(1);
    assert.match(none.problem() ?? "", /neither holds a valid meta/);
  });

  test("is not one meta page of the two, nor a page below the root, however a check takes it", () => {
    const torn = golden();
    torn.spoil(metaSlot(torn.meta.txId));
    assert.equal(torn.problem(), undefined);

    const deep = golden();
    const ids: number[] = [];
    walkTree(imageSource(deep.own, deep.pageSize), deep.meta, (id) => void ids.push(id));
    deep.spoil(ids.at(-1) ?? 0);
    assert.equal(deep.problem(), undefined);
    const { problems } = checkDatabase(imageSource(deep.own, deep.pageSize), { mode: "full" });
    assert.notDeepEqual(problems, []);
  });
});
