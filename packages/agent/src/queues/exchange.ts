// One HTTP exchange, ended by standing still and not by its length: on a slow line a large body takes as long as it goes on.
import { type ClientRequest, type IncomingHttpHeaders, type IncomingMessage, request } from "node:http";
import { request as requestTls } from "node:https";
import type { StagedBody } from "../queue.ts";
import { type Limit, slowestBytesPerMs, startLimit } from "./limit.ts";
import { piecesOf } from "./pieces.ts";

/** What is asked, and how long nothing may happen meanwhile. */
export interface Exchange {
  readonly method: "POST" | "PUT" | "GET";
  /** `http://` or `https://`. */
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | StagedBody;
  readonly signal: AbortSignal | undefined;
  /** How long nothing may be seen to move, beside what the bytes that cannot be seen may take, ms. */
  readonly stallMs: number;
  /** The most that this may be. */
  readonly unseenMsMax: number;
  /** More of an answer is not read. */
  readonly answerBytesMax: number;
}

/** A whole answer, or the beginning of one that is too long. */
export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Uint8Array;
  readonly isTooLong: boolean;
}

/**
 * Sends a request and reads its answer, whatever its status. Throws the reason of `signal`, a `StalledError`, what
 * `bodyLost` makes of a body that cannot be read, or the connection's own error.
 */
export async function exchange(options: Exchange): Promise<Answer> {
  options.signal?.throwIfAborted();
  const isTls = options.url.startsWith("https:");
  const { method, headers } = options;
  const sent = (isTls ? requestTls : request)(options.url, {
    method,
    headers: { ...headers, ...lengthOf(options.body) },
  });
  // What comes after all is over disturbs nobody.
  sent.on("error", () => {});
  const limit = startLimit((error) => sent.destroy(error));
  const onAbort = () => sent.destroy(new Error("aborted", { cause: options.signal?.reason }));
  options.signal?.addEventListener("abort", onAbort, { once: true });
  try {
    limit.set(options.stallMs);
    const response = await answerTo(sent, options, limit);
    return await readAnswer(response, options, limit);
  } catch (error) {
    options.signal?.throwIfAborted();
    throw limit.stalled() ?? error;
  } finally {
    limit.clear();
    options.signal?.removeEventListener("abort", onAbort);
    // The connection is used again only where both sides are done with it.
    if (!sent.writableFinished) sent.destroy();
  }
}

function lengthOf(body: Exchange["body"]): Record<string, string> {
  return body === undefined ? {} : { "content-length": String(sizeOf(body)) };
}

function sizeOf(body: Uint8Array | StagedBody): number {
  return body instanceof Uint8Array ? body.length : body.size;
}

/** Waits for the head of the answer while the body is sent: a host may answer before it has taken all. */
function answerTo(sent: ClientRequest, options: Exchange, limit: Limit): Promise<IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  sent.once("response", resolve);
  sent.once("error", reject);
  sent.once("close", () => reject(new Error("the connection was closed")));
  sendBody(sent, options, limit).catch(reject);
  return promise;
}

async function sendBody(sent: ClientRequest, options: Exchange, limit: Limit): Promise<void> {
  const { body, stallMs, unseenMsMax } = options;
  if (body === undefined) {
    sent.end();
    return;
  }
  let taken = 0;
  for await (const piece of piecesOf(body)) {
    if (sent.destroyed) return;
    taken += piece.length;
    // A full buffer takes the next piece only after a large part of it has gone on its way.
    limit.set(stallMs + Math.min(taken / slowestBytesPerMs, unseenMsMax));
    if (!sent.write(piece)) await untilDrained(sent);
  }
  if (!sent.destroyed) sent.end();
}

async function untilDrained(sent: ClientRequest): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const go = () => resolve();
  sent.once("drain", go);
  sent.once("close", go);
  await promise;
  sent.off("drain", go);
  sent.off("close", go);
}

async function readAnswer(response: IncomingMessage, options: Exchange, limit: Limit): Promise<Answer> {
  const { stallMs, answerBytesMax } = options;
  const endMs = performance.now() + stallMs + answerBytesMax / slowestBytesPerMs;
  const chunks: Uint8Array[] = [];
  let size = 0;
  response.on("error", () => {});
  limit.set(stallMs);
  for await (const chunk of response as AsyncIterable<Uint8Array>) {
    limit.set(Math.min(stallMs, Math.max(0, endMs - performance.now())));
    size += chunk.length;
    // Leaving the loop ends the connection.
    if (size > answerBytesMax) break;
    chunks.push(chunk);
  }
  const { statusCode = 0, headers } = response;
  return { status: statusCode, headers, body: Buffer.concat(chunks), isTooLong: size > answerBytesMax };
}
