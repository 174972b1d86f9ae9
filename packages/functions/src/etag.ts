// Conditional requests: whoever asks again and again is told that nothing changed, without being sent it.

import { createHash } from "node:crypto";
import type { Context } from "hono";

/** Answers with a text that has an ETag; 304 where the caller has it already. It may be kept, and must be asked about each time. */
export function answerWithEtag(context: Context, text: string, contentType: string): Response {
  const etag = `"${createHash("sha256").update(text).digest("base64url").slice(0, 27)}"`;
  const headers = { etag, "cache-control": "private, no-cache", vary: "authorization" };
  if (isKnown(context.req.header("if-none-match"), etag)) return context.body(null, 304, headers);
  return context.body(text, 200, { ...headers, "content-type": contentType });
}

/** Compared weakly, as RFC 9110 §13.1.2 asks. */
function isKnown(ifNoneMatch: string | undefined, etag: string): boolean {
  if (ifNoneMatch === undefined) return false;
  const known = ifNoneMatch.split(",").map((one) => one.trim().replace(/^W\//, ""));
  return known.includes("*") || known.includes(etag);
}
