// Pages as small as they can be sent. They hold no secret beside what somebody else could put into them, so their size tells nothing; the one
// that does says `no-transform`.

import { promisify } from "node:util";
import { gzip } from "node:zlib";

const squeeze = promisify(gzip);

/** Below this a packet holds it anyway. */
const bytesMin = 1024;

/** The same answer, compressed where the browser takes it and it is worth it. */
export async function squeezed(answer: Response, accepted: string | undefined): Promise<Response> {
  const isText = /^text\//.test(answer.headers.get("content-type") ?? "");
  const isPlain = /\bno-transform\b/.test(answer.headers.get("cache-control") ?? "");
  if (!isText || isPlain || answer.body === null) return answer;
  answer.headers.append("vary", "accept-encoding");
  if (!/\bgzip\b(?!\s*;\s*q=0(?:\.0*)?\s*(?:,|$))/.test(accepted ?? "")) return answer;
  const bytes = Buffer.from(await answer.arrayBuffer());
  const isWorth = bytes.length >= bytesMin;
  const headers = new Headers(answer.headers);
  if (isWorth) headers.set("content-encoding", "gzip");
  return new Response(isWorth ? await squeeze(bytes) : bytes, { status: answer.status, headers });
}
