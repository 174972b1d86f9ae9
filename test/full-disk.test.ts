// The agent's disk is full to the last byte; the application writes elsewhere and goes on. full-disk-run.ts says what is done.
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { runFullDisk } from "./full-disk-run.ts";
import { smallDisk } from "./temporary.ts";

suite("a full disk under the shadow", { concurrency: true }, () => {
  for (const [policy, fills, end] of [
    ["stop", "shadow", "the host is back"],
    ["squash", "others", "there is room again"],
  ] as const) {
    test(`filled by ${fills === "shadow" ? "itself" : "others"} (${policy}) is told, outlived, also after a kill, and over when ${end}`, async (t) => {
      await using disk = await smallDisk(3 * 2 ** 20);

      const report = await runFullDisk({ policy, fills, disk: disk.path, judged: 8 });

      const { doctor, status, output, versions, lost, bad, generations, widest, ...figures } = report;
      t.diagnostic(JSON.stringify({ ...figures, widest }));
      assert.match(doctor, /^fail +disk +shadow .*no room for a base/m);
      assert.match(status, /: disk-full: app: appending to the shadow .*ENOSPC/);
      assert.deepEqual([lost, bad, generations], [[], [], 1]);
      assert.deepEqual(versions, ["one", "three"]);
      assert.ok(widest > 100, "what was committed meanwhile is one range");
      assert.doesNotMatch(output, /alarm: gap/);
    });
  }
});
