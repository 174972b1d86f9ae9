// A store that tries again: what may pass is repeated with growing, jittered pauses, a read that broke off goes on at the
// byte it had reached, a listing after the name it had reached. Drivers know nothing of it. The only importer of cockatiel.

import { isPageferryError, PageferryError } from "@pageferry/format";
import { ExponentialBackoff, handleWhen, retry } from "cockatiel";
import { untilAborted } from "../deadline.ts";
import {
  type CallOptions,
  compareNames,
  isMutableName,
  type ObjectInfo,
  type RangeOptions,
  type Store,
  type StoreBody,
} from "../store.ts";

export interface RetryingOptions {
  /** How often a call is made at most, the first time included. Default 4. A read or a listing that got further begins anew. */
  readonly attempts?: number;
  /** The first pause, and the longest; between them it doubles, with jitter. Default 100 ms and 2 s. */
  readonly firstPauseMs?: number;
  readonly longestPauseMs?: number;
  /** After this time no further attempt begins: what takes long is for the lane to repeat. Default 10 s. */
  readonly retryForMs?: number;
  /**
   * A call in which nothing moves for this long is given up as `unavailable`, also where the driver ignores its signal. A net
   * under the drivers' own timeouts. Default 30 s.
   */
  readonly idleMs?: number;
}

/** A line slower than this is taken to stand still. */
const bytesPerMsMin = 64;

/** What a driver may hold of a body before more of it is asked for. */
const heldBytesMax = 16 * 1024 * 1024;

/** A server that removes one by one may take this long for each. */
const removalMs = 100;

/** A server that hangs is not waited for at the end: what was under way may be repeated. */
const closeMs = 2000;

interface Context {
  readonly store: Store;
  readonly attempts: number;
  readonly pauses: { readonly initialDelay: number; readonly maxDelay: number };
  readonly retryForMs: number;
  readonly idleMs: number;
  isClosed: boolean;
}

/**
 * Wraps a store; what else the driver can do stays. Only `unavailable` is tried again. After an answer that was lost, a `put`
 * that finds its bytes there says `stored`: with the same bytes under one name it cannot be told whose they are.
 */
