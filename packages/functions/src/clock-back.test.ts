import assert from "node:assert/strict";
import { test } from "node:test";
import { createAlarms } from "./alarms.ts";
import { openQueue } from "./queue.ts";
import type { ReplicaSet } from "./replicas.ts";
import { createTarget } from "./targets.ts";

const dayMs = 86_400_000;

test("a message that waits to be tried again comes soon after the clock went back", async () => {
  let nowMs = 1_800_000_000_000;
  await using queue = openQueue({ path: ":memory:", now: () => nowMs });
  const bounds = { messagesMax: 10, bytesMax: 1000, visibilityMs: 60_000 };
  await queue.send("lane", { database: "app", body: Uint8Array.of(1), receivedAtMs: nowMs });
  const [taken] = queue.receive("lane", bounds);
  queue.settle([{ id: taken?.id ?? 0, kind: "retry", delayMs: 30_000 }]);
  assert.equal(queue.receive("lane", bounds).length, 0);

  nowMs -= dayMs;

  assert.equal(queue.receive("lane", bounds).length, 1);
  assert.equal(queue.receive("lane", bounds).length, 0);
});

test("a replica that failed is asked again soon after the clock went back", async () => {
  let nowMs = 1_800_000_000_000;
  const set = { name: "one", of: () => Promise.reject(new Error("away")) } as unknown as ReplicaSet;
  const now = () => nowMs;
  const options = { stagedBody: () => Promise.reject(new Error("none")), alarms: createAlarms({ now }), now };
  const target = createTarget(set, { ...options, random: () => 1 });
  const envelope = { database: "app", begin: { generation: "00000000000000aa" }, items: [] };
  await target.deliver(
    [{ id: 1, envelope: envelope as never, receivedAtMs: nowMs }],
    AbortSignal.timeout(1000),
  );
  assert.equal(target.isReady(), false);
  assert.equal(target.enter(), undefined);

  nowMs -= dayMs;

  assert.equal(target.enter()?.isProbe, true);
  assert.equal(target.health().waitMs, 0);
});
