import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { gunzipSync } from "node:zlib";
import { squeezed } from "./squeeze.ts";

const text = "what is said twice, ".repeat(200);

const pageOf = (body: string, headers: Record<string, string> = {}) =>
  new Response(body, { headers: { "content-type": "text/html; charset=utf-8", ...headers } });

suite("a page on its way to a browser", () => {
  test("is compressed where the browser takes it, and says that it depends on that", async () => {
    const answer = await squeezed(pageOf(text), "gzip, br");

    assert.equal(answer.headers.get("content-encoding"), "gzip");
    assert.equal(answer.headers.get("vary"), "accept-encoding");
    assert.equal(gunzipSync(await answer.bytes()).toString(), text);
  });

  for (const [why, answer, accepted] of [
    [
      "it holds secrets beside what was asked",
      pageOf(text, { "cache-control": "no-store, no-transform" }),
      "gzip",
    ],
    ["the browser does not take it", pageOf(text), undefined],
    ["the browser refuses it", pageOf(text), "gzip;q=0"],
    ["it is small", pageOf("short"), "gzip"],
    ["it is no text", pageOf(text, { "content-type": "application/octet-stream" }), "gzip"],
  ] as const)
    test(`stays as it is where ${why}`, async () => {
      const expected = await answer.clone().text();

      const sent = await squeezed(answer, accepted);

      assert.equal(sent.headers.get("content-encoding"), null);
      assert.equal(await sent.text(), expected);
    });
});
