// Full checks of images, away from the thread that must not wait. One thread does them in order, and ends when there are none.
import { Worker } from "node:worker_threads";
import type { StateHash } from "@pageferry/format";
import { threadUrl } from "@pageferry/format/node";

/** What is to be checked. */
export interface ImageCheckOrder {
  readonly path: string;
  /** What it must have; undefined: that is asked. */
  readonly stateHash: StateHash | undefined;
}

/** What was found: the first problem, and the state hash where the live pages could all be read. */
export interface ImageCheckAnswer {
  readonly problem: string | undefined;
  readonly stateHash: StateHash | undefined;
}

type Done = (problem: string | undefined, stateHash: StateHash | undefined) => void;

/** Checks an image in full; `done` gets the first problem, or undefined, and its state hash. */
export type CheckImage = (order: ImageCheckOrder, done: Done) => void;

/** Makes a checker, shared by all sources. */
export function createImageChecks(): CheckImage {
  const waiting: Done[] = [];
  let worker: Worker | undefined;

  function start(): Worker {
    const started = new Worker(threadUrl("image-check-worker", import.meta.url), { name: "pageferry-check" });
    started.on("message", ({ problem, stateHash }: ImageCheckAnswer) => {
      waiting.shift()?.(problem, stateHash);
      if (waiting.length > 0) return;
      worker = undefined;
      void started.terminate();
    });
    started.on("error", (error) => {
      if (worker === started) worker = undefined;
      const problem = error instanceof Error ? error.message : String(error);
      for (const done of waiting.splice(0)) done(problem, undefined);
    });
    return started;
  }

  return (order, done) => {
    worker ??= start();
    waiting.push(done);
    worker.postMessage(order);
  };
}
