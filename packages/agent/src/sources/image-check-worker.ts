// A thread that checks one finished image in full and says the first problem. It lives for one check.
import { parentPort, workerData } from "node:worker_threads";
import { checkDatabase, type StateHash } from "@pageferry/format";
import { openPageSource } from "@pageferry/format/node";

const { path, stateHash } = workerData as { readonly path: string; readonly stateHash: StateHash };

function firstProblem(): string | undefined {
  using source = openPageSource(path);
  return checkDatabase(source, { mode: "full", expectedStateHash: stateHash }).problems[0];
}

parentPort?.postMessage(firstProblem());
