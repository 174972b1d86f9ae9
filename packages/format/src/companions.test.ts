import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { suite, test } from "node:test";
import { decodeCbor, encodeCbor } from "./cbor.ts";
import {
  type Companion,
  type CompanionsVersion,
  companionSetDigest,
  decodeCompanions,
  encodeCompanions,
} from "./companions.ts";
import { parseCompanionsName } from "./companions-name.ts";
import { defaultCompression } from "./config-compression.ts";
import { companionBytesMax, companionSetBytesMax, companionsMax } from "./limits.ts";
import { parseGeneration, parseObjectName } from "./names.ts";
import { txId } from "./txid.ts";

const none = { codec: "none", level: 0, window: 0 } as const;

function file(name: string, text = name, mode = 0o600): Companion {
  return { name, mode, mtimeMs: 1000, bytes: new Uint8Array(Buffer.from(text)) };
}

function version(given: Partial<CompanionsVersion> = {}): CompanionsVersion {
  return {
    generation: parseGeneration("45c401b6d4ba52fe"),
    ...{ txId: txId(451), stampMs: 0x01a203b02866, files: [file("tls/cert.pem"), file("tls/key.pem")] },
    skipped: [{ name: "tls/big", why: "too-large" }],
    ...given,
  };
}

/** The same object with its inside changed, and every checksum right again. */
async function forged(change: (inside: Record<string, unknown>) => Record<string, unknown>) {
  const { name, bytes } = await encodeCompanions(version(), none);
  const outer = Object.fromEntries(decodeCbor(bytes) as Map<string, unknown>);
  const inside = Object.fromEntries(decodeCbor(outer.data as Uint8Array) as Map<string, unknown>);
  const data = encodeCbor(change(inside));
  const sha256 = createHash("sha256").update(data).digest();
  return {
    name: name.replace(/[0-9a-f]{16}(?=\.files)/, sha256.toString("hex").slice(0, 16)),
    bytes: encodeCbor({ ...outer, data, size: data.length, sha256: new Uint8Array(sha256) }),
  };
}

/** A file as it stands inside. */
function inside(name: string, text = "x", more: Record<string, unknown> = {}) {
  const bytes = new Uint8Array(Buffer.from(text));
  const sha256 = new Uint8Array(createHash("sha256").update(bytes).digest());
  return { name, mode: 0o600, mtime: 0, size: bytes.length, sha256, bytes, ...more };
}

