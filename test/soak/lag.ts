// How long commits take to be in the replica, measured from outside: what the file shows beside what the names of the replica say.
import { setTimeout as sleep } from "node:timers/promises";
import { newestStored } from "../archive.ts";
import { newestTxId } from "../capture-run.ts";
import type { SoakDatabase } from "./stage.ts";

/** A look at all of them takes some ms of disk. */
const everyMs = 500;

/** Looks until `isOver`, and gives the largest lag that was seen, in ms. */
export async function watchLag(databases: readonly SoakDatabase[], isOver: () => boolean): Promise<number> {
  const waiting = databases.map(() => [] as { readonly txId: number; readonly seenMs: number }[]);
  let largestMs = 0;
  while (!isOver()) {
    for (const [index, { path, root }] of databases.entries()) {
      const [txId, stored] = [await newestTxId(path).catch(() => 0), await newestStored(root)];
      const nowMs = performance.now();
      const left = (waiting[index] ?? []).filter((commit) => commit.txId > stored);
      largestMs = Math.max(largestMs, ...left.map(({ seenMs }) => nowMs - seenMs));
      if (txId > stored && txId !== left.at(-1)?.txId) left.push({ txId, seenMs: nowMs });
      waiting[index] = left;
    }
    await sleep(everyMs);
  }
  return Math.round(largestMs);
}
