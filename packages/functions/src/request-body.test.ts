import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { Context } from "hono";
import { chunksOf } from "./request-body.ts";

const pace = { windowMs: 40, bytesMin: 1000 };

/** A request whose body comes in these pieces, each after some milliseconds. */
function slowly(pieces: readonly number[], everyMs: number): { context: Context; isLeft: () => boolean } {
  let isLeft = false;
  const incoming = {
    async *iterator() {
      try {
        for (const size of pieces) {
          if (everyMs > 0) await sleep(everyMs);
          yield new Uint8Array(size);
        }
      } finally {
        isLeft = true;
      }
    },
  };
  return { context: { env: { incoming } } as unknown as Context, isLeft: () => isLeft };
}

async function read(context: Context, eachMs = 0): Promise<number> {
  let size = 0;
  for await (const chunk of chunksOf(context, pace)) {
    size += chunk.length;
    if (eachMs > 0) await sleep(eachMs);
  }
  return size;
}

suite("a body", () => {
  test("that comes byte by byte is given up, and its stream is let go", async () => {
    const { context, isLeft } = slowly(new Array<number>(100).fill(1), 10);

    await assert.rejects(read(context), { code: "unavailable", message: /too slowly/ });
    assert.equal(isLeft(), true);
  });

  test("may take as long as it goes on", async () => {
    const { context } = slowly(new Array<number>(30).fill(1000), 10);

    assert.equal(await read(context), 30_000);
  });

  test("is not blamed for the time that its reader takes", async () => {
    const { context } = slowly(new Array<number>(20).fill(10), 0);

    assert.equal(await read(context, 20), 200);
  });
});
