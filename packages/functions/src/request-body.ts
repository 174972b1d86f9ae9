// Bodies of requests: refused before they are read where they are too large, and never more of them in memory than is set.

import type { IncomingMessage } from "node:http";
import { PageferryError } from "@pageferry/format";
import type { Context } from "hono";

/** Bodies that are in memory at a time, whoever sends them: two at their largest, or hundreds as they are. */
const heldBytesMax = 96 * 1024 * 1024;

/** A body without a length is counted as this while it comes. */
const unknownBytes = 1024 * 1024;

export interface BodyReader {
  /** Reads a body into memory; `too-large` above `bytesMax`, `unavailable` when too much is held already. */
  read(context: Context, bytesMax: number): Promise<Uint8Array>;
}

export function createBodyReader(): BodyReader {
  let held = 0;
  return {
    async read(context, bytesMax) {
      const declared = declaredLength(context);
      if (declared !== undefined && declared > bytesMax) throw tooLarge(declared, bytesMax);
      let mine = declared ?? unknownBytes;
      if (held + mine > heldBytesMax) {
        throw new PageferryError("unavailable", "too many bodies are being received", {
          hint: "Send it again a little later.",
        });
      }
      held += mine;
      try {
        const parts: Uint8Array[] = [];
        let size = 0;
        for await (const chunk of chunksOf(context)) {
          size += chunk.length;
          if (size > bytesMax) throw tooLarge(size, bytesMax);
          if (size > mine) {
            held += size - mine;
            mine = size;
          }
          parts.push(chunk);
        }
        const [only] = parts;
        return parts.length === 1 && only !== undefined ? only : Buffer.concat(parts, size);
      } finally {
        held -= mine;
      }
    },
  };
}

/** How slow a body may be. */
export interface Pace {
  /** Of waiting for it: time in which nobody takes what came is not the sender's. */
  readonly windowMs: number;
  readonly bytesMin: number;
}

/** Some 500 bytes a second: any line is faster, and whoever sends byte by byte holds a connection for half a minute. */
const slowestPace: Pace = { windowMs: 30_000, bytesMin: 16 * 1024 };

/** The body as it comes. One that breaks, or comes too slowly, is `unavailable`. */
export async function* chunksOf(context: Context, pace: Pace = slowestPace): AsyncGenerator<Uint8Array> {
  const chunks = bodyOf(context)[Symbol.asyncIterator]();
  let waitedMs = 0;
  let came = 0;
  try {
    for (;;) {
      const askedAtMs = performance.now();
      const { done, value } = await chunks.next().catch((cause: unknown) => {
        throw new PageferryError("unavailable", "the body broke off", { cause });
      });
      if (done === true) return;
      waitedMs += performance.now() - askedAtMs;
      came += value.length;
      if (waitedMs >= pace.windowMs) {
        if (came < pace.bytesMin) throw new PageferryError("unavailable", "the body comes too slowly");
        waitedMs = 0;
        came = 0;
      }
      yield value;
    }
  } finally {
    await chunks.return?.();
  }
}

/** On Node's own server the stream beneath the request: a web stream around it costs as much as all the rest of a small call. */
function bodyOf(context: Context): AsyncIterable<Uint8Array> {
  const { incoming } = (context.env ?? {}) as { readonly incoming?: IncomingMessage };
  // Leaving the stream early must leave the connection open for the answer that says why.
  if (incoming !== undefined) return incoming.iterator({ destroyOnReturn: false });
  return context.req.raw.body ?? ReadableStream.from<Uint8Array>([]);
}

/** What Content-Length says; `undefined` where it says nothing. Beyond 2^53 it is not exact, and far above every bound. */
export function declaredLength(context: Context): number | undefined {
  const header = context.req.header("content-length");
  return header !== undefined && /^\d+$/.test(header) ? Number(header) : undefined;
}

function tooLarge(size: number, bytesMax: number): PageferryError {
  return new PageferryError("too-large", `a body of ${size} bytes or more, at most ${bytesMax} are taken`);
}
