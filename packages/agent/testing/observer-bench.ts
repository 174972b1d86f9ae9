// For tests: a store that is observed, an agent that keeps what it tells, and a tiny host; with short times.
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Generation } from "@pageferry/format";
import {
  type Controller,
  createController,
  type ObserverConfig,
  type ObserverOptions,
} from "../src/observer/controller.ts";
import type { ObservedDatabase } from "../src/observer/observed-database.ts";
import type { ObserverStatus } from "../src/observer/observer-source.ts";
import { createHttpQueue } from "../src/queues/http.ts";
import { until } from "./agent-bench.ts";
import { createPageStore, type PageStore, type PageStoreOptions, type StoreState } from "./page-store.ts";
import type { TinyHost } from "./tiny-host.ts";

/** An observed store. */
export interface ObserverBench extends AsyncDisposable {
  readonly store: PageStore;
  readonly controller: Controller;
  /** What was live at each transaction that `commit` made. */
  readonly states: ReadonlyMap<number, StoreState>;
  /** Commits so often; each is told in its order unless `tell` is false, and remembered. */
  commit(count: number, tell?: boolean): ReturnType<PageStore["commit"]>[];
  generation(): Generation;
  observer(): ObserverStatus;
  /** Waits until everything that was committed is acknowledged. */
  settled(): Promise<void>;
}

/** How to start one. */
export interface ObserverBenchOptions extends ObserverOptions {
  readonly directory: string;
  /** An observed store that goes on; else a new one. */
  readonly store?: PageStore;
  readonly made?: Partial<PageStoreOptions>;
  /** What the controller sees instead of the store. */
  readonly seen?: (store: PageStore) => ObservedDatabase;
  readonly config?: ObserverConfig;
}

/** Starts to observe. */
export async function startObserver(
  host: Pick<TinyHost, "url">,
  options: ObserverBenchOptions,
): Promise<ObserverBench> {
  const { directory, seen = (given: PageStore) => given, made = {}, config, ...rest } = options;
  const store = options.store ?? createPageStore({ path: join(directory, "app.db"), ...made });
  const states = new Map<number, StoreState>([[store.newest(), store.state()]]);
  // A file of this name is the same one after a restart.
  await writeFile(store.path, "");
  const controller = createController(seen(store), {
    ...{ queue: createHttpQueue({ url: host.url, timeoutMs: 2000 }), host: "here" },
    ...rest,
    config: {
      ...{ shadowDir: join(directory, "shadow"), syncIntervalMs: 20 },
      ...{ granularity: "transaction", maxReadRate: 0, ...config },
    },
    times: { gapMs: 100, retryMs: 50, doubtMs: 50, ...options.times },
  });
  await controller.start();
  const status = () => controller.status();
  return {
    ...{ store, controller, states },
    commit(count, tell = true) {
      return Array.from({ length: count }, () => {
        const info = store.commit();
        states.set(store.newest(), store.state());
        if (tell) controller.onPageFlush(info);
        return info;
      });
    },
    generation: () => status()?.generation as Generation,
    observer: () => status()?.observer as ObserverStatus,
    settled: () =>
      until(
        `${store.newest()} acknowledged`,
        () => (status()?.acknowledgedTxId ?? 0n) === BigInt(store.newest()),
      ),
    [Symbol.asyncDispose]: () => controller.close({ deadlineMs: 2000 }),
  };
}
