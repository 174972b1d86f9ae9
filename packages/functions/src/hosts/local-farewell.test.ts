import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite, type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type Envelope, parseDatabaseName, txId } from "@pageferry/format";
import { epochMs, historyOf } from "../../testing/history.ts";
import { type LocalHost, localHost } from "./local.ts";

const history = historyOf("a1");
const other = historyOf("b2");

/** A host whose clock a test moves, and that may be started again. */
async function open(t: TestContext) {
  const dataDir = await mkdtemp(join(tmpdir(), "pageferry-farewell-"));
  const clock = { nowMs: epochMs };
  let host: LocalHost | undefined;
  const start = async () => {
    await host?.close({ deadlineMs: 1000 });
    host = await localHost({ dataDir }, { http: false, now: () => clock.nowMs });
    return host;
  };
  t.after(async () => {
    await host?.close({ deadlineMs: 0 });
    await rm(dataDir, { recursive: true, force: true });
  });
  return { clock, start };
}

function send(
  host: LocalHost,
  name: "app" | "other",
  nowMs: number,
  more: Partial<Envelope> = {},
): Promise<void> {
  const from = name === "app" ? history : other;
  const said = { newestTxId: txId(4), newestStampMs: epochMs, sentAtMs: nowMs, ...more };
  return host.queue.send(from.envelope([], { database: parseDatabaseName(name), ...said }));
}

async function untilAlarms(host: LocalHost, codes: readonly string[]): Promise<void> {
  const now = () =>
    host
      .alarms()
      .filter(({ code }) => code === "silent")
      .map(({ database }) => database ?? "")
      .sort();
  const endMs = performance.now() + 60_000;
  while (JSON.stringify(now()) !== JSON.stringify(codes)) {
    assert.ok(performance.now() < endMs, `${codes.join(" ")} did not come, but ${now().join(" ")}`);
    await sleep(50);
  }
}

suite("a database that was let go on purpose", () => {
  test("is not called silent, also after a restart, until it is heard of again", async (t) => {
    const { clock, start } = await open(t);
    const first = await start();
    for (const name of ["app", "other"] as const) await send(first, name, clock.nowMs);
    clock.nowMs += 120_000;
    // As it stood before: an alarm for each.
    await untilAlarms(first, ["app", "other"]);
    await send(first, "app", clock.nowMs, { farewell: "unregistered" });
    const sinceMs = clock.nowMs;
    await untilAlarms(first, ["other"]);

    const second = await start();
    clock.nowMs += 86_400_000;
    await untilAlarms(second, ["other"]);
    const { parted, lastHeard } = await second.status("app");
    await send(second, "app", clock.nowMs);
    const again = (await second.status("app")).parted;
    clock.nowMs += 120_000;

    await untilAlarms(second, ["app", "other"]);
    assert.deepEqual(parted, {
      since: new Date(sinceMs).toISOString(),
      ...{ by: "pageferry unregister on host", reason: "unregistered" },
    });
    assert.equal(lastHeard, new Date(sinceMs).toISOString());
    assert.equal(again, null);
    assert.equal((await second.status("other")).parted, null);
  });
});
