// Store: bytes under names, written once and never changed. All meaning is in the names; what the objects of an archive
// mean is replica.ts. Every driver in stores/ keeps this contract, and conformance.ts is the contract as tests.

import { checkObjectName, PageferryError } from "@pageferry/format";

/** A body too large to hold: it can be opened as often as needed and gives the same bytes each time. */
export interface ReplayableBody {
  readonly size: number;
  /** 64 lower-case hex digits. A body that does not have this digest is refused as `corrupt`, and nothing is stored. */
  readonly sha256?: string;
  /** A file that holds these bytes and is never written again: a store on its file system may link it instead of copying. */
  readonly path?: string;
  /** Lets a copy of this body pause and go on later, also elsewhere. A store that does not know such copies begins anew. */
  readonly resumable?: ResumableCopy;
  open(): AsyncIterable<Uint8Array>;
}

/** What a copy that may pause works with. */
export interface ResumableCopy {
  read(offset: number, length: number): Promise<Uint8Array>;
  /** What an earlier turn saved; undefined or empty: nothing. */
  load(): string | undefined;
  /** Notes what is done so far, in words of the store's own. */
  save(progress: string): void;
  /** Whether the copy is to stop here: `put` then throws `timeout`, and what it did is saved. */
  mustPause(): boolean;
}

/** What `put` takes. A body that gives more or fewer bytes than its `size` is refused as `corrupt`. */
export type StoreBody = Uint8Array | ReplayableBody;

/** An object as a listing shows it. */
export interface ObjectInfo {
  readonly name: string;
  readonly size: number;
}

/**
 * What `remove` did not free. `locked`: the object is still listed, and may be removed when its lock ends.
 * `delete-marker`: it is no longer listed, but the bucket keeps its bytes as an older version, which is paid for.
 */
export interface Retained {
  readonly name: string;
  readonly reason: "locked" | "delete-marker";
}

/** Something in which a server differs from what is best. */
export interface Difference {
  readonly what: string;
  readonly todo: string;
}

export interface CallOptions {
  /** Aborting it ends the call with the signal's reason. A `put` that was aborted has stored all or nothing. */
  readonly signal?: AbortSignal | undefined;
}

/** A range of bytes; without `length` it goes to the end. */
export interface RangeOptions extends CallOptions {
  readonly offset?: number | undefined;
  readonly length?: number | undefined;
}

/**
 * Bytes under names. A transport failure in any verb is `unavailable` and the call may be repeated; a refused
 * credential or permission is `unauthorized`; no room is `disk-full`; a name that is no plain relative path is `bad-name`.
 */
export interface Store extends AsyncDisposable {
  /** A stable word for logs, such as `s3://backups/orders`. Never holds a secret. */
  readonly name: string;

  /**
   * Stores `body` under `name`, all or nothing: a reader sees the whole object or none, also after a crash, and once
   * the call has returned also after a power loss. The same name with the same bytes is `present`; with other bytes it
   * throws `conflict` and the stored object is kept. Of several writers of one name exactly one is told `stored`.
   */
  put(name: string, body: StoreBody, options?: CallOptions): Promise<"stored" | "present">;

  /**
   * Reads an object or a range of it. What is not there is `not-found` before the first byte, never in the middle. A
   * range past the end is `corrupt`, never a short answer and never `not-found`. The stream may be cancelled at any
   * time; that frees what it held.
   */
  get(name: string, options?: RangeOptions): Promise<ReadableStream<Uint8Array>>;

  /**
   * Every object whose name begins with `prefix`, ascending by the bytes of its name. Every object whose `put` returned
   * before the call is there; one that is stored or removed meanwhile may be or not be. A listing that cannot be
   * continued throws, it never ends early. Leaving the loop frees what it held.
   */
  list(prefix: string, options?: CallOptions): AsyncIterable<ObjectInfo>;

  /**
   * Removes objects, and returns those whose bytes stay all the same, which only some stores have. What is not there is
   * already removed.
   */
  remove(names: Iterable<string>, options?: CallOptions): Promise<readonly Retained[]>;

  /**
   * Writes `name` over whatever was there, atomically: a reader sees the old bytes or the new. Only for the few mutable
   * names (`isMutableName`); any other is `bad-name`, because everything else is written once.
   */
  replace(name: string, bytes: Uint8Array, options?: CallOptions): Promise<void>;

  /**
   * A URL that reads one object without credentials, until it expires: it is itself a credential. Whether the object is there shows when it is
   * read. Only stores that know such URLs have it.
   */
  presign?(name: string, options: { readonly expiresSeconds: number }): Promise<string>;

  /**
   * What this server lacks or does otherwise, each with what that means and what to do, as far as it has shown by now: after a write it has
   * shown most. Only stores whose servers differ have it.
   */
  differences?(): Promise<readonly Difference[]>;

  /** The file that holds an object, for threads that read it themselves. Only stores on a file system of this machine have it. */
  pathOf?(name: string): string;

  /** Ends what the driver opened. Calling it twice is nothing. */
  close(): Promise<void>;
}

/** Tells whether a name may be given to `replace`: `_state.json`, `needs.json`, and what lies in `leases/`, `marks/` or `state/`. */
export function isMutableName(name: string): boolean {
  return /(^|\/)(_state\.json|needs\.json|(leases|marks|state)\/[^/]+)$/.test(name);
}

/** Throws `bad-name` unless `name` is a plain relative path that may be replaced. */
export function checkMutableName(name: string): void {
  checkObjectName(name);
  if (!isMutableName(name)) {
    throw new PageferryError("bad-name", `object ${name} is written once and never replaced`);
  }
}

const isAscii = /^[\0-\x7f]*$/;

/** The order of listings: by the bytes of the UTF-8 text, as S3 and file systems have it. */
export function compareNames(a: string, b: string): number {
  // UTF-16 order is byte order unless surrogates meet characters above them.
  if (isAscii.test(a) || isAscii.test(b)) return a < b ? -1 : a > b ? 1 : 0;
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

/** The first byte and the one after the last of a range in an object of `size`; past the end is `corrupt`. */
export function rangeWithin(
  size: number,
  range: RangeOptions,
  where: string,
): readonly [start: number, end: number] {
  const start = range.offset ?? 0;
  const end = range.length === undefined ? Math.max(size, start) : start + range.length;
  if (!Number.isSafeInteger(start) || !Number.isSafeInteger(end) || start < 0 || end < start) {
    throw new PageferryError("bad-request", `${where}: ${range.offset} + ${range.length} is not a range`);
  }
  if (start > size || end > size) {
    throw new PageferryError("corrupt", `${where}: bytes ${start} to ${end} are past its end at ${size}`);
  }
  return [start, end];
}
