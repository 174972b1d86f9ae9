// Restores while everything else works on the same replica, on files and on an S3 server. PAGEFERRY_RESTORES=1000 is the long form.
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { openStore } from "@pageferry/functions";
import { s3Store } from "@pageferry/functions/stores/s3";
import { startS3, withoutS3Server } from "../servers/s3.ts";
import { chance, temporaryDirectory } from "../temporary.ts";
import { restoreUnderFire, type UnderFireReport } from "./under-fire-run.ts";

const restores = Number(process.env.PAGEFERRY_RESTORES ?? 30);

function assertReal(report: UnderFireReport, seed: number, graceMs: number | undefined): void {
  const words = `seed ${seed}: ${JSON.stringify(report)}`;
  assert.ok(report.restores >= restores, words);
  // Else nothing was proved: all of it has to have been at work.
  assert.ok(report.merged > 10 && report.snapshots > 0 && report.removed > 20 && report.slow > 0, words);
  assert.ok(report.gone + report.letGo < report.restores, words);
  if (graceMs === 0) assert.ok(report.replans > 0, words);
  // A lease keeps the point, and not the way to it: it may have to be planned again, but never in vain.
  else assert.equal(report.letGo, 0, words);
  process.stdout.write(`${words}\n`);
}

const suites = [
  { name: "are all right", graceMs: undefined },
  { name: "find another way to the same point where objects go without a grace", graceMs: 0 },
] as const;
for (const { name, graceMs } of suites) {
  suite(`restores beside fan-out, compaction, snapshots and prune, flat out, ${name}`, () => {
    test("from files", async () => {
      await using directory = await temporaryDirectory();
      await using store = await openStore({ type: "file", path: directory.file("replica") });
      const luck = chance();
      assertReal(await restoreUnderFire(store, restores, luck, graceMs), luck.seed, graceMs);
    });

    test("from an S3 server", { skip: withoutS3Server }, async () => {
      await using server = await startS3();
      const bucket = await server.makeBucket();
      await using store = s3Store(server.entry(bucket));
      const luck = chance();
      assertReal(await restoreUnderFire(store, restores, luck, graceMs), luck.seed, graceMs);
    });
  });
}
