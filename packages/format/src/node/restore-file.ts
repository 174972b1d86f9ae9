// A restore to a file, with threads where the archive is large enough to keep them busy: what agent, functions and command line call.

import { executeRestore, type RestoreOptions, type RestoreResult } from "../restore.ts";
import { inlineWorkbench } from "../workbench.ts";
import { type FileSinkOptions, fileSink } from "./file-sink.ts";
import { threadWorkbench } from "./restore-threads.ts";

/** How to restore to a file. */
export interface RestoreFileOptions extends Omit<RestoreOptions, "sink" | "workbench">, FileSinkOptions {
  /** The database file to write. */
  readonly output: string;
  /** Threads that decode, check and write; 0: the caller's own. Default: by the size of the plan and the number of cores. */
  readonly threads?: number | undefined;
}

/** What was restored, and how long it took. */
export interface RestoreFileResult extends RestoreResult {
  readonly ms: number;
}

/** Below this a restore is done before a thread has started. */
const threadsPlanBytesMin = 8 * 1024 * 1024;

/** Restores a plan to a file. Errors are those of `executeRestore` and `fileSink`; the target is whole or as it was. */
export async function restoreFile(options: RestoreFileOptions): Promise<RestoreFileResult> {
  const start = performance.now();
  await using sink = await fileSink(options.output, options);
  const isSmall = options.plan.bytes < threadsPlanBytesMin;
  if (options.threads === 0 || (options.threads === undefined && isSmall)) {
    const result = await executeRestore({ ...options, sink, workbench: inlineWorkbench(sink) });
    return { ...result, ms: performance.now() - start };
  }
  await using workbench = threadWorkbench(sink.path, options.threads);
  const result = await executeRestore({ ...options, sink, workbench });
  return { ...result, ms: performance.now() - start };
}
