import assert from "node:assert/strict";
import { suite, test } from "node:test";
import type { Queue } from "@pageferry/agent";
import { capturedIo } from "../testing/captured-io.ts";
import { withStageProgress } from "./progress.ts";

suite("the progress of a snapshot", () => {
  test("leaves the bytes, the name and the other calls of the queue as they are", async () => {
    const staged: Uint8Array[] = [];
    const queue: Queue = {
      name: "a queue",
      async send() {},
      async stage(_database, body) {
        assert.equal(body.digest, "d");
        for await (const chunk of body.open()) staged.push(chunk);
      },
      async needs() {
        return undefined;
      },
    };
    const body = {
      digest: "d",
      size: 3,
      async *open() {
        yield Uint8Array.of(1, 2);
        yield Uint8Array.of(3);
      },
    };

    for (const isTerminal of [false, true]) {
      const wrapped = withStageProgress(queue, { ...capturedIo(), isTerminal });
      await wrapped.stage("app", body);
      assert.equal(wrapped.name, "a queue");
      assert.equal(wrapped.send, queue.send);
    }

    assert.deepEqual(Buffer.concat(staged), Buffer.of(1, 2, 3, 1, 2, 3));
  });
});
