// Reads with an eye on the clock: how long a reader takes, and when it has been silent for too long. Who waits is told then; the call itself
// is aborted, and not waited for.

import type { ArchiveReader, ReadRange } from "./archive-reader.ts";
import { PageferryError } from "./errors.ts";
import type { ReadSample } from "./reader-speed.ts";

/** Gives work up when nothing has moved for too long. `work` tells of its progress. */
export type Watch = <Value>(work: (progress: () => void) => Promise<Value>) => Promise<Value>;

/** How to watch. */
export interface WatchOptions {
  /** For the message. */
  readonly name: string;
  /** Undefined: for as long as it takes. */
  readonly stallMs: number | undefined;
  readonly now: () => number;
  /** Called when it is given up. */
  readonly onStall: () => void;
}

/** Makes a watch; what it gives up is `unavailable`. */
export function createWatch({ name, stallMs, now, onStall }: WatchOptions): Watch {
  return async (work) => {
    if (stallMs === undefined) return work(() => undefined);
    let movedMs = now();
    const stalled = Promise.withResolvers<never>();
    const timer = setInterval(() => {
      if (now() - movedMs < stallMs) return;
      onStall();
      stalled.reject(new PageferryError("unavailable", `${name}: nothing came for ${stallMs} ms`));
    }, stallMs / 4);
    const result = work(() => {
      movedMs = now();
    });
    // Who is silent may fail later, when nobody waits any more.
    result.catch(() => undefined);
    try {
      return await Promise.race([result, stalled.promise]);
    } finally {
      clearInterval(timer);
    }
  };
}

/** What to do with what is measured. */
export interface MeasureOptions {
  readonly watch: Watch;
  readonly now: () => number;
  readonly onBegin: () => void;
  /** With a sample when the read came to its end. */
  readonly onEnd: (sample: ReadSample | undefined) => void;
}

/** The same reader, measured and watched. Time that the consumer takes is nobody's fault and does not count. */
export function measuredReader(reader: ArchiveReader, options: MeasureOptions): ArchiveReader {
  const { pathOf } = reader;
  return {
    name: reader.name,
    list: (call) => reader.list(call),
    get: (name, range) => measuredGet(reader, options, name, range),
    ...(pathOf === undefined ? {} : { pathOf: (name: string) => pathOf.call(reader, name) }),
    isLastResort: reader.isLastResort ?? false,
  };
}

async function measuredGet(
  reader: ArchiveReader,
  options: MeasureOptions,
  name: string,
  range: ReadRange = {},
): Promise<AsyncIterable<Uint8Array>> {
  const leave = new AbortController();
  const signal = range.signal === undefined ? leave.signal : AbortSignal.any([range.signal, leave.signal]);
  const start = options.now();
  options.onBegin();
  try {
    const chunks = await options.watch(() => reader.get(name, { ...range, signal }));
    return measured(chunks, options.now() - start, leave, options);
  } catch (error) {
    options.onEnd(undefined);
    leave.abort(error);
    throw error;
  }
}

async function* measured(
  chunks: AsyncIterable<Uint8Array>,
  openedMs: number,
  leave: AbortController,
  { watch, now, onEnd }: MeasureOptions,
): AsyncGenerator<Uint8Array> {
  const iterator = chunks[Symbol.asyncIterator]();
  let bytes = 0;
  let waitedMs = openedMs;
  let latencyMs: number | undefined;
  let sample: ReadSample | undefined;
  let hasEnded = false;
  try {
    for (;;) {
      const asked = now();
      const next = await watch(async () => iterator.next());
      waitedMs += now() - asked;
      latencyMs ??= waitedMs;
      if (next.done === true) break;
      bytes += next.value.length;
      yield next.value;
    }
    hasEnded = true;
    sample = { latencyMs, transferMs: waitedMs - latencyMs, bytes };
  } catch (error) {
    hasEnded = true;
    leave.abort(error);
    throw error;
  } finally {
    onEnd(sample);
    // A silent one may not even notice that nobody wants more: it is told, and not waited for.
    if (!hasEnded) void Promise.resolve(iterator.return?.()).catch(() => undefined);
  }
}