export function retrying<Inner extends Store>(store: Inner, options: RetryingOptions = {}): Inner {
  const context: Context = {
    store,
    attempts: options.attempts ?? 4,
    pauses: { initialDelay: options.firstPauseMs ?? 100, maxDelay: options.longestPauseMs ?? 2000 },
    retryForMs: options.retryForMs ?? 10_000,
    idleMs: options.idleMs ?? 30_000,
    isClosed: false,
  };
  const close = async () => {
    context.isClosed = true;
    const closing = store.close();
    closing.catch(() => undefined);
    const over = Promise.withResolvers<void>();
    const timer = setTimeout(over.resolve, closeMs);
    await Promise.race([closing, over.promise]).finally(() => clearTimeout(timer));
  };
  return {
    ...store,
    put: (name: string, body: StoreBody, call: CallOptions = {}) => put(context, name, body, call),
    get: (name: string, range: RangeOptions = {}) => get(context, name, range),
    list: (prefix: string, call: CallOptions = {}) => list(context, prefix, call),
    async remove(names: Iterable<string>, { signal }: CallOptions = {}) {
      const all = [...names];
      const idleMs = context.idleMs + all.length * removalMs;
      return persistently(context, signal, () =>
        guarded({ idleMs, signal, what: "a removal" }, (inner) => store.remove(all, { signal: inner })),
      );
    },
    async replace(name: string, bytes: Uint8Array, { signal }: CallOptions = {}) {
      const idleMs = context.idleMs + bytes.length / bytesPerMsMin;
      await persistently(context, signal, () =>
        guarded({ idleMs, signal, what: `object ${name}` }, (inner) =>
          store.replace(name, bytes, { signal: inner }),
        ),
      );
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** Repeats what may pass, with pauses, until it succeeds, its attempts or its time are over, or somebody stops it. */
async function persistently<Result>(
  context: Context,
  signal: AbortSignal | undefined,
  attempt: () => Promise<Result>,
): Promise<Result> {
  signal?.throwIfAborted();
  const startedMs = performance.now();
  const mayRepeat = (error: unknown): boolean =>
    isPageferryError(error, "unavailable") &&
    !context.isClosed &&
    signal?.aborted !== true &&
    performance.now() - startedMs < context.retryForMs;
  const policy = retry(handleWhen(mayRepeat), {
    maxAttempts: context.attempts - 1,
    backoff: new ExponentialBackoff(context.pauses),
  });
  const repeated = policy.execute(() => {
    signal?.throwIfAborted();
    return attempt();
  });
  // The policy's pause does not end with the signal, so its caller does not wait for it.
  return untilAborted(repeated, signal);
}

interface Guard {
  readonly idleMs: number;
  readonly signal: AbortSignal | undefined;
  /** What the message names. */
  readonly what: string;
}

/** Runs one call with a signal of its own; given up when nothing moves for too long, whatever the driver does then. */
async function guarded<Result>(
  { idleMs, signal, what }: Guard,
  call: (inner: AbortSignal, moved: () => void) => Promise<Result>,
): Promise<Result> {
  signal?.throwIfAborted();
  const inner = new AbortController();
  const over = Promise.withResolvers<never>();
  const end = (reason: unknown) => {
    over.reject(reason);
    inner.abort(reason);
  };
  const abort = () => end(signal?.reason);
  const timer = setTimeout(() => end(idleError(what, idleMs)), idleMs);
  signal?.addEventListener("abort", abort, { once: true });
  try {
    return await Promise.race([call(inner.signal, () => timer.refresh()), over.promise]);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", abort);
  }
}

function idleError(what: string, idleMs: number): PageferryError {
  return new PageferryError("unavailable", `${what}: nothing moved for ${Math.round(idleMs / 1000)} s`);
}

async function put(
  context: Context,
  name: string,
  body: StoreBody,
  { signal }: CallOptions,
): Promise<"stored" | "present"> {
  const size = body instanceof Uint8Array ? body.length : body.size;
  const idleMs = context.idleMs + Math.min(size, heldBytesMax) / bytesPerMsMin;
  let isUnsure = false;
  const outcome = await persistently(context, signal, async () => {
    try {
      return await guarded({ idleMs, signal, what: `object ${name}` }, (inner, moved) =>
        context.store.put(name, watched(body, moved), { signal: inner }),
      );
    } catch (error) {
      isUnsure ||= isPageferryError(error, "unavailable");
      throw error;
    }
  });
  return isUnsure ? "stored" : outcome;
}

/** The same body, whose every chunk counts as movement. */
function watched(body: StoreBody, moved: () => void): StoreBody {
  if (body instanceof Uint8Array) return body;
  const { resumable } = body;
  const read = async (offset: number, length: number): Promise<Uint8Array> => {
    moved();
    const bytes = await resumable?.read(offset, length);
    moved();
    return bytes ?? new Uint8Array();
  };
  return {
    ...body,
    ...(resumable === undefined ? {} : { resumable: { ...resumable, read } }),
    async *open() {
      for await (const chunk of body.open()) {
        moved();
        yield chunk;
      }
      moved();
    },
  };
}

/** Something that is read piece by piece, tied to a signal of its own. */
interface Source<Piece> {
  next(): Promise<Piece | undefined>;
  /** Frees it. After an error its signal is aborted and nothing is waited for: it may hang. */
  end(error?: unknown): Promise<void>;
}

async function get(context: Context, name: string, range: RangeOptions): Promise<ReadableStream<Uint8Array>> {
  if (isMutableName(name)) return getWhole(context, name, range);
  const { signal, offset, length } = range;
  const start = offset ?? 0;
  const end = length === undefined ? undefined : start + length;
  let at = start;
  const rest = (): RangeOptions => ({
    ...(at === start && offset === undefined ? {} : { offset: at }),
    ...(end === undefined ? {} : { length: end - at }),
  });
  let source: Source<Uint8Array> | undefined = await persistently(context, signal, () =>
    openBytes(context, name, rest(), signal),
  );
  const next = async (): Promise<Uint8Array | undefined> => {
    try {
      source ??= await openAgain(name, at === start, () => openBytes(context, name, rest(), signal));
      const chunk = await source.next();
      if (chunk === undefined && end !== undefined && at < end) {
        throw new PageferryError("unavailable", `object ${name}: the answer ended at ${at}, before ${end}`);
      }
      at += chunk?.length ?? 0;
      return chunk;
    } catch (error) {
      const broken = source;
      source = undefined;
      await broken?.end(error);
      throw error;
    }
  };
  return new ReadableStream(
    {
      async pull(controller) {
        const chunk = await persistently(context, signal, next);
        if (chunk !== undefined) return controller.enqueue(chunk);
        await source?.end();
        controller.close();
      },
      async cancel() {
        await source?.end();
      },
    },
    { highWaterMark: 0 },
  );
}

/** What may be replaced is small, and must not be put together of its old and its new bytes: each attempt reads all of it. */
async function getWhole(
  context: Context,
  name: string,
  range: RangeOptions,
): Promise<ReadableStream<Uint8Array>> {
  const parts = await persistently(context, range.signal, async () => {
    const source = await openBytes(context, name, range, range.signal);
    const found: Uint8Array[] = [];
    let size = 0;
    try {
      for (let chunk = await source.next(); chunk !== undefined; chunk = await source.next()) {
        found.push(chunk);
        size += chunk.length;
      }
    } catch (error) {
      await source.end(error);
      throw error;
    }
    if (range.length !== undefined && size < range.length) {
      throw new PageferryError("unavailable", `object ${name}: ${size} of ${range.length} bytes came`);
    }
    return found;
  });
  return ReadableStream.from(parts);
}

/** What was removed meanwhile is not `not-found` in the middle. */
async function openAgain<Piece>(
  name: string,
  isAtStart: boolean,
  open: () => Promise<Source<Piece>>,
): Promise<Source<Piece>> {
  try {
    return await open();
  } catch (error) {
    if (isAtStart || !isPageferryError(error, "not-found")) throw error;
    throw new PageferryError("unavailable", `object ${name}: was removed while it was read`, {
      cause: error,
    });
  }
}

/** Opens a read whose every chunk must come in time; it ends with its own signal, and with the caller's. */
async function openBytes(
  context: Context,
  name: string,
  range: RangeOptions,
  signal: AbortSignal | undefined,
): Promise<Source<Uint8Array>> {
  const { idleMs } = context;
  const what = `object ${name}`;
  const inner = new AbortController();
  const opening = context.store.get(name, { ...range, signal: either(inner.signal, signal) });
  let reader: ReadableStreamDefaultReader<Uint8Array>;
  try {
    reader = (await guarded({ idleMs, signal, what }, () => opening)).getReader();
  } catch (error) {
    inner.abort(error);
    // A stream that comes when nobody waits for it any more.
    opening.then(
      (stream) => stream.cancel(error).catch(() => undefined),
      () => undefined,
    );
    throw error;
  }
  return {
    async next() {
      const { done, value } = await guarded({ idleMs, signal, what }, () => reader.read());
      return done ? undefined : value;
    },
    async end(error) {
      const cancelled = reader.cancel(error).catch(() => undefined);
      if (error === undefined) await cancelled;
      else inner.abort(error);
    },
  };
}

/** A reader that goes away without a word still frees what it held, when its signal is aborted. */
function either(inner: AbortSignal, signal: AbortSignal | undefined): AbortSignal {
  return signal === undefined ? inner : AbortSignal.any([inner, signal]);
}

async function* list(context: Context, prefix: string, { signal }: CallOptions): AsyncGenerator<ObjectInfo> {
  signal?.throwIfAborted();
  let last: string | undefined;
  let source: Source<ObjectInfo> | undefined;
  const next = async (): Promise<ObjectInfo | undefined> => {
    try {
      source ??= openListing(context, prefix, signal);
      for (;;) {
        const found = await source.next();
        // A listing that was begun anew shows again what was shown.
        if (found === undefined || last === undefined || compareNames(found.name, last) > 0) return found;
      }
    } catch (error) {
      const broken = source;
      source = undefined;
      await broken?.end(error);
      throw error;
    }
  };
  try {
    for (;;) {
      const found = await persistently(context, signal, next);
      if (found === undefined) return;
      last = found.name;
      yield found;
      signal?.throwIfAborted();
    }
  } finally {
    await source?.end();
  }
}

function openListing(context: Context, prefix: string, signal: AbortSignal | undefined): Source<ObjectInfo> {
  const inner = new AbortController();
  const objects = context.store
    .list(prefix, { signal: either(inner.signal, signal) })
    [Symbol.asyncIterator]();
  const guard = { idleMs: context.idleMs, signal, what: `a listing of ${JSON.stringify(prefix)}` };
  return {
    async next() {
      const { done, value } = await guarded(guard, () => objects.next());
      return done === true ? undefined : value;
    },
    async end(error) {
      const ended = objects.return?.().catch(() => undefined);
      if (error === undefined) await ended;
      else inner.abort(error);
    },
  };
}
