// Reads exact numbers of bytes from chunks of any size, keeping no more than was asked for.
import { PageferryError } from "./errors.ts";

/** Pulls bytes out of a stream of chunks. */
export interface ByteReader {
  /** Bytes taken so far. */
  position(): number;
  /** The next `count` bytes without taking them, or fewer at the end. */
  peek(count: number): Promise<Uint8Array>;
  /** Takes exactly `count` bytes; a stream that ends before is `corrupt`. Mostly a view; a copy across chunks. */
  take(count: number): Promise<Uint8Array>;
  /** Takes what has come, from 1 to `max` bytes, as a view; a stream that ends before is `corrupt`. */
  some(max: number): Promise<Uint8Array>;
  /** Tells the source that no more is wanted. */
  close(): Promise<void>;
}

/** Begins to read; `what` begins the messages. */
export function createByteReader(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  what: string,
): ByteReader {
  const source =
    Symbol.asyncIterator in chunks ? chunks[Symbol.asyncIterator]() : chunks[Symbol.iterator]();
  /** Chunks that came and were not taken whole, and how much of the first one is gone. */
  let waiting: Uint8Array[] = [];
  let gone = 0;
  let waitingBytes = 0;
  let taken = 0;
  let hasEnded = false;

  async function fill(count: number): Promise<void> {
    while (waitingBytes < count && !hasEnded) {
      const next = await source.next();
      if (next.done === true) {
        hasEnded = true;
      } else if (next.value.length > 0) {
        waiting.push(next.value);
        waitingBytes += next.value.length;
      }
    }
  }

  function view(count: number): Uint8Array {
    const first = waiting[0];
    if (first !== undefined && first.length - gone >= count) {
      return first.subarray(gone, gone + count);
    }
    const joined = Buffer.allocUnsafe(count);
    let at = 0;
    for (const [position, chunk] of waiting.entries()) {
      const start = position === 0 ? gone : 0;
      const part = chunk.subarray(start, start + count - at);
      joined.set(part, at);
      at += part.length;
      if (at === count) {
        break;
      }
    }
    return joined;
  }

  function drop(count: number): void {
    taken += count;
    waitingBytes -= count;
    let left = count + gone;
    let whole = 0;
    while (whole < waiting.length && left >= (waiting[whole]?.length ?? 0)) {
      left -= waiting[whole]?.length ?? 0;
      whole += 1;
    }
    waiting = whole === 0 ? waiting : waiting.slice(whole);
    gone = left;
  }

  function cutShort(count: number): PageferryError {
    return new PageferryError("corrupt", `${what}: ends at byte ${taken + waitingBytes}, ${count - waitingBytes} bytes too early`);
  }

  return {
    position: () => taken,
    async peek(count) {
      await fill(count);
      return view(Math.min(count, waitingBytes));
    },
    async take(count) {
      await fill(count);
      if (waitingBytes < count) {
        throw cutShort(count);
      }
      const bytes = view(count);
      drop(count);
      return bytes;
    },
    async some(max) {
      await fill(1);
      const first = waiting[0];
      if (first === undefined) {
        throw cutShort(1);
      }
      const bytes = first.subarray(gone, gone + max);
      drop(bytes.length);
      return bytes;
    },
    async close() {
      waiting = [];
      waitingBytes = 0;
      gone = 0;
      hasEnded = true;
      await source.return?.(undefined);
    },
  };
}
