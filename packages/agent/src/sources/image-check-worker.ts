// A thread that checks finished images in full, one after the other, and says the first problem of each.
import { parentPort } from "node:worker_threads";
import { checkDatabase } from "@pageferry/format";
import { openPageSource } from "@pageferry/format/node";
import type { ImageCheckAnswer, ImageCheckOrder } from "./image-checks.ts";

function check({ path, stateHash: expectedStateHash }: ImageCheckOrder): ImageCheckAnswer {
  try {
    using source = openPageSource(path);
    const { problems, stateHash } = checkDatabase(source, { mode: "full", expectedStateHash });
    return { problem: problems[0], stateHash };
  } catch (error) {
    return { problem: error instanceof Error ? error.message : String(error), stateHash: undefined };
  }
}

parentPort?.on("message", (order: ImageCheckOrder) => parentPort?.postMessage(check(order)));
