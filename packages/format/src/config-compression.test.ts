import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { suite, test } from "node:test";
import {
  type CompressionConfig,
  compressionSettings,
  parseCompressionConfig,
  parseCompressionConfigJson,
} from "./config-compression.ts";

interface Vector {
  readonly input: string;
  readonly priorValue: CompressionConfig;
  readonly decoded?: CompressionConfig;
  readonly decodedOverPrior?: Partial<CompressionConfig>;
  readonly normalized?: CompressionConfig;
  readonly compressError?: string;
  readonly error?: string;
}

const vectors: readonly Vector[] = JSON.parse(
  readFileSync(new URL("../vectors/compression-config.json", import.meta.url), "utf8"),
);

suite("the compression key", () => {
  test("is read as the Go implementation reads it, alone and over an earlier value", () => {
    const accepted = vectors.filter(({ error }) => error === undefined);
    assert.ok(accepted.length >= 20);
    for (const { input, priorValue, decoded, decodedOverPrior } of accepted) {
      assert.deepEqual(parseCompressionConfigJson(input), decoded, input);
      assert.deepEqual(
        parseCompressionConfigJson(input, priorValue),
        { level: 0, window: 0, ...decodedOverPrior },
        `${input} over an earlier value`,
      );
    }
  });

  test("is refused where the Go implementation refuses it", () => {
    const refused = vectors.filter(({ error }) => error !== undefined);
    assert.ok(refused.length >= 10);
    for (const { input } of refused) {
      assert.throws(() => parseCompressionConfigJson(input), { code: "bad-config" }, input);
    }
  });

  test("gives headers the level that the Go implementation writes, and no unknown codec", () => {
    for (const { decoded, normalized, compressError } of vectors) {
      if (decoded === undefined) continue;
      if (compressError === undefined) assert.deepEqual(compressionSettings(decoded), normalized);
      else assert.throws(() => compressionSettings(decoded), { code: "bad-config" });
    }
  });

  test("leaves a field as it is on null, as Go does", () => {
    assert.deepEqual(parseCompressionConfig({ codec: null, level: 3 }), { codec: "", level: 3, window: 0 });
  });
});
