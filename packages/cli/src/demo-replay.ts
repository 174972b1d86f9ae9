// Plays a recorded application onto a live file as bbolt itself wrote it: grow, pages ascending, fdatasync, meta, fdatasync.

import { type FileHandle, open } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import type { History, RecordedTransaction } from "./demo-history.ts";

/** bbolt's smallest mapping, which is also its smallest file; it grows by doubling up to 1 GiB. */
const fileBytesMin = 32 * 1024;

/** How to play. */
export interface ReplayOptions {
  /** The application's pace. */
  readonly transactionsPerSecond: number;
  readonly signal: AbortSignal;
  readonly now: () => number;
  /** Called after each commit. */
  readonly onCommit?: (transaction: RecordedTransaction) => void;
}

/** A database file as the recorded application left it at its first transaction, open for the rest. */
export interface LiveFile extends AsyncDisposable {
  /** Commits `transactions` one after the other. */
  replay(transactions: readonly RecordedTransaction[], options: ReplayOptions): Promise<void>;
}

/** Writes the first state of `history` to `path`, which must not exist. */
export async function createLiveFile(history: History, path: string): Promise<LiveFile> {
  const file = await open(path, "wx", 0o600);
  await file.write(history.image, 0, history.image.length, 0);
  await file.truncate(fileSize(history.image.length));
  await file.sync();
  return {
    async replay(transactions, { transactionsPerSecond, signal, now, onCommit }) {
      const startMs = now();
      for (const [count, transaction] of transactions.entries()) {
        const dueMs = startMs + (count * 1000) / transactionsPerSecond;
        await sleep(Math.max(0, dueMs - now()), undefined, { signal });
        await commit(file, history.pageSize, transaction);
        onCommit?.(transaction);
      }
    },
    async [Symbol.asyncDispose]() {
      await file.close();
    },
  };
}

async function commit(file: FileHandle, pageSize: number, transaction: RecordedTransaction): Promise<void> {
  const wanted = fileSize(transaction.highWaterMark * pageSize);
  if ((await file.stat()).size < wanted) {
    await file.truncate(wanted);
    await file.sync();
  }
  for (const { pageId, bytes } of transaction.runs) {
    await file.write(bytes, 0, bytes.length, pageId * pageSize);
  }
  await file.datasync();
  const slot = Number(transaction.txId % 2n);
  await file.write(transaction.metaPage, 0, pageSize, slot * pageSize);
  await file.datasync();
}

function fileSize(bytes: number): number {
  return 2 ** Math.ceil(Math.log2(Math.max(bytes, fileBytesMin)));
}
