// The long form of packages/functions/src/time-histories.test.ts: 10,000 histories, some twenty minutes.

import { test } from "node:test";
import fc from "fast-check";
import { happenings, live } from "../../packages/functions/testing/time-world.ts";
import { temporaryDirectory } from "../temporary.ts";

test("10,000 histories: what is kept comes back, and what is not goes", async () => {
  await using directory = await temporaryDirectory();
  await fc.assert(
    fc.asyncProperty(happenings, fc.boolean(), (history, hasFreelist) =>
      live(history, hasFreelist, directory.file("scratch")),
    ),
    { numRuns: Number(process.env.HISTORIES ?? 10_000) },
  );
});
