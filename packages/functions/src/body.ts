// Bodies on their way into and out of a store: opened, checked against their size and digest, compared, gathered.

import { createHash } from "node:crypto";
import { PageferryError } from "@pageferry/format";
import type { StoreBody } from "./store.ts";

/** The number of bytes a body says it has. */
export function bodySize(body: StoreBody): number {
  return body instanceof Uint8Array ? body.length : body.size;
}

/** A body's bytes; throws `corrupt` if they are not as many as it said, or have another digest. */
export async function* openBody(
  body: StoreBody,
  where: string,
  signal?: AbortSignal,
): AsyncGenerator<Uint8Array> {
  if (body instanceof Uint8Array) {
    yield body;
    return;
  }
  const hash = body.sha256 === undefined ? undefined : createHash("sha256");
  let size = 0;
  for await (const chunk of body.open()) {
    signal?.throwIfAborted();
    size += chunk.length;
    if (size > body.size) break;
    hash?.update(chunk);
    yield chunk;
  }
  if (size !== body.size) {
    throw new PageferryError(
      "corrupt",
      `${where}: the body has ${size > body.size ? "more" : "fewer"} than ${body.size} bytes`,
    );
  }
  const digest = hash?.digest("hex");
  if (digest !== body.sha256) {
    throw new PageferryError("corrupt", `${where}: the body has digest ${digest}, expected ${body.sha256}`);
  }
}

/** Tells whether two byte streams are equal, whatever their chunks; both are ended early where they differ. */
export async function haveSameBytes(
  a: AsyncIterable<Uint8Array>,
  b: AsyncIterable<Uint8Array>,
): Promise<boolean> {
  const left = a[Symbol.asyncIterator]();
  const right = b[Symbol.asyncIterator]();
  let leftRest: Uint8Array = new Uint8Array();
  let rightRest: Uint8Array = new Uint8Array();
  try {
    for (;;) {
      leftRest = await refill(leftRest, left);
      rightRest = await refill(rightRest, right);
      const length = Math.min(leftRest.length, rightRest.length);
      if (length === 0) return leftRest.length === rightRest.length;
      if (Buffer.compare(leftRest.subarray(0, length), rightRest.subarray(0, length)) !== 0) return false;
      leftRest = leftRest.subarray(length);
      rightRest = rightRest.subarray(length);
    }
  } finally {
    await Promise.all([left.return?.(), right.return?.()]);
  }
}

async function refill(rest: Uint8Array, from: AsyncIterator<Uint8Array>): Promise<Uint8Array> {
  let bytes = rest;
  while (bytes.length === 0) {
    const next = await from.next();
    if (next.done === true) break;
    bytes = next.value;
  }
  return bytes;
}

/** Gathers a stream that is bounded by its nature; above `bytesMax` it throws `too-large` and ends the stream. */
export async function gather(
  chunks: AsyncIterable<Uint8Array>,
  bytesMax: number,
  where: string,
): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of chunks) {
    size += chunk.length;
    if (size > bytesMax) throw new PageferryError("too-large", `${where}: more than ${bytesMax} bytes`);
    parts.push(chunk);
  }
  return parts.length === 1 && parts[0] !== undefined ? parts[0] : Buffer.concat(parts, size);
}
