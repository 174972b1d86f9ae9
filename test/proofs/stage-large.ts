// The largest bodies that are staged in a bucket, at versitygw: 5 GiB in one request, 8 GB in parts, each twice, and what memory
// that takes. Needs 15 GB of disk:
//   node -C @pageferry/source test/proofs/stage-large.ts
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
for (const size of [5 * 2 ** 30, bucketStagedBytesMax]) {
  const body = await largeBody(size);
  for (const turn of ["first", "again"]) {
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
