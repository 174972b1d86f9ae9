// A body that is too large for one request, in parts: one in memory at a time, each tried again by itself. It becomes visible as a
// whole, and only if its digest is the one it is named for: of parts, the server checks no digest of the whole.
import { createHash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { isPageferryError } from "@pageferry/format";
import { bodyLost, type StagedBody } from "../queue.ts";
import { fromAws } from "./aws-errors.ts";
import type { StageBucket, TakenPart, Upload } from "./s3-requests.ts";

/** 8 GB are 477 of them, of the 10,000 that S3 takes; less than 5 MiB it takes only as the last. */
const partBytes = 16 * 2 ** 20;

/** A part whose connection breaks is sent again: else hours would begin anew with every hiccup. */
const attemptsMax = 4;

/** What cannot be taken back in this time, the bucket's lifecycle removes. */
const abandonMs = 10_000;

/** A body on its way, seen to move. */
export interface Transfer {
  readonly key: string;
  readonly body: StagedBody;
  /** Ends with the caller's signal, and when nothing moves. */
  readonly signal: AbortSignal;
  /** Something moves: so many bytes were taken for which there is no sign yet that they arrived. */
  moved(taken: number): void;
  /** The bytes, from the start. Throws what `bodyLost` makes of a body that cannot be read, or is of another size. */
  pieces(): AsyncGenerator<Uint8Array>;
}

/** Uploads a body in parts. Errors: the SDK's, and `bodyLost`. */
export async function putParts(bucket: StageBucket, transfer: Transfer): Promise<void> {
  const { key, signal } = transfer;
  const upload = await bucket.begin(key, signal);
  try {
    const parts = await putAll(bucket, upload, transfer);
    await persistently(transfer, () => bucket.complete(upload, parts, signal));
  } catch (error) {
    // Nobody sees the parts, and somebody pays for them.
    await bucket.abandon(upload, AbortSignal.timeout(abandonMs)).catch(() => {});
    throw error;
  }
}

async function putAll(bucket: StageBucket, upload: Upload, transfer: Transfer): Promise<TakenPart[]> {
  const { body, signal } = transfer;
  const hash = createHash("sha256");
  const parts: TakenPart[] = [];
  for await (const bytes of partsOf(transfer.pieces())) {
    hash.update(bytes);
    const number = parts.length + 1;
    parts.push(await persistently(transfer, () => bucket.putPart(upload, number, bytes, signal)));
  }
  const digest = hash.digest("hex");
  if (digest !== body.digest) {
    throw bodyLost(`staged body ${body.digest}`, new Error(`its bytes have the digest ${digest}`));
  }
  return parts;
}

/** Parts of one size, but for the last. They share one piece of memory: each is good until the next is asked for. */
async function* partsOf(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const part = Buffer.allocUnsafeSlow(partBytes);
  let filled = 0;
  for await (const piece of pieces) {
    for (let at = 0; at < piece.length; ) {
      const length = Math.min(piece.length - at, partBytes - filled);
      part.set(piece.subarray(at, at + length), filled);
      at += length;
      filled += length;
      if (filled < partBytes) continue;
      yield part;
      filled = 0;
    }
  }
  if (filled > 0) yield part.subarray(0, filled);
}

async function persistently<Result>(
  { signal, moved }: Transfer,
  act: () => Promise<Result>,
): Promise<Result> {
  for (let attempt = 1; ; attempt += 1) {
    moved(partBytes);
    try {
      return await act();
    } catch (error) {
      const isPassing = isPageferryError(fromAws(error, ""), "unavailable");
      if (attempt >= attemptsMax || !isPassing || signal.aborted) throw error;
      await sleep(250 * 2 ** attempt * (0.5 + Math.random()), undefined, { signal });
    }
  }
}
