// Restores while everything else works on the same replica, on files and on an S3 server. PAGEFERRY_RESTORES=1000 is the long form.
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { openStore } from "@pageferry/functions";
import { s3Store } from "@pageferry/functions/stores/s3";
import { startS3, withoutS3Server } from "../servers/s3.ts";
import { chance, temporaryDirectory } from "../temporary.ts";
import { restoreUnderFire, type UnderFireReport } from "./under-fire-run.ts";

const restores = Number(process.env.PAGEFERRY_RESTORES ?? 80);

function assertReal(report: UnderFireReport, seed: number): void {
  const words = `seed ${seed}: ${JSON.stringify(report)}`;
  assert.ok(report.restores >= restores, words);
  // Else nothing was proved: all of it has to have been at work.
  assert.ok(report.merged > 10 && report.snapshots > 0 && report.removed > 20, words);
  assert.ok(report.gone < report.restores, words);
  process.stdout.write(`${words}\n`);
}

suite("restores beside fan-out, compaction, snapshots and prune, flat out, are all right", () => {
  test("from files", async () => {
    await using directory = await temporaryDirectory();
    await using store = await openStore({ type: "file", path: directory.file("replica") });
    const luck = chance();
    assertReal(await restoreUnderFire(store, restores, luck), luck.seed);
  });

  test("from an S3 server", { skip: withoutS3Server }, async () => {
    await using server = await startS3();
    const bucket = await server.makeBucket();
    await using store = s3Store(server.entry(bucket));
    const luck = chance();
    assertReal(await restoreUnderFire(store, restores, luck), luck.seed);
  });
});
