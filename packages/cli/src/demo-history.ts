// The recorded application of `pageferry demo`: every page that bbolt wrote in 449 transactions, and what the database held after
// each. How it was recorded: ../demo/README.md.

import { zstdDecompressSync } from "node:zlib";
import { PageferryError, parseTxId, type TxId, txId } from "@pageferry/format";
import { historyPath, readHistoryFile } from "./history-file.ts";

/** What is true of the database at one transaction. */
export interface RecordedState {
  readonly txId: TxId;
  /** The meta page that made it the newest state; whole, zeros after the meta. */
  readonly metaPage: Uint8Array;
  /** Hash of all buckets, keys and values (docs/format.md#logical-hash), computed by the Go program that was recorded. */
  readonly logicalSha256: string;
}

/** A state, and what its transaction wrote. */
export interface RecordedTransaction extends RecordedState {
  /** First unallocated page: the database is this many pages long. */
  readonly highWaterMark: number;
  /** Ascending, as bbolt writes them. */
  readonly runs: readonly { readonly pageId: number; readonly bytes: Uint8Array }[];
}

/** A recorded application. */
export interface History {
  readonly pageSize: number;
  /** The whole file at `first`. */
  readonly image: Uint8Array;
  readonly first: RecordedState;
  readonly transactions: readonly RecordedTransaction[];
}

interface HistoryIndex {
  readonly pageSize: number;
  readonly imageBytes: number;
  readonly firstTxId: string;
  readonly firstLogicalSha256: string;
  readonly transactions: readonly {
    readonly txId: string;
    /** The first 80 bytes of the meta page, hex. */
    readonly meta: string;
    /** Page id and count of pages, in the order of the bytes that follow. */
    readonly runs: readonly (readonly [number, number])[];
    readonly logicalSha256: string;
  }[];
}

/** Uncompressed, the recording is 25 MB. */
const historyBytesMax = 64 * 1024 * 1024;

const highWaterMarkOffset = 56;

/** Reads the recording that comes with the package. */
export async function loadHistory(): Promise<History> {
  let raw: Buffer;
  try {
    raw = zstdDecompressSync(await readHistoryFile(), { maxOutputLength: historyBytesMax });
  } catch (cause) {
    throw new PageferryError("not-found", `the demo's recording cannot be read: ${historyPath}`, {
      cause,
      hint: "Install pageferry again; the file belongs to the package.",
    });
  }
  return parseHistory(raw);
}

function parseHistory(raw: Buffer): History {
  let at = 4 + raw.readUInt32LE(0);
  const take = (length: number): Uint8Array => {
    at += length;
    return raw.subarray(at - length, at);
  };
  const index = JSON.parse(raw.toString("utf8", 4, at)) as HistoryIndex;
  const { pageSize } = index;
  const image = take(index.imageBytes);
  const transactions = index.transactions.map(({ txId, meta, runs, logicalSha256 }) => {
    const metaPage = Buffer.alloc(pageSize);
    metaPage.write(meta, "hex");
    return {
      txId: parseTxId(txId),
      metaPage,
      highWaterMark: metaPage.readUInt32LE(highWaterMarkOffset),
      runs: runs.map(([pageId, count]) => ({ pageId, bytes: take(count * pageSize) })),
      logicalSha256,
    };
  });
  const firstTxId = txId(Number(index.firstTxId));
  const slot = Number(firstTxId % 2n);
  const metaPage = image.subarray(slot * pageSize, (slot + 1) * pageSize);
  const first = { txId: firstTxId, metaPage, logicalSha256: index.firstLogicalSha256 };
  return { pageSize, image, first, transactions };
}
