import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite, type TestContext, test } from "node:test";
import { parseManifestKey } from "@pageferry/format/node";
import { openManifestSigner } from "./manifest-key.ts";

async function dataDirOf(t: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "pageferry-key-"));
  t.after(() => rm(directory, { recursive: true }));
  return directory;
}

suite("a host's manifest key", () => {
  test("is made once, for its owner alone, with the public half beside it", async (t) => {
    const dataDir = await dataDirOf(t);

    const made = await openManifestSigner(dataDir);
    const again = await openManifestSigner(dataDir);

    assert.deepEqual([again.publicKey, again.keyId], [made.publicKey, made.keyId]);
    assert.equal((await stat(join(dataDir, "manifest-key.pem"))).mode & 0o777, 0o600);
    assert.equal((await stat(join(dataDir, "manifest-key.pub"))).mode & 0o777, 0o644);
    assert.equal(await readFile(join(dataDir, "manifest-key.pub"), "utf8"), `${made.publicKey}\n`);
    parseManifestKey(made.publicKey);
    assert.notEqual((await openManifestSigner(await dataDirOf(t))).publicKey, made.publicKey);
  });

  test("that cannot be read is bad-config, and is not replaced", async (t) => {
    const dataDir = await dataDirOf(t);
    await writeFile(join(dataDir, "manifest-key.pem"), "nothing");

    await assert.rejects(openManifestSigner(dataDir), { code: "bad-config" });

    assert.equal(await readFile(join(dataDir, "manifest-key.pem"), "utf8"), "nothing");
  });
});
