import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { suite, test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { inlineBytesMax, isPageferryError, PageferryError } from "@pageferry/format";
import { movableFile, startBench, temporary, until } from "../../testing/agent-bench.ts";
import { startSlowLine } from "../../testing/slow-line.ts";
import { assertRestores, startTinyHost } from "../../testing/tiny-host.ts";
import { isBodyLost, type StagedBody } from "../queue.ts";
import { createHttpQueue } from "./http.ts";

const mb = 2 ** 20;

/** A body in one piece, as segments are, or in many. */
function bodyOf(size: number, chunkBytes = size): StagedBody & { readonly opened: number } {
  const bytes = randomBytes(size);
  const body = {
    digest: createHash("sha256").update(bytes).digest("hex"),
    size,
    opened: 0,
    async *open() {
      body.opened += 1;
      for (let at = 0; at < size; at += chunkBytes) yield bytes.subarray(at, at + chunkBytes);
    },
  };
  return body;
}

suite("a slow line", () => {
  test("carries an envelope for as long as it takes, also far above the limit for standing still", async () => {
    await using host = await startTinyHost();
    await using line = await startSlowLine(host.port, 400_000);
    const queue = createHttpQueue({ url: line.url, timeoutMs: 200 });
    const startMs = performance.now();

    await assert.rejects(queue.send(randomBytes(inlineBytesMax)), (error: PageferryError) => {
      // TinyHost read it whole, and it was no envelope.
      return isPageferryError(error, "unavailable") && error.message.includes("status 500");
    });

    assert.ok(performance.now() - startMs > 1000, "the line was not slow");
  });

  for (const [how, chunkBytes] of [
    ["in one piece", 12 * mb],
    ["in many", mb],
  ] as const) {
    test(`carries a large body ${how}, once, while it moves`, async () => {
      await using host = await startTinyHost();
      await using line = await startSlowLine(host.port, 8 * mb);
      const body = bodyOf(12 * mb, chunkBytes);
      const startMs = performance.now();

      await createHttpQueue({ url: line.url, stallMs: 300 }).stage("app", body);

      assert.ok(performance.now() - startMs > 1000, "the line was not slow");
      assert.equal(body.opened, 1);
      assert.ok(line.carried > body.size);
    });
  }

  test("that stands still in the middle of a body is given up soon, and tried again", async () => {
    await using host = await startTinyHost();
    await using line = await startSlowLine(host.port, 20 * mb);
    const body = bodyOf(40 * mb, mb);
    const queue = createHttpQueue({ url: line.url, stallMs: 300, unseenMs: 500 });
    const staging = queue.stage("app", body);
    staging.catch(() => {});
    await until("some of it", () => line.carried > 2 * mb);
    line.bytesPerSecond = 0;
    const startMs = performance.now();

    await assert.rejects(staging, { code: "unavailable", message: /nothing moved/ });

    assert.ok(performance.now() - startMs < 10_000);
  });

  test("brings an agent's commits and snapshots to the host", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    await using line = await startSlowLine(host.port, 20_000);
    const file = movableFile();
    await using bench = await startBench(line, directory.path, file);
    await bench.settled();

    file.commit(20);
    await bench.settled();

    await assertRestores(host, bench.generation(), file.model.at(21));
  });
});

test("a body that something on the way takes at once and brings slowly is waited for longer with each time", async () => {
  await using host = await startTinyHost();
  const limitsMs: number[] = [];
  let askedMs = 0;
  host.delay = () => 1000;
  const queue = createHttpQueue({ url: host.url, stallMs: 20, unseenMs: 150 });
  const body = bodyOf(mb, mb);
  for (let isDone = false; !isDone; ) {
    askedMs = performance.now();
    isDone = await queue.stage("app", body).then(
      () => true,
      () => false,
    );
    limitsMs.push(performance.now() - askedMs);
  }

  assert.ok(limitsMs.length >= 3 && limitsMs.length <= 5, limitsMs.join());
  assert.equal(body.opened, limitsMs.length);
});

suite("a staged body", () => {
  test("that cannot be read is no fault of the host's, and is not asked for again", async () => {
    await using host = await startTinyHost();
    const lost: StagedBody = {
      ...bodyOf(mb),
      // biome-ignore lint/correctness/useYield: it has nothing to give.
      async *open() {
        throw new PageferryError("not-found", "the spool is gone");
      },
    };

    const error: unknown = await createHttpQueue({ url: host.url })
      .stage("app", lost)
      .catch((thrown: unknown) => thrown);

    assert.ok(isBodyLost(error));
    assert.ok(isPageferryError(error, "corrupt") && error.message.includes("the spool is gone"));
  });
});

test("while a call takes long the host hears heartbeats, and an alarm comes if it takes none", async () => {
  await using host = await startTinyHost();
  await using directory = await temporary();
  const file = movableFile();
  let isAnswering = true;
  const held: { calls: number; beats: number } = { calls: 0, beats: 0 };
  const inner = createHttpQueue({ url: host.url });
  const queue = {
    ...inner,
    async send(envelope: Uint8Array, options?: { readonly signal?: AbortSignal }) {
      if (held.calls > 0) {
        held.beats += 1;
        if (!isAnswering) throw new PageferryError("unavailable", "it stands still");
        return inner.send(envelope, options);
      }
      if (envelope.length < 600) return inner.send(envelope, options);
      held.calls += 1;
      try {
        await until("the end of a long call", () => held.beats >= 3 && isAnswering);
        await inner.send(envelope, options);
      } finally {
        held.calls = -1_000_000;
      }
    },
  };
  await using bench = await startBench(host, directory.path, file, { heartbeatMs: 30, queue });
  await bench.settled();

  file.commit(5, "at once");
  await until("heartbeats", () => held.beats >= 2);
  isAnswering = false;
  await until("an alarm", () =>
    bench.status().alarms.some(({ message }) => message.includes("stands still")),
  );
  isAnswering = true;
  await bench.settled();
  await setTimeout(100);

  assert.deepEqual(bench.status().alarms, []);
});
