// The id of a bolt transaction: a u64, always written as 16 hex digits. See docs/format.md#names.
import { PageferryError } from "./errors.ts";

declare const txIdBrand: unique symbol;

/** The id of one bolt commit, 0 to 2^64-1. Made by `txId` or `parseTxId` only. */
export type TxId = bigint & { readonly [txIdBrand]: true };

const txIdMax = 0xffff_ffff_ffff_ffffn;

/** Takes a number as a transaction id; outside 0 to 2^64-1, or not whole, it throws `bad-request`. */
export function txId(value: bigint | number): TxId {
  if (typeof value === "number" && !Number.isSafeInteger(value)) {
    throw new PageferryError("bad-request", `transaction id ${value} is not a safe integer`);
  }
  const id = BigInt(value);
  if (id < 0n || id > txIdMax) {
    throw new PageferryError("bad-request", `transaction id ${id} is outside 0 to 2^64-1`);
  }
  return id as TxId;
}

/** The 16 lower-case hex digits used in names, logs, JSON and errors. */
export function formatTxId(id: TxId): string {
  return id.toString(16).padStart(16, "0");
}

/** Reads 16 hex digits, or a decimal number of fewer digits, as `--txid` takes it; else throws `bad-request`. */
export function parseTxId(text: string): TxId {
  if (/^[0-9a-f]{16}$/i.test(text)) {
    return txId(BigInt(`0x${text}`));
  }
  if (/^[0-9]{1,15}$/.test(text)) {
    return txId(BigInt(text));
  }
  throw new PageferryError(
    "bad-request",
    `transaction id "${text.slice(0, 40)}" is neither 16 hex digits nor a decimal of fewer digits`,
  );
}
