import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { txId } from "@pageferry/format";
import { createLag } from "./lag.ts";

suite("the lag", () => {
  test("is the age of the oldest commit that is not safe", () => {
    const lag = createLag();
    lag.seen(txId(2), 1000);
    lag.seen(txId(3), 2000);
    lag.seen(txId(4), 3000);

    lag.safe(txId(3));

    assert.equal(lag.lagMs(3500), 500);
  });

  test("is zero when all is safe, however long ago that was", () => {
    const lag = createLag();
    lag.seen(txId(2), 1000);
    lag.safe(txId(2));

    assert.equal(lag.lagMs(1_000_000), 0);
  });

  test("does not count a commit again that was safe before it was seen", () => {
    const lag = createLag();
    lag.seen(txId(2), 1000);
    lag.safe(txId(5));
    lag.seen(txId(5), 1500);

    assert.equal(lag.lagMs(9000), 0);
  });

  test("is never told too small, also of more commits than are remembered", () => {
    const lag = createLag();
    for (let id = 1; id <= 100_000; id += 1) lag.seen(txId(id), id);

    for (const safe of [10, 5000, 77_777, 99_999]) {
      lag.safe(txId(safe));
      assert.ok(lag.lagMs(100_000) >= 100_000 - (safe + 1), `${safe}: ${lag.lagMs(100_000)}`);
    }
  });

  test("begins anew when the file goes back", () => {
    const lag = createLag();
    lag.seen(txId(9), 1000);
    lag.safe(txId(9));
    lag.seen(txId(4), 2000);

    assert.equal(lag.lagMs(2500), 500);
    assert.equal(lag.newestTxId(), 4n);
  });
});
