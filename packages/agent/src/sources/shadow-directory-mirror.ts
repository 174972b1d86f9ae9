// The mirror: a bolt file of ours that is brought from transaction to transaction by the segments of a shadow directory, in bolt's own
// write order, so that it is sound after every kill. Whatever captures a bolt file captures it.
import { closeSync, fstatSync, futimesSync, openSync, readSync, writeSync } from "node:fs";
import { encodeMetaPage, type MetaFields, metaSlot, type Segment } from "@pageferry/format";
import type { FileIdentity } from "../identity.ts";
import type { ReadAt } from "./bolt-io.ts";
import type { OpenFile } from "./tailer-state.ts";

/** A mirror that is open for writing. */
export interface Mirror {
  readonly path: string;
  readonly readAt: ReadAt;
  /** The stamp of the last transaction; it survives as the file's time. */
  stampMs(): number;
  /** Writes a segment that was judged to follow: its pages first, then the meta. A throw leaves the state before it. */
  apply(segment: Segment, meta: MetaFields, stampMs: number): void;
  /** The same file for reading, as a tailer wants it. */
  openFile(identity: FileIdentity): OpenFile;
  close(): void;
}

/** Opens a mirror that is there. Throws what the file system throws. */
export function openMirror(path: string): Mirror {
  const fd = openSync(path, "r+");
  let isOpen = true;
  return {
    path,
    readAt: (position, into) => readAt(fd, position, into),
    stampMs: () => Math.round(fstatSync(fd).mtimeMs),
    apply(segment, meta, stampMs) {
      applySegment(fd, segment, meta);
      futimesSync(fd, stampMs / 1000, stampMs / 1000);
    },
    openFile: (identity) => openForReading(path, identity),
    close() {
      if (isOpen) closeSync(fd);
      isOpen = false;
    },
  };
}

/** Writes the pages of a segment, and then the meta that makes them count. */
export function applySegment(fd: number, segment: Segment, meta: MetaFields): void {
  const { pageSize } = meta;
  for (const page of segment.pages) {
    if (page.id > 1n) writeAt(fd, Number(page.id) * pageSize, page.data);
  }
  const slot = metaSlot(meta.txId);
  writeAt(fd, slot * pageSize, encodeMetaPage(meta, slot));
}

function openForReading(path: string, identity: FileIdentity): OpenFile {
  const fd = openSync(path, "r");
  let isOpen = true;
  return {
    identity,
    openPath: path,
    readAt: (position, into) => readAt(fd, position, into),
    stats() {
      const { size, mtimeNs, ctimeNs } = fstatSync(fd, { bigint: true });
      return { size: Number(size), mtimeNs, ctimeNs };
    },
    close() {
      if (isOpen) closeSync(fd);
      isOpen = false;
    },
  };
}

function readAt(fd: number, position: number, into: Uint8Array): number {
  let got = 0;
  while (got < into.length) {
    const count = readSync(fd, into, got, into.length - got, position + got);
    if (count === 0) break;
    got += count;
  }
  return got;
}

function writeAt(fd: number, position: number, bytes: Uint8Array): void {
  let done = 0;
  while (done < bytes.length) done += writeSync(fd, bytes, done, bytes.length - done, position + done);
}