suite("a version of companion files", () => {
  for (const [kind, compression] of [
    ["zstd", defaultCompression],
    ["none", none],
  ] as const) {
    test(`comes back as it was, with ${kind}`, async () => {
      const { name, bytes } = await encodeCompanions(version(), compression);

      const found = await decodeCompanions(name, bytes);

      assert.deepEqual(found, version());
      assert.match(
        name,
        /^files\/45c401b6d4ba52fe\/00000000000001c3-01a203b02866-[0-9a-f]{16}\.files\.cbor$/,
      );
      assert.deepEqual(parseObjectName(name), { kind: "files", name });
      assert.equal(parseCompanionsName(name)?.stampMs, 0x01a203b02866);
    });
  }

  test("is the same object when it is made again", async () => {
    assert.deepEqual(
      await encodeCompanions(version(), defaultCompression),
      await encodeCompanions(version(), defaultCompression),
    );
  });

  test("may hold no file at all: all of them were removed", async () => {
    const { name, bytes } = await encodeCompanions(version({ files: [], skipped: [] }), none);

    assert.deepEqual((await decodeCompanions(name, bytes)).files, []);
  });

  test("cut anywhere is refused; changed anywhere it is refused, or what it was", async () => {
    const { name, bytes } = await encodeCompanions(version(), defaultCompression);
    for (let length = 0; length < bytes.length; length += 7) {
      await assert.rejects(decodeCompanions(name, bytes.subarray(0, length)), { code: "corrupt" });
    }
    let same = 0;
    for (let at = 0; at < bytes.length; at += 1) {
      const changed = Uint8Array.from(bytes);
      changed[at] = (changed[at] as number) ^ 1;
      try {
        assert.deepEqual(await decodeCompanions(name, changed), version(), `byte ${at}`);
        same += 1;
      } catch (error) {
        const { code = "" } = error as { readonly code?: string };
        assert.ok(["corrupt", "too-large", "unsupported-version"].includes(code), `byte ${at}: ${error}`);
      }
    }
    assert.ok(same < 16, `${same} bytes of zstd's frame say nothing of the content`);
  });

  test("under another's name is refused", async () => {
    const { name, bytes } = await encodeCompanions(version(), none);

    for (const other of [
      name.replace("00000000000001c3", "00000000000001c4"),
      name.replace("45c4", "45c5"),
    ]) {
      await assert.rejects(decodeCompanions(other, bytes), { code: "corrupt" });
    }
    await assert.rejects(decodeCompanions("files/x", bytes), { code: "bad-name" });
  });

  test("holds no more than it may", async () => {
    const large = { ...file("large"), bytes: new Uint8Array(companionBytesMax + 1) };
    const mebibyte = new Uint8Array(companionBytesMax);
    const count = companionSetBytesMax / companionBytesMax + 1;
    const total = Array.from({ length: count }, (_, at) => ({ ...file(`${at}`), bytes: mebibyte }));
    const many = Array.from({ length: companionsMax + 1 }, (_, at) => file(`${at}`));

    for (const files of [[large], total, many]) {
      await assert.rejects(encodeCompanions(version({ files }), none), { code: "too-large" });
    }
    await encodeCompanions(version({ files: total.slice(1) }), none);
  });

  test("that decodes to more than it says is refused before it is decoded", async () => {
    const { name, bytes } = await encodeCompanions(
      version({ files: [{ ...file("zeros"), bytes: new Uint8Array(companionBytesMax) }] }),
      defaultCompression,
    );
    const outer = Object.fromEntries(decodeCbor(bytes) as Map<string, unknown>);

    await assert.rejects(decodeCompanions(name, encodeCbor({ ...outer, size: 100 })), { code: "too-large" });
  });

  test("of a later program is refused as such", async () => {
    const { name, bytes } = await forged((found) => ({ ...found, version: 2 }));

    await assert.rejects(decodeCompanions(name, bytes), { code: "unsupported-version" });
  });

  for (const hostile of [
    "../../etc/cron.d/x",
    "/etc/passwd",
    "a/../../b",
    "a\\b",
    "",
    "a\0b",
    "./a",
    "a//b",
  ]) {
    test(`with the name ${JSON.stringify(hostile)} is refused, however right its checksums are`, async () => {
      const { name, bytes } = await forged((found) => ({ ...found, files: [inside(hostile)] }));

      await assert.rejects(decodeCompanions(name, bytes), { code: "corrupt" });
      await assert.rejects(encodeCompanions(version({ files: [file(hostile)] }), none), { code: "bad-name" });
    });
  }

  test("with a name twice, or a file below a file, is refused", async () => {
    for (const names of [
      ["a", "a"],
      ["a", "a/b"],
    ]) {
      const { name, bytes } = await forged((found) => ({ ...found, files: names.map((one) => inside(one)) }));
      await assert.rejects(decodeCompanions(name, bytes), { code: "corrupt" });
    }
  });

  test("never has a mode beyond permissions", async () => {
    const { name, bytes } = await forged((found) => ({
      ...found,
      files: [inside("a", "x", { mode: 0o4755 })],
    }));

    await assert.rejects(decodeCompanions(name, bytes), { code: "corrupt" });
  });

  test("whose file is not what its checksum says is refused", async () => {
    const { name, bytes } = await forged((found) => ({
      ...found,
      files: [inside("a", "x", { bytes: new Uint8Array([1]) })],
    }));

    await assert.rejects(decodeCompanions(name, bytes), { code: "corrupt" });
  });
});

suite("the digest of a set", () => {
  test("changes with content, name, mode and what was left out, and not with a touch", () => {
    const set = version();
    const digest = companionSetDigest(set);
    const other = (change: Partial<Companion>) =>
      companionSetDigest({ ...set, files: [{ ...file("tls/cert.pem"), ...change }, file("tls/key.pem")] });

    assert.equal(other({ mtimeMs: 5 }), digest);
    for (const change of [{ bytes: new Uint8Array([1]) }, { name: "b" }, { mode: 0o644 }]) {
      assert.notEqual(other(change), digest);
    }
    assert.notEqual(companionSetDigest({ ...set, skipped: [] }), digest);
  });
});
