// Work that must end: by itself, when its time is over, or when somebody stops it.

/**
 * Runs `work` with a signal that is aborted after `ms`, or with `outer`. Nothing of it stays when the work is done: of
 * AbortSignal.timeout the timer would, and there may be hundreds a second.
 */
export async function withDeadline<Result>(
  ms: number,
  outer: AbortSignal | undefined,
  work: (signal: AbortSignal) => Promise<Result>,
): Promise<Result> {
  outer?.throwIfAborted();
  const inner = new AbortController();
  const stop = () => inner.abort(outer?.reason);
  const timer = setTimeout(stop, ms);
  outer?.addEventListener("abort", stop, { once: true });
  try {
    return await work(inner.signal);
  } finally {
    clearTimeout(timer);
    outer?.removeEventListener("abort", stop);
  }
}
