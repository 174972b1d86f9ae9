// A bound on how much goes on at a time that lets nobody wait: who comes too many is told to come again.

import { tooMany } from "./problem.ts";

export interface AtOnceBounds {
  readonly perHost: number;
  readonly perToken: number;
}

export interface AtOnce {
  /** Gives what ends it; ending twice is nothing. Throws `too-many`. */
  begin(token: string): () => void;
}

/** What is busy is free again soon. */
const comeAgainMs = 1000;

export function createAtOnce(what: string, { perHost, perToken }: AtOnceBounds): AtOnce {
  const underWay = new Map<string, number>();
  let total = 0;
  return {
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
  };
}
