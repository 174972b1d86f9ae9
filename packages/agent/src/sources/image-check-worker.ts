// A thread that checks finished images in full, one after the other, and says the first problem of each.
import { parentPort } from "node:worker_threads";
import { checkDatabase } from "@pageferry/format";
import { openPageSource } from "@pageferry/format/node";
import type { ImageCheckOrder } from "./image-checks.ts";

function firstProblem({ path, stateHash }: ImageCheckOrder): string | undefined {
  try {
    using source = openPageSource(path);
    return checkDatabase(source, { mode: "full", expectedStateHash: stateHash }).problems[0];
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

parentPort?.on("message", (order: ImageCheckOrder) => parentPort?.postMessage(firstProblem(order)));
