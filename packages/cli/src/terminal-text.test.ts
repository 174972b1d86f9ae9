import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { terminalText } from "./terminal-text.ts";

suite("text for a terminal", () => {
  test("is text with tabs and line ends", () => {
    for (const text of ["", "{}", "a\tb\n", "größe 大 🙂"])
      assert.equal(terminalText(Buffer.from(text)), text);
  });

  test("is nothing that orders the terminal about, or is no UTF-8", () => {
    for (const text of ["\u001b[2J", "\u009b31m", "a\rb", "\0", "\u202e", "\u2028", "\u007f", "\ufeffa"])
      assert.equal(terminalText(Buffer.from(text)), undefined, JSON.stringify(text));
    for (const bytes of [[0xff], [0xc0, 0xaf], [0xed, 0xa0, 0x80]])
      assert.equal(terminalText(Uint8Array.from(bytes)), undefined);
  });
});
