// Links from the thread that keeps them to the thread that captures: a ring in shared memory, one writer, one reader.
// A link is a commit that was seen as the newest, with its freelist run or its changed path, proved.
import { type Meta, metaBytes, parseMeta } from "@pageferry/format";
import { equalBytes, type MetaView } from "./bolt-io.ts";

/** A commit T+1 whose other slot held T. */
export interface Link {
  readonly view: MetaView;
  /** The freelist that T+2 may overwrite from; where none is on disk, runs of the changed path of T+1, side by side. */
  readonly runs: Uint8Array;
}

/** The shared memory of a log. */
export interface LinkMemory {
  /** Written bytes, read bytes (both modulo 2^32), and whether links are wanted. */
  readonly control: Int32Array<SharedArrayBuffer>;
  readonly ring: Uint8Array<SharedArrayBuffer>;
}

/** A power of two: hundreds of commits with common freelists, some with very long ones; some fifty common changed paths. */
const ringBytes = 4 * 1024 * 1024;
const [written, read, wanted] = [0, 1, 2] as const;
const headerBytes = 4 + 2 * metaBytes;

/** Makes the memory of a log. */
export function createLinkMemory(): LinkMemory {
  return {
    control: new Int32Array(new SharedArrayBuffer(12)),
    ring: new Uint8Array(new SharedArrayBuffer(ringBytes)),
  };
}

/** Says whether links are wanted: their keeper costs a look at the metas every so often. */
export function setWanted({ control }: LinkMemory, isWanted: boolean): boolean {
  return Atomics.exchange(control, wanted, isWanted ? 1 : 0) !== (isWanted ? 1 : 0);
}

export function isWanted({ control }: LinkMemory): boolean {
  return Atomics.load(control, wanted) === 1;
}

/** Appends a link. Without room it is left out, which breaks the chain for the reader and nothing else. */
export function appendLink(memory: LinkMemory, { view, runs }: Link): void {
  const { control } = memory;
  const length = headerBytes + runs.length;
  const start = Atomics.load(control, written) >>> 0;
  const used = (start - Atomics.load(control, read)) >>> 0;
  if (used + length > ringBytes) return;
  const header = new Uint8Array(headerBytes);
  new DataView(header.buffer).setUint32(0, runs.length, true);
  header.set(view.raw, 4);
  header.set(view.otherRaw, 4 + metaBytes);
  copyIn(memory, start, header);
  copyIn(memory, start + headerBytes, runs);
  Atomics.store(control, written, start + length);
  Atomics.notify(control, written);
}

/** Looks at the oldest link; undefined: there is none. */
function firstLink(memory: LinkMemory): { view: MetaView; start: number; end: number } | undefined {
  const { control } = memory;
  const at = Atomics.load(control, read) >>> 0;
  if (Atomics.load(control, written) >>> 0 === at) return undefined;
  const header = copyOut(memory, at, headerBytes);
  const length = new DataView(header.buffer).getUint32(0, true);
  const raw = header.slice(4, 4 + metaBytes);
  const otherRaw = header.slice(4 + metaBytes);
  const start = at + headerBytes;
  // It was a valid meta when it was written here.
  const meta = parseMeta(raw) as Meta;
  return { view: { meta, raw, otherRaw, other: parseMeta(otherRaw) }, start, end: start + length };
}

/** Takes the oldest link out; undefined: there is none. */
function takeLink(memory: LinkMemory): Link | undefined {
  const first = firstLink(memory);
  if (first === undefined) return undefined;
  const { view, start, end } = first;
  const runs = copyOut(memory, start, end - start);
  Atomics.store(memory.control, read, end);
  return { view, runs };
}

/** Links for a walk. */
export interface LinkSource {
  /** The links from one state to another, without a gap; undefined: they are not all there, and will not be soon. */
  follow(from: MetaView, to: MetaView): Link[] | undefined;
  /** Gives back the room of links that are not needed any more: up to and with this state. */
  forget(upTo: MetaView): void;
}

/** How long a link may be late: its keeper was asleep or made to wait, or is reading a long freelist or path. */
const lateMsMax = 5;

/** Reads a log. */
export function readLinkLog(memory: LinkMemory, clockMs: () => number): LinkSource {
  let pending: Link[] = [];
  const { control } = memory;
  return {
    follow(from, to) {
      const deadlineMs = clockMs() + lateMsMax;
      for (;;) {
        const seen = Atomics.load(control, written);
        for (let link = takeLink(memory); link !== undefined; link = takeLink(memory)) pending.push(link);
        pending = pending.filter(({ view }) => view.meta.txId > from.meta.txId);
        const last = pending.findIndex(({ view }) => view.meta.txId >= to.meta.txId);
        if (last >= 0) {
          const links = pending.slice(0, last + 1);
          return isChain(from, links, to) ? links : undefined;
        }
        const leftMs = deadlineMs - clockMs();
        if (leftMs <= 0 || !isWanted(memory)) return undefined;
        Atomics.wait(control, written, seen, leftMs);
      }
    },
    forget(upTo) {
      const { txId } = upTo.meta;
      pending = pending.filter(({ view }) => view.meta.txId > txId);
      for (let link = firstLink(memory); link !== undefined; link = firstLink(memory)) {
        if (link.view.meta.txId > txId) return;
        Atomics.store(control, read, link.end);
      }
    },
  };
}

/** Whether each follows the one before, byte by byte, and the last is `to`. */
function isChain(from: MetaView, links: readonly Link[], to: MetaView): boolean {
  let before = from;
  for (const { view } of links) {
    if (!equalBytes(view.otherRaw, before.raw)) return false;
    before = view;
  }
  return equalBytes(before.raw, to.raw);
}

function copyIn({ ring }: LinkMemory, position: number, bytes: Uint8Array): void {
  const at = position % ringBytes;
  const first = Math.min(bytes.length, ringBytes - at);
  ring.set(bytes.subarray(0, first), at);
  if (first < bytes.length) ring.set(bytes.subarray(first), 0);
}

function copyOut({ ring }: LinkMemory, position: number, length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  const at = position % ringBytes;
  const first = Math.min(length, ringBytes - at);
  bytes.set(ring.subarray(at, at + first));
  if (first < length) bytes.set(ring.subarray(0, length - first), first);
  return bytes;
}
