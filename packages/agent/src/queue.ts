// The queue as the agent sees it: a few calls. What it acknowledged survives the loss of this machine.
import { createHash } from "node:crypto";
import { type GenerationParent, type Needs, PageferryError, type StateHash } from "@pageferry/format";

/** A body that is put down before the envelope that points at it. */
export interface StagedBody {
  /** SHA-256 of the bytes, 64 lower-case hex digits; the body's name and its idempotency key. */
  readonly digest: string;
  readonly size: number;
  /** The bytes, from the start; called again for each attempt. */
  open(): AsyncIterable<Uint8Array>;
}

/** What every call takes. An aborted signal ends the call with the signal's reason. */
export interface QueueCallOptions {
  readonly signal?: AbortSignal;
}

/** A point of an archive, by the state that it must have. */
export interface PointState extends GenerationParent {
  readonly stateHash: StateHash;
}

/**
 * Where envelopes go. Failures are `PageferryError`s and their remedy decides: `retry` is asked again for as long
 * as it takes, everything else stops the sending of that database and raises an alarm. Each call may be repeated
 * after it succeeded and its answer was lost.
 */
export interface Queue {
  /** A stable word for logs, such as `http://127.0.0.1:7373`, or an SQS queue's URL. Never holds a secret. */
  readonly name: string;
  /** Returns when the envelope is durable at the host. */
  send(envelope: Uint8Array, options?: QueueCallOptions): Promise<void>;
  /**
   * Brings envelopes without items, of many databases, at once; the names of those databases that were not taken. `undefined`: the
   * host does not know such a call. Optional: without it each goes by `send`.
   */
  beat?(envelopes: readonly Uint8Array[], options?: QueueCallOptions): Promise<readonly string[] | undefined>;
  /** Puts a large body down under its digest. One that is there already is a success. */
  stage(database: string, body: StagedBody, options?: QueueCallOptions): Promise<void>;
  /**
   * What the host has and what it misses. `undefined`: this kind of queue cannot tell, and the agent runs without
   * healing.
   */
  needs(database: string, options?: QueueCallOptions): Promise<Needs | undefined>;
  /**
   * Whether each replica can restore the point, in exactly this state, and the host makes the first snapshot of a generation that begins there.
   * Absent: this kind of queue cannot tell, and after a restore the whole database is sent again. False also where it is not known.
   */
  holds?(database: string, point: PointState, options?: QueueCallOptions): Promise<boolean>;
}

/** Bytes in memory as a body. */
export function bodyOf(bytes: Uint8Array): StagedBody {
  async function* open(): AsyncGenerator<Uint8Array> {
    yield bytes;
  }
  return { digest: createHash("sha256").update(bytes).digest("hex"), size: bytes.length, open };
}

interface LostBody {
  readonly lostBody: unknown;
}

/** The error of a queue that could not read a body on this side: asking the host again does not help, another body does. */
export function bodyLost(what: string, error: unknown): PageferryError {
  const cause: LostBody = { lostBody: error };
  const reason = error instanceof Error ? error.message : String(error);
  return new PageferryError("corrupt", `${what}: it cannot be read here, ${reason}`, {
    cause,
    hint: "It is made again. See what removes files from the shadow directory.",
  });
}

/** Whether an error is one that `bodyLost` made. */
export function isBodyLost(error: unknown): boolean {
  const cause = error instanceof PageferryError ? error.cause : undefined;
  return typeof cause === "object" && cause !== null && "lostBody" in cause;
}

interface Throttle {
  readonly retryAfterMs: number;
}

/** The error of a queue that says when to come again: `unavailable`, or `code`, with the time to wait kept in it. */
export function throttled(
  message: string,
  retryAfterMs: number,
  code: "unavailable" | "disk-full" = "unavailable",
): PageferryError {
  const cause: Throttle = { retryAfterMs };
  return new PageferryError(code, message, { cause });
}

/** The time to wait that a `throttled` error carries, in ms. */
export function retryAfterMsOf(error: unknown): number | undefined {
  const cause = error instanceof PageferryError ? (error.cause as Partial<Throttle> | undefined) : undefined;
  return typeof cause?.retryAfterMs === "number" ? cause.retryAfterMs : undefined;
}
