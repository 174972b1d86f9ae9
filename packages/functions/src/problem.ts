// Errors as HTTP tells them: problem+json (RFC 9457) with our code and hint, made in this one place.

import { type ErrorCode, errorTable, isPageferryError, PageferryError } from "@pageferry/format";
import { z } from "zod";

/** When a sender should come again, in seconds: long enough to pass, short enough not to matter. */
const retryAfterSeconds: Partial<Record<ErrorCode, number>> = {
  unavailable: 1,
  "disk-full": 5,
  locked: 5,
  "too-many": 1,
};

/** What stands in a request, rather than in a replica, is the sender's: it must not try the same again. */
const statusOfRequest: Partial<Record<ErrorCode, number>> = { corrupt: 422, "unsupported-version": 422 };

const words = z.string().max(64 * 1024);

/** The body of a problem. */
export const problemSchema = z
  .object({
    type: z.literal("about:blank"),
    status: z.int().min(400).max(599),
    title: words.meta({ description: "When this code comes." }),
    code: words.optional().meta({ description: "One of docs/errors.md; absent for what nobody foresaw." }),
    detail: words.meta({ description: "What happened this time." }),
    hint: words.meta({ description: "What to do about it." }),
    requestId: words.meta({ description: "As in x-request-id, and in the host's log." }),
  })
  .meta({
    id: "Problem",
    description: "An error, as RFC 9457 writes it.",
    examples: [
      {
        ...{ type: "about:blank", status: 404, title: errorTable["not-found"].when, code: "not-found" },
        ...{ detail: "database ap is not backed up here", hint: "There are app.", requestId: "kT9vQx2mN0aB" },
      },
    ],
  });

export interface Problem {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

interface Throttle {
  readonly retryAfterMs: number;
}

/** The error `too-many`, with the time to wait kept in it. */
export function tooMany(message: string, retryAfterMs: number): PageferryError {
  const cause: Throttle = { retryAfterMs };
  return new PageferryError("too-many", message, { cause });
}

interface Progress {
  readonly state: object;
}

/** The error `timeout`, with the state so far kept in it. */
export function notInTime(message: string, progress: Progress): PageferryError {
  return new PageferryError("timeout", message, { cause: progress });
}

function stateOf({ code, cause }: PageferryError): Partial<Progress> {
  const { state } = (cause ?? {}) as Partial<Progress>;
  return code === "timeout" && state !== undefined ? { state } : {};
}

function askedSeconds({ code, cause }: PageferryError): number | undefined {
  const { retryAfterMs } = (cause ?? {}) as Partial<Throttle>;
  return code === "too-many" && typeof retryAfterMs === "number"
    ? Math.max(1, Math.ceil(retryAfterMs / 1000))
    : retryAfterSeconds[code];
}

/** The status of a code. In a request with a body what does not hold is the sender's. */
export function statusOf(code: ErrorCode, isAboutRequest: boolean): number {
  const known = errorTable[code] as { readonly status?: number };
  return (isAboutRequest ? statusOfRequest[code] : undefined) ?? known.status ?? 500;
}

/** What a problem is about. */
export interface ProblemOptions {
  /** Whether it stands in what was sent. */
  readonly isAboutRequest: boolean;
  readonly requestId: string;
  /** Where another one than the code's says it better. */
  readonly status?: number;
}

/** Turns an error into an answer. What nobody foresaw says nothing of itself; the host's log does. */
export function problemOf(error: unknown, options: ProblemOptions): Problem {
  const { isAboutRequest, requestId } = options;
  if (!isPageferryError(error)) {
    return answer(500, {
      requestId,
      title: "unexpected",
      detail: "the host met an error that nobody foresaw",
      hint: "Look at its log.",
    });
  }
  const { code, message, hint } = error;
  const status = options.status ?? statusOf(code, isAboutRequest);
  const seconds = askedSeconds(error);
  const retry: Record<string, string> = seconds === undefined ? {} : { "retry-after": String(seconds) };
  return answer(
    status,
    { requestId, title: errorTable[code].when, code, detail: message, hint, ...stateOf(error) },
    retry,
  );
}

function answer(
  status: number,
  fields: Record<string, string | object>,
  more: Record<string, string> = {},
): Problem {
  const challenge: Record<string, string> = status === 401 ? { "www-authenticate": "Bearer" } : {};
  return {
    status,
    headers: {
      "content-type": "application/problem+json",
      "cache-control": "no-store",
      ...challenge,
      ...more,
    },
    body: JSON.stringify({ type: "about:blank", status, ...fields }),
  };
}
