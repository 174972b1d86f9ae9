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

/** Chunks that came and were not taken whole. */
interface Backlog {
  bytes(): number;
  push(chunk: Uint8Array): void;
  /** The first `count` bytes, as a view where one chunk holds them. */
  view(count: number): Uint8Array;
  /** What is left of the first chunk, at most `max` bytes. */
  first(max: number): Uint8Array;
  drop(count: number): void;
}

function createBacklog(): Backlog {
  let chunks: Uint8Array[] = [];
  /** Bytes of the first chunk that are gone. */
  let gone = 0;
  let size = 0;
  return {
    bytes: () => size,
    push(chunk) {
      chunks.push(chunk);
      size += chunk.length;
    },
    first: (max) => chunks[0]?.subarray(gone, gone + max) ?? new Uint8Array(0),
    view(count) {
      const first = chunks[0];
      if (first !== undefined && first.length - gone >= count) {
        return first.subarray(gone, gone + count);
      }
      const joined = Buffer.allocUnsafe(count);
      let at = 0;
      for (let index = 0; at < count; index += 1) {
        const start = index === 0 ? gone : 0;
        const part = (chunks[index] as Uint8Array).subarray(start, start + count - at);
        joined.set(part, at);
        at += part.length;
      }
      return joined;
    },
    drop(count) {
      size -= count;
      let left = count + gone;
      let whole = 0;
      for (; whole < chunks.length && left >= (chunks[whole]?.length ?? 0); whole += 1) {
        left -= chunks[whole]?.length ?? 0;
      }
      chunks = whole === 0 ? chunks : chunks.slice(whole);
      gone = left;
    },
  };
}

/** Begins to read; `what` begins the messages. */
export function createByteReader(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  what: string,
): ByteReader {
  const source = Symbol.asyncIterator in chunks ? chunks[Symbol.asyncIterator]() : chunks[Symbol.iterator]();
  const backlog = createBacklog();
  let taken = 0;
  let hasEnded = false;

  async function fill(count: number): Promise<void> {
    while (backlog.bytes() < count && !hasEnded) {
      const next = await source.next();
      if (next.done === true) {
        hasEnded = true;
      } else if (next.value.length > 0) {
        backlog.push(next.value);
      }
    }
  }

  async function require(count: number): Promise<void> {
    await fill(count);
    if (backlog.bytes() < count) {
      const missing = count - backlog.bytes();
      throw new PageferryError(
        "corrupt",
        `${what}: ends at byte ${taken + backlog.bytes()}, ${missing} bytes too early`,
      );
    }
  }

  function drop(count: number): void {
    backlog.drop(count);
    taken += count;
  }

  return {
    position: () => taken,
    async peek(count) {
      await fill(count);
      return backlog.view(Math.min(count, backlog.bytes()));
    },
    async take(count) {
      await require(count);
      const bytes = backlog.view(count);
      drop(count);
      return bytes;
    },
    async some(max) {
      await require(1);
      const bytes = backlog.first(max);
      drop(bytes.length);
      return bytes;
    },
    async close() {
      hasEnded = true;
      await source.return?.(undefined);
    },
  };
}
