// A thread that reads one database file and answers with its logical hash: the body of logical-hash-file.ts.

import { parentPort, workerData } from "node:worker_threads";
import { isPageferryError } from "../errors.ts";
import { type LogicalHashAnswer, logicalHashNow } from "./logical-hash-file.ts";

function answer(path: string): LogicalHashAnswer {
  try {
    return { hash: logicalHashNow(path) };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    return { code: isPageferryError(error) ? error.code : undefined, message };
  }
}

parentPort?.postMessage(answer((workerData as { readonly path: string }).path));
