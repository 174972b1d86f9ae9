import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { indexArchive } from "./archive-listing.ts";
import { type Manifest, manifestJson, manifestOf, parseManifest, planOf } from "./manifest.ts";
import { packName, parseGeneration, segmentName, snapshotName } from "./names.ts";
import { planRestore } from "./restore-plan.ts";
import { txId } from "./txid.ts";

const generation = parseGeneration("00000000000000a1");
const child = parseGeneration("00000000000000b2");
const id = (value: number) => txId(value);

const listing = indexArchive(
  [
    { name: snapshotName({ generation, txId: id(2), stampMs: 2000 }), size: 1000 },
    { name: packName({ generation, parentTxId: id(2), txId: id(9), stampMs: 9000 }), size: 30 },
    { name: segmentName({ generation: child, parentTxId: id(5), txId: id(12), stampMs: 12_000 }), size: 20 },
  ],
  {
    links: new Map([[child, { parent: { generation, txId: id(5) }, epoch: 1 }]]),
    packs: new Map([
      [
        packName({ generation, parentTxId: id(2), txId: id(9), stampMs: 9000 }),
        [
          { parentTxId: id(2), txId: id(5), stampMs: 5000 },
          { parentTxId: id(5), txId: id(9), stampMs: 9000 },
        ],
      ],
    ]),
  },
);
const plan = planRestore(listing);

function encoded(value: unknown): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value));
}

suite("a manifest", () => {
  test("written and read again gives the same plan", () => {
    const manifest = manifestOf(plan, {
      factsOf: (name) => ({ url: `objects/${name}`, via: "proxied", crc64: "00000000000000ff" }),
      ...{ database: "app", stateHash: 5n, pageSize: 4096, issuedAtMs: 1000, expiresAtMs: 2000 },
      ...{ predictedRequests: 3, predictedSeconds: 0.5, lease: { id: "lease-1", expiresAtMs: 2000 } },
    });

    const read = parseManifest(encoded(manifestJson(manifest)));

    assert.deepEqual(read, manifest);
    assert.deepEqual(planOf(read), { ...plan, stateHash: 5n });
    assert.equal(plan.steps.length, 2);
  });

  test("writes transactions as 16 hex digits and leaves out what is not known", () => {
    const json = manifestJson(manifestOf(plan));

    assert.equal(json.txId, "000000000000000c");
    assert.ok(!("stateHash" in json) && !("pageSize" in json));
    assert.equal(json.predictedBytes, 1050);
  });

  test("of a later version is unsupported, and what is no manifest is corrupt", () => {
    assert.throws(() => parseManifest(encoded({ ...manifestJson(manifestOf(plan)), version: 2 })), {
      code: "unsupported-version",
    });
    assert.throws(() => parseManifest(encoded({ version: 1 })), { code: "corrupt" });
    assert.throws(() => parseManifest(encoded([])), { code: "corrupt" });
    assert.throws(() => parseManifest(new Uint8Array([1, 2, 3])), { code: "corrupt" });
  });
});

suite("a manifest whose chain does not hold is corrupt", () => {
  const manifest = manifestOf(plan);
  const [base, ...steps] = manifest.objects;
  const [pack, bridge] = steps;
  if (base === undefined || pack === undefined || bridge === undefined)
    throw new Error("the plan has three objects");
  const cases: Record<string, Manifest> = {
    "without a snapshot": { ...manifest, objects: steps },
    "with a step left out": { ...manifest, objects: [base, bridge] },
    "in another order": { ...manifest, objects: [base, bridge, pack] },
    "that ends elsewhere": { ...manifest, objects: [base, pack] },
    "that ends in another generation": { ...manifest, generation },
    "with a name that leaves the root": {
      ...manifest,
      objects: [{ ...base, name: "../../etc/passwd" }, pack, bridge],
    },
    "with a name of something else": { ...manifest, objects: [{ ...base, name: pack.name }, pack, bridge] },
    "with a wrong range": { ...manifest, objects: [base, { ...pack, lastTxId: id(10) }, bridge] },
    "with a segment that is cut": {
      ...manifest,
      txId: id(11),
      objects: [base, pack, { ...bridge, toTxId: id(11) }],
    },
  };
  for (const [name, broken] of Object.entries(cases)) {
    test(name, () => {
      assert.throws(() => planOf(broken), { code: "corrupt" });
    });
  }
});
