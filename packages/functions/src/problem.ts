// Errors as HTTP tells them: problem+json (RFC 9457) with our code and hint, made in this one place.

import { type ErrorCode, errorTable, isPageferryError, PageferryError } from "@pageferry/format";

/** When a sender should come again, in seconds: long enough to pass, short enough not to matter. */
const retryAfterSeconds: Partial<Record<ErrorCode, number>> = {
  unavailable: 1,
  "disk-full": 5,
  locked: 5,
  "too-many": 1,
};

/** What stands in a request, rather than in a replica, is the sender's: it must not try the same again. */
const statusOfRequest: Partial<Record<ErrorCode, number>> = { corrupt: 422, "unsupported-version": 422 };

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

/** Turns an error into an answer. What nobody foresaw says nothing of itself; the host's log does. */
export function problemOf(error: unknown, isAboutRequest: boolean): Problem {
  if (!isPageferryError(error)) {
    return answer(500, {
      title: "unexpected",
      detail: "the host met an error that nobody foresaw",
      hint: "Look at its log.",
    });
  }
  const { code, message, hint } = error;
  const known = errorTable[code] as { readonly status?: number; readonly when: string };
  const status = (isAboutRequest ? statusOfRequest[code] : undefined) ?? known.status ?? 500;
  const seconds = askedSeconds(error);
  const retry: Record<string, string> = seconds === undefined ? {} : { "retry-after": String(seconds) };
  return answer(status, { title: known.when, code, detail: message, hint, ...stateOf(error) }, retry);
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
