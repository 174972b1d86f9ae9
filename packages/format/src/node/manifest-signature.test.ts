import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { suite, test } from "node:test";
import fc from "fast-check";
import { indexArchive } from "../archive-listing.ts";
import { manifestJson, manifestOf } from "../manifest.ts";
import { parseGeneration, segmentName, snapshotName } from "../names.ts";
import { planRestore } from "../restore-plan.ts";
import { txId } from "../txid.ts";
import {
  formatManifestKey,
  manifestKeyId,
  parseManifestKey,
  readSignedManifest,
  signManifest,
} from "./manifest-signature.ts";

const generation = parseGeneration("00000000000000a1");
const names = [
  snapshotName({ generation, txId: txId(2), stampMs: 2000 }),
  segmentName({ generation, parentTxId: txId(2), txId: txId(9), stampMs: 9000 }),
];
const plan = planRestore(indexArchive(names.map((name) => ({ name, size: 100 }))));
const manifest = manifestOf(plan, {
  ...{ database: "app", stateHash: 5n, pageSize: 4096, issuedAtMs: 1000, expiresAtMs: 5000 },
  ...{ predictedRequests: 2, predictedSeconds: 0.1, lease: { id: "lease-1", expiresAtMs: 5000 } },
  factsOf: (name) => ({
    url: `https://bucket/${name}?X-Amz-Signature=1`,
    via: "presigned",
    crc64: "00000000000000ff",
  }),
});
const { privateKey, publicKey } = generateKeyPairSync("ed25519");
const signed = signManifest(manifestJson(manifest), privateKey);

const bytesOf = (value: unknown) => Buffer.from(JSON.stringify(value));
const read = (value: unknown, nowMs = 4999, key = publicKey) =>
  readSignedManifest(bytesOf(value), key, nowMs);

/** Every value of a document with one of its leaves altered, or left out, or one field added. */
function* alterations(value: unknown): Generator<readonly [path: string, altered: unknown]> {
  if (typeof value !== "object" || value === null) {
    const other = typeof value === "number" ? value + 1 : typeof value === "string" ? `${value}0` : "other";
    yield ["", other];
    return;
  }
  const entries = Object.entries(value);
  const rebuilt = (fields: [string, unknown][]) =>
    Array.isArray(value) ? fields.map(([, field]) => field) : Object.fromEntries(fields);
  for (const [at, [key, field]] of entries.entries()) {
    yield [`${key} left out`, rebuilt(entries.toSpliced(at, 1))];
    for (const [path, altered] of alterations(field))
      yield [`${key}.${path}`, rebuilt(entries.with(at, [key, altered]))];
  }
  yield ["one more", rebuilt([...entries, ["more", 1]])];
}

suite("a signed manifest", () => {
  test("is read by who knows the key, whatever way its JSON is written", () => {
    assert.deepEqual(read(signed), manifest);
    const reversed = Object.fromEntries(Object.entries(signed).reverse());
    assert.deepEqual(
      readSignedManifest(Buffer.from(JSON.stringify(reversed, null, 3)), publicKey, 0),
      manifest,
    );
  });

  test("with any field altered, left out or added is refused", () => {
    const { signature, ...unsigned } = signed;
    const all = [...alterations(unsigned)];
    assert.ok(all.length > 40, `${all.length} alterations`);

    for (const [path, altered] of all) {
      const forged = { ...(altered as object), signature };
      assert.throws(() => read(forged), { code: "untrusted" }, path);
    }
  });

  test("with another signature, or none, is refused", () => {
    const { signature, ...unsigned } = signed;
    assert.throws(() => read(unsigned), { code: "untrusted", message: /not signed/ });
    for (const [path, altered] of alterations(signature)) {
      if (path.startsWith("one more")) continue;
      assert.throws(() => read({ ...unsigned, signature: altered }), { code: "untrusted" }, path);
    }
  });

  test("of another key is refused", () => {
    const other = generateKeyPairSync("ed25519");

    assert.throws(() => read(signed, 0, other.publicKey), { code: "untrusted", message: /another key/ });
    const forged = signManifest(manifestJson(manifest), other.privateKey);
    const named = {
      ...forged,
      signature: { ...(forged.signature as object), keyId: manifestKeyId(publicKey) },
    };
    assert.throws(() => read(named), { code: "untrusted", message: /altered/ });
  });

  test("is refused when it has expired, or says nothing of that", () => {
    assert.throws(() => read(signed, 5000), { code: "untrusted", message: /expired/ });
    const endless = signManifest(manifestJson(manifestOf(plan)), privateKey);
    assert.throws(() => read(endless, 0), { code: "untrusted" });
  });

  test("that is nothing of the kind is corrupt", () => {
    for (const text of ["", "[]", "null", "{", '"manifest"'])
      assert.throws(() => readSignedManifest(Buffer.from(text), publicKey, 0), { code: "corrupt" });
  });
});

suite("a manifest key", () => {
  test("is read as base64, DER in base64, or PEM, and nothing else", () => {
    const der = publicKey.export({ type: "spki", format: "der" }).toString("base64");
    const pem = publicKey.export({ type: "spki", format: "pem" }).toString();

    for (const text of [`${formatManifestKey(publicKey)}\n`, der, pem]) {
      assert.equal(manifestKeyId(parseManifestKey(text)), manifestKeyId(publicKey));
    }
    const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 }).publicKey;
    for (const text of ["", "x", "A".repeat(40), rsa.export({ type: "spki", format: "pem" }).toString()])
      assert.throws(() => parseManifestKey(text), { code: "bad-request" });
  });

  test("is never anything but a key or a refusal", () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        try {
          parseManifestKey(text);
        } catch (error) {
          assert.equal((error as { code?: string }).code, "bad-request");
        }
      }),
    );
  });
});
