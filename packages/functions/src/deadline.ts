// Work that must end: by itself, when its time is over, or when somebody stops it. What ignores its signal is left behind.

import { PageferryError } from "@pageferry/format";

/**
 * Runs `work` with a signal that is aborted after `ms`, as `unavailable`, or with `outer`, and ends with that signal whatever the
 * work does. Nothing of it stays when the work is done: of AbortSignal.timeout the timer would, and there may be hundreds a second.
 */
export async function withDeadline<Result>(
  ms: number,
  outer: AbortSignal | undefined,
  work: (signal: AbortSignal) => Promise<Result>,
): Promise<Result> {
  outer?.throwIfAborted();
  const inner = new AbortController();
  const over = new PageferryError("unavailable", `it was not done in ${ms} ms`);
  const stop = () => inner.abort(outer?.reason);
  const timer = setTimeout(() => inner.abort(over), ms);
  outer?.addEventListener("abort", stop, { once: true });
  try {
    return await untilAborted(work(inner.signal), inner.signal);
  } finally {
    clearTimeout(timer);
    outer?.removeEventListener("abort", stop);
  }
}

/** Waits for `work` until the signal is aborted, then throws its reason; the work goes on, and nobody hears of it. */
export async function untilAborted<Result>(
  work: Promise<Result>,
  signal: AbortSignal | undefined,
): Promise<Result> {
  if (signal === undefined) return work;
  const aborted = Promise.withResolvers<never>();
  const abort = () => aborted.reject(signal.reason);
  signal.addEventListener("abort", abort, { once: true });
  try {
    if (signal.aborted) abort();
    return await Promise.race([work, aborted.promise]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}
