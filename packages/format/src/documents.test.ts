import { strict as assert } from "node:assert";
import { readdirSync, readFileSync } from "node:fs";
import { suite, test } from "node:test";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { formatRestoreState, parseRestoreState } from "./descriptors.ts";
import { formatGenerationJson, type GenerationJson, parseGenerationJson } from "./generation-json.ts";
import { generationOf } from "./names.ts";
import { formatNeeds, type Needs, parseNeeds } from "./needs.ts";
import { txId } from "./txid.ts";

const plain = { noNullPrototype: true } as const;
const u64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map(txId);
const anyGeneration = fc.uint8Array({ minLength: 8, maxLength: 8 }).map(generationOf);
const bytes = (json: string): Uint8Array => Buffer.from(json);

suite("generation.json", () => {
  const sample: GenerationJson = {
    version: 1,
    generation: generationOf(new Uint8Array(8)),
    parent: null,
    reason: "first",
    epoch: 0,
    host: "db-1",
    pageSize: 4096,
    receivedAtMs: 1_760_000_000_000,
  };

  test("reads back to what was written, always to the same bytes", () => {
    const any: fc.Arbitrary<GenerationJson> = fc.record(
      {
        version: fc.constant(1 as const),
        generation: anyGeneration,
        parent: fc.option(fc.record({ generation: anyGeneration, txId: u64 }, plain)),
        reason: fc.constantFrom("first", "restored", "replaced", "unprovable", "fork"),
        epoch: fc.nat(),
        host: fc.string({ maxLength: 40, unit: "grapheme" }),
        pageSize: fc.constantFrom(4096, 16_384),
        parentStateHash: fc.bigInt({ min: 0n, max: 2n ** 128n - 1n }),
        receivedAtMs: fc.nat(),
      },
      {
        ...plain,
        requiredKeys: [
          "version",
          "generation",
          "parent",
          "reason",
          "epoch",
          "host",
          "pageSize",
          "receivedAtMs",
        ],
      },
    );
    fc.assert(
      fc.property(any, (document) => {
        const written = formatGenerationJson(document);

        assert.deepEqual(parseGenerationJson(written), document);
        assert.deepEqual(formatGenerationJson(parseGenerationJson(written)), written);
      }),
    );
  });

  test("takes a key of later days, and refuses a later version", () => {
    const text = Buffer.from(formatGenerationJson(sample)).toString();

    assert.deepEqual(parseGenerationJson(bytes(text.replace("{", '{"later":1,'))), sample);
    assert.throws(() => parseGenerationJson(bytes(text.replace('"version":1', '"version":2'))), {
      code: "unsupported-version",
    });
  });

  for (const json of ["", "{", "null", "[]", "7", '{"version":1}', '{"version":"1"}', "\xff"]) {
    test(`is not ${JSON.stringify(json)}`, () => {
      assert.throws(() => parseGenerationJson(Buffer.from(json, "latin1")), { code: "corrupt" });
    });
  }
});

suite("needs.json", () => {
  test("reads back to what was written, always to the same bytes", () => {
    const one = fc.record(
      {
        storedTxId: fc.option(u64),
        missing: fc.array(fc.tuple(u64, u64), { maxLength: 4 }),
        snapshot: fc.boolean(),
      },
      plain,
    );
    const any = fc.tuple(fc.nat(), fc.array(fc.tuple(anyGeneration, one), { maxLength: 4 })).map(
      ([newestEpoch, pairs]): Needs => ({
        version: 1,
        newestEpoch,
        generations: Object.fromEntries(pairs),
      }),
    );
    fc.assert(
      fc.property(any, (needs) => {
        const written = formatNeeds(needs);

        assert.deepEqual(parseNeeds(written), needs);
        assert.deepEqual(formatNeeds(parseNeeds(written)), written);
      }),
    );
  });

  for (const json of [
    '{"version":1,"newestEpoch":0}',
    '{"version":1,"newestEpoch":-1,"generations":{}}',
    '{"version":1,"newestEpoch":0,"generations":{"x":{"storedTxId":null,"missing":[],"snapshot":true}}}',
    '{"version":1,"newestEpoch":0,"generations":{"0123456789abcdef":{"storedTxId":7,"missing":[],"snapshot":true}}}',
  ]) {
    test(`is not ${json}`, () => {
      assert.throws(() => parseNeeds(bytes(json)), { code: "corrupt" });
    });
  }
});

suite("_state.json", () => {
  const golden = fileURLToPath(new URL("../../../test/golden/", import.meta.url));
  for (const name of readdirSync(golden).filter((entry) => entry.startsWith("replica"))) {
    test(`of ${name}, written by Go, reads and writes back to the same bytes`, () => {
      const file = readFileSync(`${golden}${name}/data/_state.json`);

      assert.deepEqual(formatRestoreState(parseRestoreState(file)), file);
    });
  }

  test("keeps transaction ids that a double cannot hold", () => {
    const state = parseRestoreState(
      bytes(
        '{"Generation":"x","Snapshot":null,"Segments":[{"Name":"a","FirstTxID":18446744073709551614,"LastTxID":18446744073709551615,' +
          '"Timestamp":"2025-01-02T03:04:05.123456789-05:30","Size":7}],"LastUploaded":"0001-01-01T00:00:00Z"}',
      ),
    );

    assert.deepEqual(
      [state.segments[0]?.firstTxId, state.segments[0]?.lastTxId],
      [2n ** 64n - 2n, 2n ** 64n - 1n],
    );
    assert.deepEqual(parseRestoreState(formatRestoreState(state)), state);
  });

  for (const json of [
    "",
    '{"Generation":"x"',
    "null",
    '{"Generation":"x","Snapshot":null,"Segments":null,"LastUploaded":"yesterday"}',
    '{"Generation":"x","Snapshot":null,"Segments":[{"Name":"a","FirstTxID":18446744073709551616,"LastTxID":1,"Timestamp":"2025-01-02T03:04:05Z","Size":7}],"LastUploaded":"2025-01-02T03:04:05Z"}',
  ]) {
    test(`is not ${JSON.stringify(json.slice(0, 40))}`, () => {
      assert.throws(() => parseRestoreState(bytes(json)), { code: "corrupt" });
    });
  }
});
