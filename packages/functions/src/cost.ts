// What a month of a database in a replica costs, if it goes on as it did. Pure: from requests that were counted, and bytes that are stored.

import type { OperationCounts } from "./operation-counts.ts";

/** A month, as clouds bill it. */
const monthMs = 730 * 3_600_000;

/** Less evidence says nothing of a month: a first snapshot, or an hour's merges, would be taken for what is usual. */
const evidenceMsMin = 3_600_000;

export interface Prices {
  readonly usdOfWrite: number;
  readonly usdOfRead: number;
  readonly usdOfGigabyteMonth: number;
}

/** S3 Standard in us-east-1, as listed in 2026: $0.005 for a thousand puts or listings, $0.0004 for a thousand gets, $0.023 for a GB-month. */
const s3Prices: Prices = { usdOfWrite: 0.005 / 1000, usdOfRead: 0.0004 / 1000, usdOfGigabyteMonth: 0.023 };

export interface MonthStatus {
  /** Puts, gets and listings. */
  readonly requests: number;
  /** Null: not a bucket whose prices are known here. */
  readonly usd: number | null;
}

/** Null until an hour was counted. */
export function projectMonth(
  { writes, reads, elapsedMs }: OperationCounts,
  storedBytes: number,
  prices: Prices | null,
): MonthStatus | null {
  if (elapsedMs < evidenceMsMin) return null;
  const factor = monthMs / elapsedMs;
  const usd =
    prices === null
      ? null
      : writes * factor * prices.usdOfWrite +
        reads * factor * prices.usdOfRead +
        (storedBytes / 1e9) * prices.usdOfGigabyteMonth;
  return { requests: Math.round((writes + reads) * factor), usd: usd === null ? null : rounded(usd) };
}

/** By the word a replica is named with; only S3's are known. */
export function pricesOf(replica: string): Prices | null {
  return replica.startsWith("s3://") ? s3Prices : null;
}

/** To a hundredth of a cent. */
function rounded(usd: number): number {
  return Math.round(usd * 10_000) / 10_000;
}
