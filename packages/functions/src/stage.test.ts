import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite, type TestContext, test } from "node:test";
import { openStage } from "./stage.ts";

const digestOf = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

async function* inChunks(bytes: Uint8Array, size = 10_000): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function openTemporary(t: TestContext, more: object = {}) {
  const directory = await mkdtemp(join(tmpdir(), "pageferry-stage-"));
  t.after(() => rm(directory, { recursive: true, force: true }));
  const clock = { now: Date.now() };
  return { directory, clock, stage: await openStage({ directory, now: () => clock.now, ...more }) };
}

const bytes = Buffer.alloc(100_000, "staged");
const digest = digestOf(bytes);

suite("the stage", () => {
  test("keeps a body under its digest, once, for its owner's eyes", async (t) => {
    const { directory, stage } = await openTemporary(t);

    assert.equal(await stage.put(digest, inChunks(bytes)), "stored");
    assert.equal(await stage.put(digest, inChunks(bytes)), "present");

    assert.deepEqual(await readdir(directory), [digest]);
    assert.equal((await stat(join(directory, digest))).mode & 0o777, 0o600);
    const body = await stage.body(digest);
    assert.equal(body.size, bytes.length);
    assert.deepEqual(Buffer.concat(await Array.fromAsync(body.open())), bytes);
    assert.deepEqual(Buffer.concat(await Array.fromAsync(body.open())), bytes);
  });

  test("keeps nothing of a body that has another digest, is cut, or is too large", async (t) => {
    const { directory, stage } = await openTemporary(t, { bytesMax: 150_000 });
    const cut = async function* () {
      yield bytes.subarray(0, 5);
      throw new Error("connection lost");
    };

    await assert.rejects(stage.put(digestOf(Buffer.from("x")), inChunks(bytes)), { code: "corrupt" });
    await assert.rejects(stage.put(digest, cut()), /connection lost/);
    await assert.rejects(stage.put(digest, inChunks(Buffer.alloc(150_001))), { code: "too-large" });

    assert.deepEqual(await readdir(directory), []);
  });

  test("refuses before the first byte what is too large or has no room", async (t) => {
    const { stage } = await openTemporary(t);
    const untouched = async function* (): AsyncGenerator<Uint8Array> {
      yield assert.fail("the body was read");
    };

    await assert.rejects(stage.put(digest, untouched(), { size: 2 ** 43 }), { code: "too-large" });
    await assert.rejects(stage.put(digest, untouched(), { size: 2 ** 42 - 1 }), { code: "disk-full" });
  });

  test("takes digests only", async (t) => {
    const { stage } = await openTemporary(t);

    for (const name of ["", "..", "../x", "A".repeat(64), `${digest}0`, "/etc/passwd"]) {
      await assert.rejects(stage.put(name, inChunks(bytes)), { code: "bad-request" });
      await assert.rejects(stage.touch(name), { code: "bad-request" });
    }
    await assert.rejects(stage.body(digest), { code: "not-found" });
    assert.equal(await stage.touch(digest), undefined);
  });

  test("takes one body from two senders at a time", async (t) => {
    const { directory, stage } = await openTemporary(t);

    await Promise.all([stage.put(digest, inChunks(bytes)), stage.put(digest, inChunks(bytes, 7))]);

    assert.deepEqual(await readdir(directory), [digest]);
    assert.deepEqual(await readFile(join(directory, digest)), bytes);
  });

  test("collects what is old and nobody points at, and leftovers of killed writers", async (t) => {
    const { directory, stage, clock } = await openTemporary(t);
    const bodies = ["old", "needed", "touched", "young"].map((word) => Buffer.from(word));
    for (const body of bodies) await stage.put(digestOf(body), inChunks(body));
    const leftovers = [".pageferry-1-0.tmp", ".pageferry-2-0.tmp"];
    for (const name of leftovers) await writeFile(join(directory, name), "half");
    const hoursAgo = clock.now / 1000 - 7200;
    for (const name of [...bodies.slice(0, 3).map(digestOf), leftovers[0] ?? ""]) {
      await utimes(join(directory, name), hoursAgo, hoursAgo);
    }
    assert.equal(await stage.touch(digestOf(Buffer.from("touched"))), 7);
    const asked: string[] = [];

    const freed = await stage.collect((digests) => {
      asked.push(...digests);
      return digests.filter((name) => name !== digestOf(Buffer.from("needed")));
    });

    assert.equal(freed, 7);
    assert.deepEqual(
      asked.toSorted(),
      ["old", "needed"].map((word) => digestOf(Buffer.from(word))).toSorted(),
    );
    const kept = ["needed", "touched", "young"].map((word) => digestOf(Buffer.from(word)));
    assert.deepEqual((await readdir(directory)).toSorted(), [...kept, leftovers[1] ?? ""].toSorted());
  });

  test("keeps an old body that somebody points at while it is about to be collected", async (t) => {
    const { directory, stage } = await openTemporary(t);
    await writeFile(join(directory, digest), bytes);
    await utimes(join(directory, digest), 1, 1);
    let touched: Promise<number | undefined> = Promise.resolve(undefined);

    await stage.collect((digests) => {
      touched = stage.touch(digest);
      return digests;
    });

    assert.equal(await touched, bytes.length);
    assert.deepEqual(await readdir(directory), [digest]);
  });
});
