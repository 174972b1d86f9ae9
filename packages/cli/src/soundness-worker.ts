// A thread that checks one file as `pageferry check` does, so that a host or a signal need not wait for it.

import { parentPort, workerData } from "node:worker_threads";
import { checkDatabase, isPageferryError } from "@pageferry/format";
import { openPageSource } from "@pageferry/format/node";

const { path } = workerData as { readonly path: string };

/** What is wrong with the file; `null`: nothing. Errors: `unreadable`, `not-found`. */
function problemOf(): string | null {
  try {
    using source = openPageSource(path);
    const { problems, problemCount } = checkDatabase(source, { mode: "full" });
    const more = problemCount > 1 ? `, and ${problemCount - 1} more` : "";
    return problems[0] === undefined ? null : `${problems[0]}${more}`;
  } catch (error) {
    const isOfFile = isPageferryError(error, "not-bolt") || isPageferryError(error, "corrupt");
    if (isOfFile) return (error as Error).message;
    throw error;
  }
}

parentPort?.postMessage(problemOf());
