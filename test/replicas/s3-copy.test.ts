// A large copy into S3 that pauses between two parts and goes on in another process.

import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { after, before, suite, test } from "node:test";
import { AbortMultipartUploadCommand, ListMultipartUploadsCommand } from "@aws-sdk/client-s3";
import { type S3Store, s3Store } from "@pageferry/functions/stores/s3";
import { type S3Server, startS3, withoutS3Server } from "../servers/s3.ts";

const partBytes = 32 * 1024 * 1024;

/** Three parts, the last one short. */
const bytes = randomBytes(2 * partBytes + 12_345);
const sha256 = createHash("sha256").update(bytes).digest("hex");

/** A body whose copy pauses after so many looks at the clock; `saved` is all that outlives a turn. */
function bodyOf(saved: { text?: string }, looks: number, digest = sha256) {
  let left = looks;
  const read: number[] = [];
  return {
    read,
    ...{ size: bytes.length, sha256: digest },
    async *open() {
      yield bytes;
    },
    resumable: {
      async read(offset: number, length: number) {
        read.push(offset);
        return bytes.subarray(offset, offset + length);
      },
      load: () => saved.text,
      save(text: string) {
        saved.text = text;
      },
      mustPause: () => left-- <= 0,
    },
  };
}

suite("a large copy that may pause", { skip: withoutS3Server }, () => {
  let server: S3Server;
  let bucket: string;
  before(async () => {
    server = await startS3();
    bucket = await server.makeBucket();
  });
  after(() => server?.[Symbol.asyncDispose]());

  const open = (): S3Store => s3Store({ ...server.entry(bucket), region: "us-east-1" });
  const stored = async (name: string) => {
    await using store = open();
    const hash = createHash("sha256");
    for await (const chunk of await store.get(name)) hash.update(chunk);
    return hash.digest("hex");
  };
  const turn = async (name: string, body: ReturnType<typeof bodyOf>) => {
    await using store = open();
    return store.put(name, body);
  };

  test("goes on where it paused, and reads nothing twice but the part that was under way", async () => {
    const saved: { text?: string } = {};
    // The first look is before anything is begun, the others before each part.
    await assert.rejects(turn("app/large", bodyOf(saved, 2)), { code: "timeout" });
    assert.deepEqual(await server.uploads(bucket), ["app/large"]);
    await assert.rejects(turn("app/large", bodyOf(saved, 2)), { code: "timeout" });
    const last = bodyOf(saved, 9);
    assert.equal(await turn("app/large", last), "stored");
    assert.deepEqual(last.read, [2 * partBytes]);
    assert.equal(await stored("app/large"), sha256);
    assert.equal(saved.text, "");
    assert.deepEqual(await server.uploads(bucket), []);
  });

  test("that has no time at all does nothing, and forgets nothing", async () => {
    const saved: { text?: string } = {};
    await assert.rejects(turn("app/later", bodyOf(saved, 2)), { code: "timeout" });
    const { text } = saved;
    await assert.rejects(turn("app/later", bodyOf(saved, 0)), { code: "timeout" });
    assert.equal(saved.text, text);
  });

  test("finds what is there already without an upload", async () => {
    await turn("app/present", bodyOf({}, 9));
    const again = bodyOf({}, 9);
    assert.equal(await turn("app/present", again), "present");
    assert.deepEqual(again.read, []);
  });

  test("of a body with another digest is corrupt, and leaves nothing", async () => {
    const saved: { text?: string } = {};
    const wrong = "0".repeat(64);
    await assert.rejects(turn("app/wrong", bodyOf(saved, 2, wrong)), { code: "timeout" });
    await assert.rejects(turn("app/wrong", bodyOf(saved, 9, wrong)), { code: "corrupt" });
    assert.equal((await server.uploads(bucket)).includes("app/wrong"), false);
    await assert.rejects(stored("app/wrong"), { code: "not-found" });
  });

  test("begins anew where its upload is gone", async () => {
    const saved: { text?: string } = {};
    await assert.rejects(turn("app/gone", bodyOf(saved, 2)), { code: "timeout" });
    const { Uploads = [] } = await server.client.send(new ListMultipartUploadsCommand({ Bucket: bucket }));
    const { UploadId } = Uploads.find(({ Key }) => Key === "app/gone") ?? {};
    await server.client.send(new AbortMultipartUploadCommand({ Bucket: bucket, Key: "app/gone", UploadId }));
    await assert.rejects(turn("app/gone", bodyOf(saved, 9)), { code: "unavailable" });
    // A server that refuses a part before it has come may cut the line, and its reason with it: then one more turn finds out.
    if (saved.text !== "") await assert.rejects(turn("app/gone", bodyOf(saved, 9)), { code: "unavailable" });
    assert.equal(saved.text, "");
    assert.equal(await turn("app/gone", bodyOf(saved, 9)), "stored");
    assert.equal(await stored("app/gone"), sha256);
  });

  test("in two processes at once, after a message came twice, is stored once and whole", async () => {
    const saved: { text?: string } = {};
    await assert.rejects(turn("app/twice", bodyOf(saved, 2)), { code: "timeout" });
    const turns = [bodyOf({ ...saved }, 9), bodyOf({ ...saved }, 9)].map((body) => turn("app/twice", body));
    const outcomes = await Promise.allSettled(turns);
    const values = outcomes.map((one) => (one.status === "fulfilled" ? one.value : one.reason.code));
    assert.ok(values.includes("stored"), String(values));
    assert.ok(
      values.every((value) => ["stored", "present", "unavailable"].includes(value)),
      String(values),
    );
    assert.equal(await turn("app/twice", bodyOf({}, 9)), "present");
    assert.equal(await stored("app/twice"), sha256);
  });
});
