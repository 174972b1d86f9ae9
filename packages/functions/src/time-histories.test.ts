import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { happenings, live } from "../testing/time-world.ts";

// The long form of this, 10,000 histories, is test/slow/time-histories.slow.ts.
test("whatever happens, in whatever order, and whoever dies: what is kept comes back, and what is not goes", async (t) => {
  const scratchDir = await mkdtemp(join(tmpdir(), "pageferry-histories-"));
  t.after(() => rm(scratchDir, { recursive: true, force: true }));
  await fc.assert(
    fc.asyncProperty(happenings, fc.boolean(), (history, hasFreelist) =>
      live(history, hasFreelist, scratchDir),
    ),
    { numRuns: 150 },
  );
});
