// Large bodies into a bucket, `stage/<database>/<digest>`, never over another: what is there already is a success, for its name
// is the digest of its bytes. Up to 5 GiB go in one request, whose digest the server checks; above that in parts.
import { Readable } from "node:stream";
import { bucketStagedBytesMax, PageferryError, type StagingAddress } from "@pageferry/format";
import { bodyLost, isBodyLost, type QueueCallOptions, type StagedBody } from "../queue.ts";
import { fromAws, statusOf, wasCut } from "./aws-errors.ts";
import { slowestBytesPerMs, startLimit } from "./limit.ts";
import { piecesOf } from "./pieces.ts";
import { openStageBucket, type StageBucket } from "./s3-requests.ts";
import { putParts, type Transfer } from "./stage-parts.ts";

/** The most that S3 takes in one request. */
const onePutBytesMaxDefault = 5 * 2 ** 30;

/** The most that is waited for what was taken and not seen to arrive, ms. */
const unseenMsMax = 600_000;

/** How to stage. */
export interface StagingOptions {
  readonly address: StagingAddress & { readonly region: string };
  /** How long a body may stand still on its way, ms. */
  readonly stallMs: number;
  /** A larger body goes in parts. Default 5 GiB. */
  readonly onePutBytesMax?: number;
}

/** Puts a body down; returns when it is durable, or was there. */
export type Staging = (database: string, body: StagedBody, call?: QueueCallOptions) => Promise<void>;

/** Makes the staging of a queue. Nothing is loaded before it is used. */
export function createStaging(options: StagingOptions): Staging {
  const { address, stallMs, onePutBytesMax = onePutBytesMaxDefault } = options;
  const name = `s3://${address.bucket}`;
  let opening: Promise<StageBucket> | undefined;

  async function bucket(): Promise<StageBucket> {
    opening ??= openStageBucket(address);
    const mine = opening;
    // What was not there may be installed meanwhile.
    mine.catch(() => {
      if (opening === mine) opening = undefined;
    });
    return mine;
  }

  return async (database, body, { signal } = {}) => {
    signal?.throwIfAborted();
    const key = `stage/${database}/${body.digest}`;
    const where = `${name}/${key}`;
    if (body.size > bucketStagedBytesMax) {
      throw new PageferryError(
        "too-large",
        `${where}: ${body.size} bytes, at most ${bucketStagedBytesMax} are staged in a bucket`,
        { hint: "Send this database to a host of `pageferry serve` over HTTP, which takes larger ones." },
      );
    }
    const ended = new AbortController();
    const limit = startLimit((error) => ended.abort(error));
    const either = signal === undefined ? ended.signal : AbortSignal.any([signal, ended.signal]);
    const lost: Lost = { error: undefined };
    const moved = (taken: number) => limit.set(stallMs + Math.min(taken / slowestBytesPerMs, unseenMsMax));
    const pieces = () => moving({ body, moved, lost, end: () => ended.abort() });
    const transfer: Transfer = { key, body, signal: either, moved, pieces };
    try {
      moved(0);
      const opened = await bucket();
      if (body.size > onePutBytesMax) await putParts(opened, transfer);
      else await putWhole(opened, transfer);
    } catch (error) {
      signal?.throwIfAborted();
      const failure = lost.error ?? limit.stalled() ?? error;
      if (!isThere(failure)) throw asOurs(failure, where);
    } finally {
      limit.clear();
    }
  };
}

interface Lost {
  error: unknown;
}

interface Moving {
  readonly body: StagedBody;
  moved(taken: number): void;
  readonly lost: Lost;
  /** Ends the request: a body that breaks off would leave it waiting. */
  end(): void;
}

async function* moving({ body, moved, lost, end }: Moving): AsyncGenerator<Uint8Array> {
  let taken = 0;
  try {
    for await (const piece of piecesOf(body)) {
      taken += piece.length;
      if (taken > body.size) break;
      moved(taken);
      yield piece;
    }
    if (taken !== body.size) {
      const size = new Error(`it has ${taken > body.size ? "more" : "fewer"} than ${body.size} bytes`);
      throw bodyLost(`staged body ${body.digest}`, size);
    }
  } catch (error) {
    lost.error = error;
    end();
    throw error;
  }
}

async function putWhole(bucket: StageBucket, { key, body, signal, pieces }: Transfer): Promise<void> {
  const open = () => {
    const stream = Readable.from(pieces(), { objectMode: false });
    // Its error ends the request, which tells of it.
    return stream.on("error", () => {});
  };
  const sha256 = Buffer.from(body.digest, "hex").toString("base64");
  try {
    await bucket.put({ key, size: body.size, sha256, open }, signal);
  } catch (error) {
    // A server that refuses a body before it has come may cut the line, and its answer with it: the same again would end in the
    // same way, for ever. Who may not look goes by what was said.
    if (!wasCut(error) || signal.aborted) throw error;
    const found = await bucket.sizeOf(key, signal).catch(() => undefined);
    if (found !== body.size) throw error;
  }
}

/** The condition was not met: there is an object of this name. */
function isThere(error: unknown): boolean {
  return typeof error === "object" && error !== null && statusOf(error) === 412;
}

function asOurs(error: unknown, where: string): unknown {
  if (isBodyLost(error)) return error;
  if (error instanceof Error && error.name === "StalledError") {
    return new PageferryError("unavailable", `${where}: no answer in time, ${error.message}`, {
      cause: error,
    });
  }
  return fromAws(error, where);
}
