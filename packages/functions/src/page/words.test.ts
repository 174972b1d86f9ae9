import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { html, plain } from "./html.ts";
import { ago, agoWord, bytesWord, count, exactTime, spanWord } from "./words.ts";

suite("the words of the page", () => {
  test("say spans in the unit that people would use", () => {
    const said = [0, 40, 1234, 9_960, 59_000, 119_000, 125_000, 3 * 3_600_000, 50 * 3_600_000].map(spanWord);

    assert.deepEqual(said, ["0 s", "0 s", "1.2 s", "10 s", "59 s", "119 s", "2 min", "3 h", "2 d"]);
  });

  test("say how long ago, and what is to come", () => {
    assert.equal(agoWord(1000, 1400), "just now");
    assert.equal(agoWord(1000, 4100), "3 s ago");
    assert.equal(agoWord(301_000, 1000), "in 5 min");
  });

  test("give each time to people and to machines", () => {
    const made = ago("2026-01-02T03:04:05.000Z", Date.parse("2026-01-02T03:05:05Z")).toString();

    assert.equal(
      made,
      '<time datetime="2026-01-02T03:04:05.000Z" title="2026-01-02 03:04:05 UTC" data-ago>60 s ago</time>',
    );
    assert.equal(exactTime(Date.parse("2026-01-02T03:04:05.250Z")), "2026-01-02 03:04:05.250 UTC");
    assert.match(ago("yesterday", 0).toString(), /–/);
  });

  test("count bytes in binary units, and things in English", () => {
    assert.deepEqual([0, 1023, 1536, 200 * 2 ** 20].map(bytesWord), ["0 B", "1023 B", "1.5 KiB", "200 MiB"]);
    assert.equal(count(1, "point"), "1 point");
    assert.equal(count(12_345, "point"), "12,345 points");
  });
});

suite("markup", () => {
  test("holds what is put in as text, in elements and in attributes", () => {
    const evil = `<script>alert(1)</script>"'&`;

    const made = html`<a title="${evil}">${evil}</a>`.toString();

    const escaped = "&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;";
    assert.equal(made, `<a title="${escaped}">${escaped}</a>`);
  });

  test("spells out what would hide, or turn the text around", () => {
    assert.equal(plain("a\u0000b\u202ec\u200bd\u2066e\ufefff"), "a\\u0000b\\u202ec\\u200bd\\u2066e\\ufefff");
    assert.equal(plain("lone \ud800"), "lone \ufffd");
    assert.equal(plain("müde 日本 עברית"), "müde 日本 עברית");
  });

  test("takes markup and lists of it as they are, and nothing as nothing", () => {
    assert.equal(html`${[html`<b>${1}</b>`, "<"]}${false}${undefined}`.toString(), "<b>1</b>&lt;");
  });
});
