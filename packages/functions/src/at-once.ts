// A bound on how much goes on at a time that lets nobody wait: who comes too many is told to come again.

import { setTimeout as sleep } from "node:timers/promises";
import { isPageferryError } from "@pageferry/format";
import { tooMany } from "./problem.ts";

export interface AtOnceBounds {
  readonly perHost: number;
  readonly perToken: number;
}

export interface AtOnce {
  /** Gives what ends it; ending twice is nothing. Throws `too-many`. */
  begin(token: string): () => void;
  /** The same, as soon as there is room. Throws `too-many` when there was none for `waitMs`, or nobody waits any more. */
  beginSoon(token: string, waitMs: number, signal: AbortSignal): Promise<() => void>;
}

/** What is busy is free again soon. */
const comeAgainMs = 1000;

/** How often who waits looks for room. */
const lookEveryMs = 50;

export function createAtOnce(what: string, { perHost, perToken }: AtOnceBounds): AtOnce {
  const underWay = new Map<string, number>();
  let total = 0;
  const all: AtOnce = {
    begin(token) {
      const mine = underWay.get(token) ?? 0;
      if (total >= perHost) throw tooMany(`${total} ${what} are under way at this host`, comeAgainMs);
      if (mine >= perToken) throw tooMany(`${mine} ${what} are under way with this token`, comeAgainMs);
      total += 1;
      underWay.set(token, mine + 1);
      let isUnderWay = true;
      return () => {
        if (!isUnderWay) return;
        isUnderWay = false;
        total -= 1;
        const left = (underWay.get(token) ?? 1) - 1;
        if (left === 0) underWay.delete(token);
        else underWay.set(token, left);
      };
    },
    async beginSoon(token, waitMs, signal) {
      for (const endMs = performance.now() + waitMs; ; ) {
        try {
          return all.begin(token);
        } catch (error) {
          const isOver = signal.aborted || performance.now() >= endMs;
          if (isOver || !isPageferryError(error, "too-many")) throw error;
        }
        await sleep(lookEveryMs);
      }
    },
  };
  return all;
}
