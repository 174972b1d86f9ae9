// The largest bodies that are staged in a bucket, at versitygw: 5 GiB in one request and once more, 8 GB in parts, and what
// memory that takes. Needs 24 GB of disk and some minutes; the sizes can be given instead:
//   node -C @pageferry/source test/proofs/stage-large.ts [BYTES…]
import { createHash, randomFillSync } from "node:crypto";
import { HeadObjectCommand } from "@aws-sdk/client-s3";
import { createSqsQueue, type StagedBody } from "@pageferry/agent";
import { bucketStagedBytesMax } from "@pageferry/format";
import { startS3 } from "../servers/s3.ts";

const chunkBytes = 2 ** 20;

/** A body that no disk holds: one random chunk, numbered anew each time. */
async function largeBody(size: number): Promise<StagedBody> {
  const chunk = randomFillSync(Buffer.alloc(chunkBytes));
  async function* open() {
    for (let at = 0; at < size; at += chunkBytes) {
      const next = Buffer.from(chunk);
      next.writeUIntBE(at, 0, 6);
      yield next.subarray(0, Math.min(chunkBytes, size - at));
    }
  }
  const hash = createHash("sha256");
  for await (const bytes of open()) hash.update(bytes);
  return { digest: hash.digest("hex"), size, open };
}

await using server = await startS3();
const bucket = await server.makeBucket();
const { accessKey = "", secretKey = "" } = server.entry(bucket);
process.env.AWS_ACCESS_KEY_ID = accessKey;
process.env.AWS_SECRET_ACCESS_KEY = secretKey;
const queue = createSqsQueue({
  url: `sqs://000000000000/none?endpoint=${server.endpoint}`,
  staging: `s3://${bucket}?endpoint=${server.endpoint}`,
});
const rssMiB = () => Math.round(process.memoryUsage().rss / 2 ** 20);
const onePutBytes = 5 * 2 ** 30;
const asked = process.argv.slice(2).map(Number);
for (const size of asked.length > 0 ? asked : [onePutBytes, bucketStagedBytesMax]) {
  const body = await largeBody(size);
  // In parts all goes over the line before it is known that it is there: once is enough.
  for (const turn of size > onePutBytes ? ["first"] : ["first", "again"]) {
    const [startMs, beforeMiB] = [performance.now(), rssMiB()];
    await queue.stage("app", body);
    const seconds = (performance.now() - startMs) / 1000;
    const peakMiB = Math.round(process.resourceUsage().maxRSS / 1024);
    console.log(JSON.stringify({ size, turn, seconds: Math.round(seconds), beforeMiB, peakMiB }));
  }
  const { ContentLength } = await server.client.send(
    new HeadObjectCommand({ Bucket: bucket, Key: `stage/app/${body.digest}` }),
  );
  if (ContentLength !== size) throw new Error(`${ContentLength} bytes are there`);
}
