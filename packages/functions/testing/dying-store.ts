// For tests: a store whose process dies at a chosen call, and stays dead until it is revived. What was asked for may have been done or not.

import { PageferryError } from "@pageferry/format";
import type { Store } from "../src/store.ts";

export interface DyingStore {
  readonly store: Store;
  /** Dies with the call after so many more; a call that changes something is carried out first where `isDone`. */
  dieAfter(calls: number, isDone: boolean): void;
  revive(): void;
}

export function dyingStore(inner: Store): DyingStore {
  let left = Number.POSITIVE_INFINITY;
  let isLastDone = false;
  const dead = () => new PageferryError("unavailable", "the process has died");
  const call = async <Result>(work: () => Promise<Result>): Promise<Result> => {
    left -= 1;
    if (left < -1) throw dead();
    if (left >= 0) return work();
    if (isLastDone) await work();
    throw dead();
  };
  return {
    store: {
      ...inner,
      put: (name, body, options) => call(() => inner.put(name, body, options)),
      get: (name, options) => call(() => inner.get(name, options)),
      remove: (names, options) => call(() => inner.remove(names, options)),
      replace: (name, bytes, options) => call(() => inner.replace(name, bytes, options)),
      async *list(prefix, options) {
        yield* await call(() => Array.fromAsync(inner.list(prefix, options)));
      },
    },
    dieAfter(calls, isDone) {
      left = calls;
      isLastDone = isDone;
    },
    revive() {
      left = Number.POSITIVE_INFINITY;
    },
  };
}
