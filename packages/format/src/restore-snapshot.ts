// The last part of a restore: the snapshot, streamed, of which only those pages are written that no segment brought.

import { createPageClaims, eachUnclaimed, type PageClaims } from "./apply.ts";
import type { SnapshotObject } from "./archive-listing.ts";
import { type Meta, newestMeta, parseMeta } from "./bolt/meta.ts";
import { PageferryError } from "./errors.ts";
import { pageSizeMax } from "./limits.ts";
import { type Attempt, fromReaders } from "./restore-attempt.ts";
import { decodeSnapshot, type SnapshotHeader } from "./snapshot.ts";

/** Writes what is still missing from the snapshot. Without claims (there was no segment) the snapshot is all there is. */
export async function restoreSnapshot(attempt: Attempt, claims: PageClaims | undefined): Promise<void> {
  const { snapshot } = attempt.plan;
  const header = await fromReaders(attempt, snapshot.name, async (reader) => {
    const chunks = await reader.get(snapshot.name, { signal: attempt.signal });
    const decoded = decodeSnapshot(chunks);
    // It is awaited at the end; a failure before must not count as unhandled.
    decoded.header.catch(() => undefined);
    const writer = createSnapshotWriter(attempt, claims);
    for await (const raw of decoded.raw) {
      attempt.signal?.throwIfAborted();
      await writer.write(raw);
    }
    const found = await decoded.header;
    return { found, meta: writer.finish(snapshot, found) };
  });
  attempt.chain.snapshot(snapshot.name, header.meta, header.found.stateHash);
  attempt.fetched(snapshot.size);
}

interface SnapshotWriter {
  write(raw: Uint8Array): Promise<void>;
  /** Holds what came against the header and the name; returns the snapshot's meta. */
  finish(snapshot: SnapshotObject, header: SnapshotHeader): Meta;
}

function createSnapshotWriter(attempt: Attempt, given: PageClaims | undefined): SnapshotWriter {
  let head = new Uint8Array(0);
  let meta: Meta | undefined;
  let claims = given;
  let offset = 0;

  const begin = async (): Promise<void> => {
    meta = metaOf(head);
    if (meta === undefined) return;
    if (claims === undefined) {
      claims = createPageClaims(meta.highWaterMark);
      await attempt.sink.begin(meta.highWaterMark * meta.pageSize);
    }
    const whole = head;
    head = new Uint8Array(0);
    await place(whole);
  };

  const place = async (raw: Uint8Array): Promise<void> => {
    const pageSize = meta?.pageSize ?? 0;
    const pieces: { readonly at: number; readonly length: number }[] = [];
    eachUnclaimed(claims as PageClaims, pageSize, offset, raw.length, (at, length) =>
      pieces.push({ at, length }),
    );
    for (const { at, length } of pieces) {
      await attempt.sink.write(at, [raw.subarray(at - offset, at - offset + length)]);
    }
    offset += raw.length;
  };

  return {
    async write(raw) {
      if (meta !== undefined) return place(raw);
      head = joined(head, raw);
      await begin();
    },
    finish(snapshot, header) {
      const fail = (what: string): PageferryError =>
        new PageferryError("corrupt", `${snapshot.name}: ${what}`);
      if (meta === undefined) throw fail(`its ${head.length} bytes hold no valid meta page`);
      if (header.txId !== snapshot.txId || meta.txId !== snapshot.txId) {
        throw fail(`is of transaction ${header.txId}, its meta of ${meta.txId}`);
      }
      if (header.pageSize !== meta.pageSize)
        throw fail(`pages of ${header.pageSize} bytes, its meta says ${meta.pageSize}`);
      if (offset !== meta.highWaterMark * meta.pageSize || header.pageCount !== BigInt(meta.highWaterMark)) {
        throw fail(
          `${offset} bytes, header of ${header.pageCount} pages; its meta says ${meta.highWaterMark} pages`,
        );
      }
      return meta;
    },
  };
}

/** The newest meta, once both meta pages have come. Undefined: more bytes are needed. */
function metaOf(head: Uint8Array): Meta | undefined {
  const pageSize = parseMeta(head)?.pageSize;
  if (pageSize !== undefined) {
    return head.length < 2 * pageSize ? undefined : newestMeta(head, head.subarray(pageSize));
  }
  // Page 0 may be torn in a copy of a file; then page 1 is found at one of the few page sizes.
  if (head.length < 2 * pageSizeMax) return undefined;
  for (let size = 512; size <= pageSizeMax; size *= 2) {
    const meta = parseMeta(head.subarray(size));
    if (meta?.pageSize === size) return meta;
  }
  throw new PageferryError("corrupt", "the snapshot holds no valid meta page");
}

function joined(a: Uint8Array<ArrayBuffer>, b: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(a.length + b.length);
  bytes.set(a);
  bytes.set(b, a.length);
  return bytes;
}
