import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { PageferryError } from "@pageferry/format";
import { throttled } from "./queue.ts";
import { pauseMsAfter, retryForever } from "./retry.ts";
import type { Wake } from "./wake.ts";

/** A wake that waits not at all, and notes for how long it should have. */
function noted(): Wake & { readonly pausesMs: number[] } {
  const pausesMs: number[] = [];
  return {
    pausesMs,
    notify() {},
    wait(ms) {
      pausesMs.push(ms);
      return Promise.resolve();
    },
  };
}

function failing(times: number, error: Error): () => Promise<string> {
  let left = times;
  return () => {
    left -= 1;
    return left >= 0 ? Promise.reject(error) : Promise.resolve("done");
  };
}

const { signal } = new AbortController();

suite("asking again", () => {
  test("goes on for as long as it takes, with pauses that grow to half a minute", async () => {
    const hurry = noted();

    const answer = await retryForever(failing(2000, new PageferryError("unavailable", "away")), {
      signal,
      hurry,
      random: () => 1,
    });

    assert.equal(answer, "done");
    assert.deepEqual(hurry.pausesMs.slice(0, 9), [250, 500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
    assert.equal(hurry.pausesMs.at(-1), 30_000);
  });

  test("spreads its pauses over half of each", () => {
    assert.deepEqual(
      [pauseMsAfter(3, () => 0), pauseMsAfter(3, () => 0.5), pauseMsAfter(3, () => 1)],
      [500, 750, 1000],
    );
  });

  test("waits as long as the host asked, up to an hour", async () => {
    const hurry = noted();

    await retryForever(failing(1, throttled("busy", 7000)), { signal, hurry, random: () => 0 });
    await retryForever(failing(1, throttled("busy", 1e9)), { signal, hurry, random: () => 0 });

    assert.deepEqual(hurry.pausesMs, [7000, 3_600_000]);
  });

  test("does not ask again for what is refused", async () => {
    const hurry = noted();

    const asked = retryForever(failing(1, new PageferryError("unauthorized", "no")), {
      signal,
      hurry,
      random: () => 0,
    });

    await assert.rejects(asked, { code: "unauthorized" });
    assert.deepEqual(hurry.pausesMs, []);
  });

  test("ends with the reason of its signal", async () => {
    const controller = new AbortController();
    const hurry: Wake = {
      notify() {},
      wait() {
        controller.abort(new RangeError("enough"));
        return Promise.resolve();
      },
    };

    const asked = retryForever(failing(9, new PageferryError("unavailable", "away")), {
      signal: controller.signal,
      hurry,
      random: () => 0,
    });

    await assert.rejects(asked, RangeError);
  });
});
