// A circuit breaker for one replica: after a failure it is left alone for a while, then one call finds out whether it is back,
// and only that one. docs/decisions/0004 says why it is ours.

import { backoffMostMs, backoffMs, errorLine } from "./settle.ts";

/** `closed`: asked freely. `open`: left alone. `half-open`: one call is finding out whether it is back. */
export type BreakerState = "closed" | "open" | "half-open";

/** The right to ask once. Exactly one of its three ends must be told; those after it are nothing. */
export interface Pass {
  /** Whether this call decides for all: it should be small. */
  readonly isProbe: boolean;
  succeeded(): void;
  failed(error: unknown): void;
  /** It came to nothing, and says nothing of the replica. */
  abandoned(): void;
}

export interface Breaker {
  state(): BreakerState;
  /** In a row; 0 while it is closed. */
  failures(): number;
  /** The last failure's line; `null` while it is closed. */
  error(): string | null;
  /** How long it is still left alone, ms. */
  waitMs(): number;
  /** `undefined`: it must not be asked now. */
  enter(): Pass | undefined;
}

export interface BreakerOptions {
  /** Milliseconds; a clock that is set costs one wait at most. */
  readonly now: () => number;
  /** In [0, 1): spreads the waits. */
  readonly random: () => number;
  /** Called when it opens, also again, and when it closes. */
  readonly onChange?: (breaker: Breaker) => void;
}

export function createBreaker({ now, random, onChange }: BreakerOptions): Breaker {
  let state: BreakerState = "closed";
  let failures = 0;
  let error: string | null = null;
  let openUntilMs = 0;
  /** Raised with every change: what was begun before it decides nothing any more. */
  let turn = 0;

  const change = (to: BreakerState): void => {
    state = to;
    turn += 1;
  };
  const waitMs = (): number => {
    const leftMs = openUntilMs - now();
    // After a clock that went back no wait is longer than the longest.
    return state === "closed" || leftMs > backoffMostMs ? 0 : Math.max(0, leftMs);
  };
  const breaker: Breaker = {
    state: () => state,
    failures: () => failures,
    error: () => error,
    waitMs,
    enter() {
      if (state === "half-open" || waitMs() > 0) return undefined;
      const isProbe = state === "open";
      if (isProbe) change("half-open");
      const mine = turn;
      return {
        isProbe,
        succeeded() {
          if (mine !== turn || !isProbe) return;
          failures = 0;
          error = null;
          change("closed");
          onChange?.(breaker);
        },
        failed(cause) {
          if (mine !== turn) return;
          failures += 1;
          error = errorLine(cause);
          openUntilMs = now() + backoffMs(failures, random());
          change("open");
          onChange?.(breaker);
        },
        abandoned() {
          if (mine === turn && isProbe) change("open");
        },
      };
    },
  };
  return breaker;
}
