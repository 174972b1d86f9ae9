// Asking again for as long as it takes: growing pauses with jitter, or as long as the host said. The only importer of p-retry.
import { isPageferryError } from "@pageferry/format";
import pRetry from "p-retry";
import { retryAfterMsOf } from "./queue.ts";
import type { Wake } from "./wake.ts";

/** The first pause; a host that restarts is back within some of these. */
const firstPauseMs = 250;

/** The longest pause of our own: a host that returns is noticed within half a minute. */
const longestPauseMs = 30_000;

/** The longest pause that a host can ask for; beyond it the answer is taken for a mistake. */
const longestAskedPauseMs = 3_600_000;

/** How to ask again. */
export interface RetryOptions {
  /** Ends the retrying with the signal's reason. */
  readonly signal: AbortSignal;
  /** Cuts the present pause short when notified. */
  readonly hurry: Wake;
  /** 0 to 1, for the jitter. */
  readonly random: () => number;
  /** Told of each failure that will be tried again. */
  readonly onFailure?: (error: Error, pauseMs: number) => void;
}

/** The pause after the nth failure (from 1): doubling, between half and all of the step, so that agents spread. */
export function pauseMsAfter(failures: number, random: () => number): number {
  const step = Math.min(longestPauseMs, firstPauseMs * 2 ** Math.min(failures - 1, 20));
  return step / 2 + (step / 2) * random();
}

/** Calls `attempt` until it succeeds. An error whose remedy is not `retry` is thrown at once. */
export function retryForever<Result>(attempt: () => Promise<Result>, options: RetryOptions): Promise<Result> {
  return pRetry(attempt, {
    retries: Number.POSITIVE_INFINITY,
    minTimeout: 0,
    factor: 1,
    signal: options.signal,
    shouldRetry: ({ error }) => isRetryable(error),
    onFailedAttempt: async ({ error, attemptNumber }) => {
      if (!isRetryable(error) || options.signal.aborted) {
        return;
      }
      const pauseMs = pauseOf(error, attemptNumber, options.random);
      options.onFailure?.(error, pauseMs);
      await options.hurry.wait(pauseMs, options.signal);
    },
  });
}

function isRetryable(error: Error): boolean {
  return isPageferryError(error) && error.remedy === "retry";
}

function pauseOf(error: Error, attemptNumber: number, random: () => number): number {
  const askedMs = retryAfterMsOf(error);
  const ownMs = pauseMsAfter(attemptNumber, random);
  // Whoever asked many agents to wait the same time does not want them all back at once.
  return askedMs === undefined ? ownMs : Math.min(askedMs, longestAskedPauseMs) * (1 + 0.1 * random());
}
