import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { decodeEnvelope, type Envelope } from "@pageferry/format";
import { historyOf } from "../testing/history.ts";
import { type Parting, partingAfter, partingStatus } from "./parting.ts";

const history = historyOf("a1");
const elsewhere = historyOf("a1", "", { host: "elsewhere" });

const sent = (sentAtMs: number, farewell?: string, from = history): Envelope => ({
  ...decodeEnvelope(from.envelope([])),
  ...{ sentAtMs, farewell },
});

/** Said at 100, by both clocks. */
const parting: Parting = { reason: "unregistered", host: history.begin.host, atMs: 100, sentAtMs: 100 };
const known = { parting, lastSeenMs: 100 };

suite("a database that is no longer backed up", () => {
  test("is one of which a farewell came, and nothing newer before it", () => {
    assert.deepEqual(
      partingAfter({ parting: null, lastSeenMs: 90 }, sent(100, "unregistered"), 100),
      parting,
    );
    assert.equal(partingAfter({ parting: null, lastSeenMs: 101 }, sent(100, "unregistered"), 100), null);
  });

  test("stays so with what was sent before, however late that comes", () => {
    assert.equal(partingAfter(known, sent(100), 100), parting);
    assert.equal(partingAfter(known, sent(20), 30), parting);
    assert.equal(partingAfter(known, sent(100, "unregistered"), 130), parting);
    // By another line, which the farewell overtook.
    assert.equal(partingAfter(known, sent(90), 110), parting);
  });

  test("is backed up again with what was sent later, though one of two clocks was set back", () => {
    assert.equal(partingAfter(known, sent(101), 101), null);
    assert.equal(partingAfter(known, sent(101), 50), null);
    assert.equal(partingAfter(known, sent(50), 60_101), null);
    assert.equal(partingAfter(known, sent(50, undefined, elsewhere), 101), null);
    assert.equal(partingAfter(known, sent(900, undefined, elsewhere), 99), parting);
  });

  test("is told of by whom and since when, also for a reason that is not known here", () => {
    assert.deepEqual(partingStatus(parting), {
      ...{ since: "1970-01-01T00:00:00.100Z", by: "pageferry unregister on host", reason: "unregistered" },
    });
    assert.equal(partingStatus({ ...parting, reason: "moved" }).by, "its agent (moved) on host");
  });
});
