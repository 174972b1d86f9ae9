// An answer to what may take hours: the line is kept awake with spaces, which JSON allows before its value, and the answer comes at the end.
// Its status was sent long before, so an error is told in the body, with `code`, like a problem.

import { isPageferryError } from "@pageferry/format";
import type { Context } from "hono";
import { problemOf } from "./problem.ts";
import { requestIdOf } from "./request-id.ts";
import { tellUnexpected } from "./unexpected.ts";

/** Proxies and clients give up lines that are silent for a minute. */
const spaceMs = 10_000;

/** Answers 200 at once with the JSON of `work`, once it is there; or a problem, where it fails. */
export function answerInTheEnd(work: Promise<unknown>, context: Context): Response {
  const { signal } = context.req.raw;
  const encoder = new TextEncoder();
  let timer: NodeJS.Timeout | undefined;
  let isOpen = true;
  const body = new ReadableStream<Uint8Array>({
    async start(controller) {
      const end = (text: string): void => {
        clearInterval(timer);
        if (!isOpen || signal.aborted) return;
        controller.enqueue(encoder.encode(text));
        controller.close();
      };
      timer = setInterval(() => {
        if (isOpen && !signal.aborted) controller.enqueue(encoder.encode(" "));
      }, spaceMs);
      controller.enqueue(encoder.encode(" "));
      work.then(
        (value) => end(JSON.stringify(value)),
        (error: unknown) => {
          if (!isPageferryError(error) && !signal.aborted) tellUnexpected(context, error);
          end(problemOf(error, { isAboutRequest: true, requestId: requestIdOf(context) }).body);
        },
      );
    },
    cancel() {
      isOpen = false;
      clearInterval(timer);
    },
  });
  return new Response(body, {
    headers: { "content-type": "application/json", "cache-control": "no-store" },
  });
}
