// Starts the thread that keeps chains when the first busy file wants it, and tells it which files to keep.
import { Worker } from "node:worker_threads";
import { threadUrl } from "@pageferry/format/node";
import type { KeeperOrder } from "./link-keeper-worker.ts";
import { createLinkMemory, type LinkSource, readLinkLog, setWanted } from "./link-log.ts";
import type { OpenFile } from "./tailer-state.ts";

/** The chain of one open file. */
export interface KeptLinks extends LinkSource {
  /** Links are kept only while they are wanted. */
  want(isWanted: boolean): void;
  close(): void;
}

/** Makes the kept links of a file; cheap, until they are wanted. */
export type KeepLinks = (file: OpenFile, pageSize: number) => KeptLinks;

/** Makes a keeper, shared by all sources. */
export function createLinkKeeper(clockMs: () => number): KeepLinks {
  const wake = new Int32Array(new SharedArrayBuffer(4));
  let worker: Worker | undefined;
  let nextId = 1;

  function tell(order: KeeperOrder): void {
    worker ??= start(wake, () => {
      worker = undefined;
    });
    worker.postMessage(order);
    notify();
  }

  function notify(): void {
    Atomics.add(wake, 0, 1);
    Atomics.notify(wake, 0);
  }

  return (file, pageSize) => {
    const id = nextId;
    nextId += 1;
    const { device, inode } = file.identity;
    let memory: ReturnType<typeof createLinkMemory> | undefined;
    let log: LinkSource | undefined;
    return {
      follow: (from, to) => log?.follow(from, to),
      forget: (upTo) => log?.forget(upTo),
      want(isWanted) {
        if (memory === undefined) {
          if (!isWanted) return;
          memory = createLinkMemory();
          log = readLinkLog(memory, clockMs);
          tell({ kind: "watch", id, openPath: file.openPath, device, inode, pageSize, memory });
        }
        if (setWanted(memory, isWanted) && isWanted) notify();
      },
      close() {
        if (memory === undefined) return;
        setWanted(memory, false);
        memory = undefined;
        log = undefined;
        tell({ kind: "forget", id });
      },
    };
  };
}

function start(wake: Int32Array<SharedArrayBuffer>, onEnd: () => void): Worker {
  const worker = new Worker(threadUrl("link-keeper-worker", import.meta.url), {
    workerData: wake,
    name: "pageferry-links",
    // It looks at metas and keeps freelists and paths, which lie outside the heap.
    resourceLimits: { maxYoungGenerationSizeMb: 3 },
  });
  // Without it capture goes on, with more breaks; the next order starts another.
  worker.on("error", onEnd);
  worker.unref();
  return worker;
}
