import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { parseGeneration } from "./names.ts";
import { encodeStandbyNote, parseStandbyNote, type StandbyNote } from "./standby-json.ts";
import { parseStateHash } from "./state-hash.ts";
import { txId } from "./txid.ts";

const note: StandbyNote = {
  states: [
    {
      generation: parseGeneration("00000000000000a2"),
      epoch: 3,
      txId: txId(0x1c3n),
      stampMs: 1_780_000_000_000,
      stateHash: parseStateHash("00112233445566778899aabbccddeeff"),
    },
    {
      generation: parseGeneration("00000000000000a1"),
      epoch: null,
      txId: txId(7n),
      stampMs: null,
      stateHash: parseStateHash("ffeeddccbbaa99887766554433221100"),
    },
  ],
  left: [parseGeneration("00000000000000a1")],
};

suite("the note beside a standby", () => {
  test("comes back as it was written", () => {
    assert.deepEqual(parseStandbyNote(encodeStandbyNote(note), "note"), note);
  });

  test("one that is cut short is corrupt, and one of a later program is said to be that", () => {
    const text = new TextDecoder().decode(encodeStandbyNote(note));
    const parse = (other: string) => () => parseStandbyNote(new TextEncoder().encode(other), "note");
    assert.throws(parse(text.slice(0, 40)), { code: "corrupt" });
    assert.throws(parse(text.replace('"version":1', '"version":2')), { code: "unsupported-version" });
    assert.throws(parse(text.replace("1c3", "xyz")), { code: "corrupt" });
  });
});
