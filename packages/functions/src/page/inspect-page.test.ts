import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { parseGeneration, txId } from "@pageferry/format";
import { type InspectView, inspectMain } from "./inspect-page.ts";
import { partAt, shownPart } from "./value-view.ts";

const utf8 = (text: string): Uint8Array => Buffer.from(text, "utf8");

/** What no page may hold as it is. */
const evil = `<script>alert(1)</script>"><img src=x onerror=alert(2)>'\u202e`;

function shown(what: InspectView["what"], more: Partial<InspectView> = {}): string {
  const plan = {
    generation: parseGeneration("00000000000000a1"),
    txId: txId(7),
    stampMs: 7000,
    warnings: [],
  };
  const where = { database: "app", path: [], plan, origin: "http://127.0.0.1:7373", nowMs: 9000 };
  return inspectMain({ ...where, what, mayRestore: true, ...more }).toString();
}

type Listing = Extract<InspectView["what"], { readonly kind: "bucket" }>;

function bucket(keys: readonly Uint8Array[], more: Partial<Listing> = {}): Listing {
  const entries = keys.map((key) => ({ kind: "key", key, valueBytes: 1 }) as const);
  return { kind: "bucket", entries, next: undefined, after: undefined, prefix: undefined, ...more };
}

function value(bytes: Uint8Array, key = "k"): InspectView["what"] {
  const part = partAt(0, bytes.length);
  const first = shownPart(bytes.subarray(0, part.end), part);
  return {
    kind: "value",
    key,
    bytes: bytes.length,
    part,
    shown: first,
    wantsHex: false,
    mayDownload: true,
  };
}

function assertNoMarkup(text: string): void {
  assert.doesNotMatch(text, /<script|<img|\u202e|onerror=alert\(2\)>/);
}

suite("the page inside a backup", () => {
  test("shows names and values as text, wherever they stand", () => {
    const path = [evil, "b"];
    for (const what of [
      bucket([utf8(evil)], { next: evil, after: evil, prefix: evil }),
      value(utf8(evil), evil),
      value(utf8(`\0${evil}`), evil),
      { kind: "nothing", key: evil } as const,
    ])
      assertNoMarkup(shown(what, { path }));
    assert.match(shown(value(utf8(evil))), /&lt;script&gt;alert\(1\)&lt;\/script&gt;&quot;&gt;/);
    assert.match(shown(value(utf8("a\u202eb"))), /a\\u202eb/);
  });

  test("leads from each name to it, at the same point, and a bucket's to the bucket", () => {
    const text = shown(
      bucket([], {
        entries: [
          { kind: "bucket", key: utf8("a/b"), root: null, sequence: 0n },
          { kind: "key", key: utf8("x&y"), valueBytes: 5 },
        ],
      }),
      { path: ["top"] },
    );
    const point = "txid=0000000000000007&amp;generation=00000000000000a1";

    assert.ok(text.includes(`href="/db/app/inspect?path=top%2Fhex%3A612f62&amp;${point}"`));
    assert.ok(text.includes(`href="/db/app/inspect?path=top&amp;key=x%26y&amp;${point}"`));
  });

  test("gives a command that a shell takes as it is meant", () => {
    assert.match(
      shown(value(utf8("v"), "it's $(x)")),
      /http:\/\/127\.0\.0\.1:7373 &#39;app\/it&#39;\\&#39;&#39;s \$\(x\)&#39;/,
    );
    assert.match(shown(value(utf8("v"), "plain")), /7373 app\/plain<\/pre>/);
  });

  test("writes a name in hex whose ends would not be seen", () => {
    const text = shown(bucket([utf8(" "), utf8("a b"), utf8("a\u00a0")]));

    for (const name of ["hex:20", "a b", "hex:61c2a0"]) assert.ok(text.includes(`<bdi>${name}</bdi>`), name);
  });

  test("says what a name in hex reads, where it is text", () => {
    const text = shown(bucket([utf8("a/b"), utf8("<b>/"), utf8("x\u202e/y"), Uint8Array.of(0xff, 0x2f)]));

    assert.deepEqual(
      [...text.matchAll(/“<bdi>(.*?)<\/bdi>”/g)].map(([, one]) => one),
      ["a/b", "&lt;b&gt;/"],
    );
  });

  test("stays small with names of 32 KiB, and leads to none that is too long for an address", () => {
    const text = shown(bucket([new Uint8Array(32_768).fill(7)]));

    assert.ok(text.length < 8000, `${text.length} characters`);
    assert.match(text, /a name of 32,768 bytes/);
    assert.match(text, /too long for an address/);
    assert.doesNotMatch(text, /hex%3A0707/);
  });

  test("offers a restore of the point only to who may, and says that looks are logged", () => {
    assert.match(shown(bucket([])), /Restore this point/);
    assert.doesNotMatch(shown(bucket([]), { mayRestore: false }), /Restore this point/);
    assert.match(shown(bucket([])), /Each look is written to the host.s log/);
  });

  test("keeps where one was when another point is chosen", () => {
    const text = shown(value(utf8("v"), "k"), { path: ["a", "b"] });

    assert.match(
      text,
      /name="path" value="a\/b"><input type="hidden" name="key" value="k"><label>The newest/,
    );
  });
});
