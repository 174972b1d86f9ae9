import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { suite, test } from "node:test";
import type { StagedBody } from "../queue.ts";
import { createHttpQueue } from "./http.ts";
import { parsePlace } from "./place.ts";

/** A host that takes four bytes itself, and a bucket beside it. */
async function smallHost(bucketStatus = 200, hasPlaces = true) {
  const seen: string[] = [];
  const stored = new Map<string, Buffer>();
  const server = createServer(async (request, response) => {
    const { method = "", url = "" } = request;
    seen.push(`${method} ${url.replace(/[0-9a-f]{64}/, "D")}`);
    const at = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    if (url.startsWith("/bucket")) {
      assert.equal(request.headers.authorization, undefined);
      assert.equal(request.headers["if-none-match"], "*");
      const body = await bytesOf(request);
      if (bucketStatus === 200) stored.set(url, body);
      response.writeHead(bucketStatus).end();
    } else if (method === "PUT") {
      const body = await bytesOf(request);
      response.writeHead(body.length > 4 ? 413 : 201).end();
    } else if (hasPlaces) {
      const place = { method: "PUT", url: `${at}/bucket?secret=hush`, headers: { "if-none-match": "*" } };
      response.writeHead(200).end(JSON.stringify(place));
    } else response.writeHead(404).end();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const queue = createHttpQueue({
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    token: "t",
  });
  return { queue, seen, stored, [Symbol.asyncDispose]: async () => void server.close() };
}

async function bytesOf(request: IncomingMessage): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(request));
}

function staged(text: string): StagedBody {
  const bytes = Buffer.from(text);
  const digest = createHash("sha256").update(bytes).digest("hex");
  return {
    ...{ digest, size: bytes.length },
    async *open() {
      yield bytes;
    },
  };
}

suite("a body that is too large for its host", () => {
  test("goes where the host says, without the token, and the next one at once", async () => {
    await using host = await smallHost();

    await host.queue.stage("app", staged("tiny"));
    await host.queue.stage("app", staged("large one"));
    await host.queue.stage("app", staged("another large one"));

    assert.deepEqual(host.seen, [
      "PUT /v1/stage/D?database=app",
      "PUT /v1/stage/D?database=app",
      "GET /v1/stage/D/place?database=app&size=9",
      "PUT /bucket?secret=hush",
      "GET /v1/stage/D/place?database=app&size=17",
      "PUT /bucket?secret=hush",
    ]);
    assert.equal(host.stored.get("/bucket?secret=hush")?.toString(), "another large one");
  });

  test("is there where the bucket says that it was", async () => {
    await using host = await smallHost(412);

    await host.queue.stage("app", staged("large one"));
  });

  test("is tried again where the bucket refuses, and its URL is told nobody", async () => {
    await using host = await smallHost(403);

    await assert.rejects(host.queue.stage("app", staged("large one")), (error: Error & { code: string }) => {
      assert.equal(error.code, "unavailable");
      assert.match(error.message, /the bucket answers 403/);
      assert.doesNotMatch(String(error.stack), /hush/);
      return true;
    });
  });

  test("stays refused by a host that knows no places", async () => {
    await using host = await smallHost(200, false);

    await assert.rejects(host.queue.stage("app", staged("large one")), { code: "too-large" });
  });
});

suite("a place", () => {
  const told = (value: unknown) => Buffer.from(JSON.stringify(value));

  test("needs TLS where the host has it, and is nothing else than a PUT", () => {
    const place = { method: "PUT", url: "http://bucket/x", headers: {} };

    assert.equal(parsePlace(told(place), "https://host"), undefined);
    assert.deepEqual(parsePlace(told(place), "http://host"), { url: "http://bucket/x", headers: {} });
    for (const wrong of [
      null,
      [],
      { ...place, method: "GET" },
      { ...place, url: "file:///etc" },
      { ...place, headers: null },
    ])
      assert.equal(parsePlace(told(wrong), "http://host"), undefined);
    assert.equal(parsePlace(Buffer.from("<html>"), "http://host"), undefined);
  });
});
