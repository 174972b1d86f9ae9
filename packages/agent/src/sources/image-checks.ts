// Full checks of images, away from the thread that must not wait. One thread does them in order, and ends when there are none.
import { Worker } from "node:worker_threads";
import type { StateHash } from "@pageferry/format";

/** What is to be checked. */
export interface ImageCheckOrder {
  readonly path: string;
  readonly stateHash: StateHash;
}

/** Checks an image in full; `done` gets the first problem, or undefined. */
export type CheckImage = (order: ImageCheckOrder, done: (problem: string | undefined) => void) => void;

/** Makes a checker, shared by all sources. */
export function createImageChecks(): CheckImage {
  const waiting: ((problem: string | undefined) => void)[] = [];
  let worker: Worker | undefined;

  function start(): Worker {
    const file = import.meta.url.endsWith(".ts") ? "./image-check-worker.ts" : "./image-check-worker.js";
    const started = new Worker(new URL(file, import.meta.url), { name: "pageferry-check" });
    started.on("message", (problem: string | undefined) => {
      waiting.shift()?.(problem);
      if (waiting.length > 0) return;
      worker = undefined;
      void started.terminate();
    });
    started.on("error", (error) => {
      if (worker === started) worker = undefined;
      const problem = error instanceof Error ? error.message : String(error);
      for (const done of waiting.splice(0)) done(problem);
    });
    return started;
  }

  return (order, done) => {
    worker ??= start();
    waiting.push(done);
    worker.postMessage(order);
  };
}
