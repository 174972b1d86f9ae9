import assert from "node:assert/strict";
import { PassThrough, type Writable } from "node:stream";
import { suite, test } from "node:test";
import { requestOf, type Serve, streamed } from "./http.ts";

interface Head {
  readonly statusCode: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly cookies: readonly string[];
}

const event = {
  ...{ version: "2.0", routeKey: "$default", rawPath: "/v1/a%2Fb", rawQueryString: "x=1&y=%20" },
  ...{ headers: { authorization: "Bearer x", "x-odd": "grün ✓" }, cookies: ["a=1", "b=2"] },
  requestContext: {
    domainName: "id.lambda-url.eu-central-1.on.aws",
    http: { method: "POST", sourceIp: "192.0.2.7" },
  },
  ...{ body: Buffer.from([0, 255, 128]).toString("base64"), isBase64Encoded: true },
} as unknown as Parameters<typeof requestOf>[0];

/** Calls a handler as the runtime does. */
async function call(serve: Serve) {
  const heads: Head[] = [];
  (globalThis as { awslambda?: unknown }).awslambda = {
    streamifyResponse: (handler: unknown) => handler,
    HttpResponseStream: {
      from(output: Writable, head: Head) {
        heads.push(head);
        return output;
      },
    },
  };
  const handler = streamed(serve) as unknown as (...call: unknown[]) => Promise<void>;
  const output = new PassThrough();
  const bytes = Array.fromAsync(output as AsyncIterable<Buffer>).catch((error: unknown) => error);
  const ended = await handler(event, output, { getRemainingTimeInMillis: () => 5000 }).catch(
    (error: unknown) => error,
  );
  return { head: heads[0], ended, output, bytes: await bytes };
}

suite("a function's URL", () => {
  test("gives the request as it was sent", async () => {
    const request = requestOf(event);

    assert.equal(request.url, "https://id.lambda-url.eu-central-1.on.aws/v1/a%2Fb?x=1&y=%20");
    assert.deepEqual([request.method, request.headers.get("cookie")], ["POST", "a=1; b=2"]);
    assert.deepEqual(new Uint8Array(await request.arrayBuffer()), Uint8Array.of(0, 255, 128));
    assert.equal(request.headers.get("content-length"), "3");
  });

  test("is answered with head, cookies and bytes, which have a type in any case", async () => {
    const { head, bytes } = await call((_request, { address, remainingMs }) => {
      assert.deepEqual([address, remainingMs()], ["192.0.2.7", 5000]);
      const headers = new Headers([
        ["set-cookie", "a=1"],
        ["set-cookie", "b=2"],
        ["x-one", "1"],
      ]);
      return new Response(Uint8Array.of(0, 255), { status: 201, headers });
    });

    assert.deepEqual(head, {
      statusCode: 201,
      headers: { "content-type": "application/octet-stream", "x-one": "1" },
      cookies: ["a=1", "b=2"],
    });
    assert.deepEqual(Buffer.concat(bytes as Buffer[]), Buffer.from([0, 255]));
  });

  test("is answered without bytes, too", async () => {
    const { head, bytes, ended } = await call(() => new Response(null, { status: 202 }));

    assert.deepEqual([head?.statusCode, ended], [202, undefined]);
    assert.equal(Buffer.concat(bytes as Buffer[]).length, 0);
  });

  test("breaks off what broke: half of an answer never looks like a whole one", async () => {
    const body = new ReadableStream<Uint8Array>({
      pull(controller) {
        controller.enqueue(Uint8Array.of(1, 2, 3));
        controller.error(new Error("the replica is away"));
      },
    });

    const { ended, output, bytes } = await call(() => new Response(body));

    assert.ok(ended instanceof Error, "the runtime is told");
    assert.ok(output.destroyed && !output.writableFinished);
    assert.ok(bytes instanceof Error);
  });
});
