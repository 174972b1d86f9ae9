// A function URL's event to a request, and the answer back as a stream. Ours because hono's adapter ends a stream that broke as if it were
// whole, with words of its own behind it: half of a database must not look like one.

import { Readable, type Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { APIGatewayProxyEventV2, Context } from "aws-lambda";

/** What the app is told of a call beside its request. */
export interface CallBeside {
  /** Where it comes from. */
  readonly address: string;
  /** How long this invocation may still take, ms. */
  readonly remainingMs: () => number;
}

export type Serve = (request: Request, beside: CallBeside) => Promise<Response> | Response;

/** Makes a handler of an app; answers are streamed. */
export function streamed(serve: Serve): ReturnType<typeof awslambda.streamifyResponse> {
  return awslambda.streamifyResponse(async (event, output, context: Context) => {
    const call = event as APIGatewayProxyEventV2;
    const response = await serve(requestOf(call), {
      address: call.requestContext.http.sourceIp,
      remainingMs: () => context.getRemainingTimeInMillis(),
    });
    await answer(response, output);
  });
}

/** The request that an event tells of. */
export function requestOf(event: APIGatewayProxyEventV2): Request {
  const { rawPath, rawQueryString, cookies = [], body, isBase64Encoded, requestContext } = event;
  const headers = new Headers();
  for (const [name, value] of Object.entries(event.headers)) {
    if (value !== undefined) headers.set(name, latin1(value));
  }
  if (cookies.length > 0) headers.set("cookie", cookies.join("; "));
  const { method } = requestContext.http;
  const query = rawQueryString === "" ? "" : `?${rawQueryString}`;
  const url = `https://${requestContext.domainName}${rawPath}${query}`;
  if (body === undefined || method === "GET" || method === "HEAD")
    return new Request(url, { method, headers });
  const bytes = Buffer.from(body, isBase64Encoded ? "base64" : "utf8");
  headers.set("content-length", String(bytes.length));
  return new Request(url, { method, headers, body: bytes });
}

/** A header holds bytes; what is none is none of ours, and reads as nothing we know. */
function latin1(value: string): string {
  return /^[\t\x20-\x7e\x80-\xff]*$/.test(value) ? value : encodeURIComponent(value);
}

async function answer(response: Response, output: Writable): Promise<void> {
  const { status, body } = response;
  const headers = Object.fromEntries([...response.headers].filter(([name]) => name !== "set-cookie"));
  // What has no type is taken for text on the way, and bytes that are no text are lost.
  if (body !== null) headers["content-type"] ??= "application/octet-stream";
  const cookies = response.headers.getSetCookie();
  const stream = awslambda.HttpResponseStream.from(output, { statusCode: status, headers, cookies });
  if (body === null) {
    // Its head goes with the first bytes, if they are none.
    stream.write("");
    stream.end();
    return;
  }
  // What breaks here breaks the line, too: `pipeline` destroys the stream, and the runtime is told.
  await pipeline(Readable.fromWeb(body as import("node:stream/web").ReadableStream), stream);
}
