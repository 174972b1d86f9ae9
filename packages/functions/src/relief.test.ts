import assert from "node:assert/strict";
import { test } from "node:test";
import { openQueue } from "./queue.ts";
import { createRelief } from "./relief.ts";

const digest = "0".repeat(64);

test("when a sender is refused, dead letters go that another replica has, and their staged bodies with them", async () => {
  await using queue = openQueue({ path: ":memory:", now: () => 0 });
  const message = { database: "app", body: Uint8Array.of(1), receivedAtMs: 0 };
  await queue.send("in", { ...message, digests: [digest], stagedBytes: 5000 });
  const [taken] = queue.receive("in", { messagesMax: 1, bytesMax: 100, visibilityMs: 1000 });
  const onward = [{ lane: "b", dead: true, error: "corrupt: x" }];
  queue.settle([{ id: taken?.id ?? 0, kind: "done", onward, isStored: true }]);
  assert.deepEqual(queue.unreferenced([digest]), []);
  let told = 0;
  const relief = createRelief({
    queue,
    targets: [{ lane: "b", copyLane: "copy:b" }],
    bounds: { messagesMax: 10, bytesMax: 1000, stagedBytesMax: 10_000 },
    onShed: () => {
      told += 1;
    },
    onError: (error) => assert.fail(error as Error),
  });

  relief.check();
  assert.equal(queue.deadLetters().length, 1);
  relief.relieve();
  for (let turn = 0; told === 0 && turn < 1000; turn++) await new Promise(setImmediate);
  await relief.stop();

  assert.deepEqual(queue.deadLetters(), []);
  assert.deepEqual(queue.unreferenced([digest]), [digest]);
  assert.equal(queue.behind().length, 1);
});
