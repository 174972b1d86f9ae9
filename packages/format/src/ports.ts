// What the format asks of the world, without touching it: places to read from anywhere, and to put bytes for a while.

/** Bytes that can be read from anywhere: a file, an object of a store. */
export interface RandomReader {
  readonly size: number;
  /** Gives exactly `length` bytes; a range past the end is an error. */
  read(offset: number, length: number): Promise<Uint8Array>;
}

/** A place for bytes whose number is not known yet: a temporary file, or memory in tests. */
export interface Spool {
  /** Appends; the bytes may be reused after the promise is fulfilled. */
  write(bytes: Uint8Array): Promise<void>;
  /** Bytes written so far. */
  size(): number;
  /** Reads from the beginning; may be called again, after the last write. */
  open(): AsyncIterable<Uint8Array>;
  /** Frees what was spooled; calling it twice is nothing. */
  remove(): Promise<void>;
}
