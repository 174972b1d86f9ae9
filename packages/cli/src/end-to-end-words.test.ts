import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { type EndToEnd, formatEndToEnd, proofOf } from "./end-to-end-words.ts";

const [older, newer] = ["0000000000000004", "0000000000000009"];
const nowMs = Date.parse("2026-11-28T10:00:12Z");

function seen(fields: Partial<EndToEnd>): EndToEnd {
  return {
    ...{
      database: "app",
      generation: "9f86d081884c7d65",
      txid: newer,
      wanted: 1,
      isReached: true,
      waitedMs: 40,
    },
    replicas: [{ name: "file:///one", hasIt: true, txid: newer, lagMs: 0, listedAgoMs: 3 }],
    ...{ from: "file", forced: true, notForced: null, lastHeard: "2026-11-28T10:00:00.000Z" },
    travelled: { after: older, upTo: newer },
    ...fields,
  };
}

suite("what a check from end to end proves", () => {
  test("is the whole way where something went it, and never that it reads back", () => {
    const { proves, doesNotProve } = proofOf(seen({}), nowMs);

    assert.match(
      proves,
      /^the whole way: what was committed after 0{15}4, up to 0{15}9 was captured, sent at once, /,
    );
    assert.match(doesNotProve, /^that it reads back whole, .*`pageferry verify`$/);
    assert.match(
      proofOf(seen({ travelled: { after: null, upTo: newer } }), nowMs).proves,
      /: everything up to 0{15}9 was captured/,
    );
    assert.doesNotMatch(proofOf(seen({ forced: false, notForced: "none" }), nowMs).proves, /at once/);
  });

  test("is less where nothing was committed, and says what to do", () => {
    const idle = proofOf(seen({ travelled: null }), nowMs);
    assert.match(
      idle.proves,
      /^the agent has captured all that is in the file, .* each replica, listed just now, holds it$/,
    );
    assert.match(
      idle.doesNotProve,
      /^that a new commit arrives: nothing was committed .*Let the application commit, and check again; /,
    );

    const alone = proofOf(seen({ travelled: null, forced: false, notForced: "none" }), nowMs);
    assert.doesNotMatch(alone.proves, /agent/);
    assert.match(alone.doesNotProve, /that its agent runs \(the host heard of it 12s ago\)/);
  });

  test("is only what the host has heard of where no file was looked at", () => {
    const heard = proofOf(
      seen({ travelled: null, forced: false, notForced: "none", from: "captured" }),
      nowMs,
    );

    assert.match(heard.proves, /^what the host has heard of is stored/);
    assert.match(heard.doesNotProve, /^that the file has nothing newer/);
  });

  test("is four lines for people", () => {
    const lines = formatEndToEnd(seen({}), "/srv/app.db", nowMs).split("\n");

    assert.deepEqual(
      lines.map((line) => line.split(":")[0]),
      ["from end to end", "sent", "proves", "does not prove", ""],
    );
    assert.equal(
      lines[0],
      "from end to end: what is in /srv/app.db, transaction 0000000000000009, is in file:///one after 40ms",
    );
    const unforced = seen({ forced: false, notForced: "no agent runs with shadow", from: "captured" });
    assert.match(
      formatEndToEnd(unforced, "app", nowMs),
      /what was captured of app, .*\nsent: not by this check: no agent runs with shadow\n/,
    );
  });
});
