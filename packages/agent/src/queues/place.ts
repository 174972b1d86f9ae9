// Where a host that cannot take a large body itself lets it be put: a URL of its bucket, which takes these very bytes. docs/aws.md#who-a-host-is
import { PageferryError } from "@pageferry/format";
import type { StagedBody } from "../queue.ts";
import { exchange } from "./exchange.ts";

/** A place as a host tells it. The URL is itself a credential: it stands in no error and no log. */
export interface Place {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** How to put a body there. */
export interface PlaceOptions {
  /** What messages call it. */
  readonly what: string;
  readonly signal: AbortSignal | undefined;
  readonly stallMs: number;
  readonly unseenMsMax: number;
}

const answerBytesMax = 64 * 1024;

/** Reads a host's answer. Undefined: it is none; a place without TLS is taken only from a host without. */
export function parsePlace(answer: Uint8Array, hostUrl: string): Place | undefined {
  try {
    const { method, url, headers } = JSON.parse(Buffer.from(answer).toString("utf8")) as Record<
      string,
      unknown
    >;
    const protocol = URL.parse(String(url))?.protocol;
    const isSafe = protocol === "https:" || (protocol === "http:" && hostUrl.startsWith("http:"));
    if (method !== "PUT" || !isSafe || typeof headers !== "object" || headers === null) return undefined;
    const told = Object.entries(headers).filter(([, value]) => typeof value === "string");
    return { url: String(url), headers: Object.fromEntries(told) as Record<string, string> };
  } catch {
    return undefined;
  }
}

/** Puts a body in its place; one that is there already is a success. Errors: `unavailable`, the signal's reason. */
export async function putInPlace(place: Place, body: StagedBody, options: PlaceOptions): Promise<void> {
  const { what, signal, stallMs, unseenMsMax } = options;
  const { url, headers } = place;
  let status: number;
  try {
    const request = {
      method: "PUT",
      url,
      headers,
      body,
      signal,
      stallMs,
      unseenMsMax,
      answerBytesMax,
    } as const;
    ({ status } = await exchange(request));
  } catch (error) {
    signal?.throwIfAborted();
    if (error instanceof PageferryError) throw error;
    throw new PageferryError("unavailable", `${what}: the bucket's line broke`, { cause: error });
  }
  // 412: these bytes are there. All else passes, or the next place is another.
  if ((status >= 200 && status < 300) || status === 412) return;
  throw new PageferryError("unavailable", `${what}: the bucket answers ${status}`);
}
