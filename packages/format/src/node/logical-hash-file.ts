// The logical hash of a database file, beside whatever else the caller does: a large file is read by a thread of its own.

import { stat } from "node:fs/promises";
import { Worker } from "node:worker_threads";
import { logicalHash } from "../bolt/logical-hash.ts";
import { newestMeta } from "../bolt/meta.ts";
import { type ErrorCode, PageferryError } from "../errors.ts";
import { openPageSource } from "./page-source.ts";
import { threadUrl } from "./thread-url.ts";

/** Below this it is done before a thread has started. */
const threadBytesMin = 8 * 1024 * 1024;

/** What the thread answers. */
export type LogicalHashAnswer =
  | { readonly hash: string }
  | { readonly code: ErrorCode | undefined; readonly message: string };

/** The logical hash of the newest state in a file. Errors: `not-bolt`, `corrupt`, `not-found`, the signal's reason. */
export async function logicalHashOf(
  path: string,
  { signal }: { readonly signal?: AbortSignal | undefined } = {},
): Promise<string> {
  const { size } = await stat(path);
  if (size < threadBytesMin) return logicalHashNow(path);
  signal?.throwIfAborted();
  const worker = new Worker(threadUrl("logical-hash-thread", import.meta.url), {
    workerData: { path },
  });
  const ended = Promise.withResolvers<string>();
  worker.once("message", (answer: LogicalHashAnswer) => {
    if ("hash" in answer) ended.resolve(answer.hash);
    else if (answer.code === undefined) ended.reject(new Error(answer.message));
    else ended.reject(new PageferryError(answer.code, answer.message));
  });
  worker.once("error", (error) => ended.reject(error));
  worker.once("exit", () => ended.reject(new Error(`the thread that reads ${path} ended without an answer`)));
  const abort = (): void => ended.reject(signal?.reason);
  signal?.addEventListener("abort", abort, { once: true });
  try {
    return await ended.promise;
  } finally {
    signal?.removeEventListener("abort", abort);
    await worker.terminate();
  }
}

/** The same in this thread, until it is done. */
export function logicalHashNow(path: string): string {
  using source = openPageSource(path);
  const meta = newestMeta(source.read(0, 1).slice(), source.read(1, 1).slice());
  if (meta === undefined) throw new PageferryError("corrupt", `${path}: neither meta page is valid`);
  return logicalHash(source, meta);
}
