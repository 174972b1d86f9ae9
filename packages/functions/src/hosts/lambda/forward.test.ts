import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { decodeEnvelope } from "@pageferry/format";
import { historyOf } from "../../../testing/history.ts";
import { splitEnvelope } from "./forward.ts";

const history = historyOf("a1");
const envelope = (ids: readonly number[], bytes: number) =>
  decodeEnvelope(history.envelope(ids.map((id) => history.segment(id - 1, id, bytes))));

suite("an envelope that no message holds", () => {
  test("becomes as few as fit, in order, each with how its generation began", () => {
    const whole = envelope([2, 3, 4, 5, 6], 10_000);

    const parts = splitEnvelope(whole, 30_000).map(decodeEnvelope);

    assert.ok(splitEnvelope(whole, 30_000).every(({ length }) => length <= 30_000));
    assert.deepEqual(
      parts.flatMap(({ items }) => items),
      whole.items,
    );
    assert.deepEqual(
      parts.map(({ items }) => items.length),
      [2, 2, 1],
    );
    for (const { begin, newestTxId } of parts)
      assert.deepEqual([begin, newestTxId], [whole.begin, whole.newestTxId]);
  });

  test("is refused where one of its items fits into none", () => {
    assert.throws(() => splitEnvelope(envelope([2], 40_000), 30_000), { code: "too-large" });
  });
});
