// Files made out of a shadow directory's snapshots: a database as one snapshot holds it, checked in full; or the one that a snapshot and
// the segments after it lead to.
import { createReadStream } from "node:fs";
import { type FileHandle, open, rm } from "node:fs/promises";
import {
  decodeSnapshot,
  formatTxId,
  type Meta,
  metaPagesFor,
  newestMeta,
  PageferryError,
  type StateHash,
  type TxId,
} from "@pageferry/format";
import { fromFileSystem, writeAll } from "@pageferry/format/node";
import type { CheckImage } from "./image-checks.ts";
import { metaOfSegment } from "./shadow-directory-evidence.ts";
import { createSegmentFiles } from "./shadow-directory-file.ts";
import type { ListedGeneration, ListedSnapshot } from "./shadow-directory-listing.ts";
import { hasSegment, segmentPath } from "./shadow-directory-listing.ts";
import { applySegment } from "./shadow-directory-mirror.ts";

/** A database file that was made and checked. Whoever has it renames or removes it. */
export interface MadeImage {
  readonly path: string;
  readonly txId: TxId;
  readonly stateHash: StateHash;
}

/** What makes images. */
export interface ImageMaker {
  /**
   * Writes what a snapshot holds to `path`, and checks it. Throws `corrupt` or what decoding throws for a snapshot that is not whole (yet), and
   * what the file system throws.
   */
  fromSnapshot(snapshot: ListedSnapshot, path: string): Promise<MadeImage>;
  /**
   * Goes on from a snapshot to a later state, whose hash proves that it was the right way. `undefined`: the files do not
   * lead there.
   */
  leadingTo(
    target: { readonly txId: TxId; readonly stateHash: StateHash },
    snapshot: ListedSnapshot,
    path: string,
  ): Promise<MadeImage | undefined>;
  /** What a file holds, checked in full; `undefined`: it is unsound. */
  measure(path: string): Promise<StateHash | undefined>;
}

/** Makes a maker of images. */
export function createImageMaker(
  directory: string,
  generations: () => Iterable<ListedGeneration>,
  checkImage: CheckImage,
  signal: AbortSignal,
): ImageMaker {
  const check = (path: string): Promise<{ readonly problem?: string; readonly stateHash?: StateHash }> =>
    new Promise((settle) =>
      checkImage({ path, stateHash: undefined }, (problem, stateHash) =>
        settle(problem === undefined ? { ...(stateHash === undefined ? {} : { stateHash }) } : { problem }),
      ),
    );

  async function fromSnapshot(snapshot: ListedSnapshot, path: string): Promise<MadeImage> {
    const meta = await writeSnapshot(snapshot, path, signal);
    const { problem, stateHash } = await check(path);
    if (stateHash === undefined) {
      await rm(path, { force: true });
      throw new PageferryError("corrupt", `${snapshot.path}: ${problem ?? "it cannot be read"}`);
    }
    return { path, txId: meta.txId, stateHash };
  }

  return {
    fromSnapshot,
    async leadingTo(target, snapshot, path) {
      const meta = await writeSnapshot(snapshot, path, signal);
      const isThere = await applyUpTo({
        directory,
        generations: [...generations()],
        path,
        meta,
        target,
        signal,
      });
      const { stateHash } = isThere ? await check(path) : {};
      if (stateHash === target.stateHash) return { path, ...target };
      await rm(path, { force: true });
      return undefined;
    },
    measure: async (path) => (await check(path)).stateHash,
  };
}

/** Writes a snapshot's database, with both metas as bolt would have them. */
async function writeSnapshot(snapshot: ListedSnapshot, path: string, signal: AbortSignal): Promise<Meta> {
  let handle: FileHandle | undefined;
  try {
    await rm(path, { force: true });
    handle = await open(path, "w+", 0o600);
    const { raw, header } = decodeSnapshot(createReadStream(snapshot.path), { signal });
    let at = 0;
    for await (const part of raw) {
      await writeAll(handle, part, at);
      at += part.length;
    }
    const { txId, pageSize } = await header;
    const head = Buffer.alloc(2 * pageSize);
    await handle.read(head, 0, head.length, 0);
    const meta = newestMeta(head, head.subarray(pageSize));
    if (meta?.txId !== txId || txId !== snapshot.txId || meta.highWaterMark * pageSize !== at) {
      throw new PageferryError("corrupt", `${snapshot.path}: it does not hold ${formatTxId(snapshot.txId)}`);
    }
    // Go writes S into page 0 whatever its parity: the next commit would overwrite the newer of the two.
    const own = meta.txId === newestMeta(head, new Uint8Array(0))?.txId ? head : head.subarray(pageSize);
    await writeAll(handle, Buffer.concat(metaPagesFor(own)), 0);
    return meta;
  } catch (error) {
    await rm(path, { force: true }).catch(() => {});
    throw fromFileSystem(error, `reading ${snapshot.path} into ${path}`);
  } finally {
    await handle?.close();
  }
}

interface Way {
  readonly directory: string;
  readonly generations: readonly ListedGeneration[];
  readonly path: string;
  readonly meta: Meta;
  readonly target: { readonly txId: TxId };
  readonly signal: AbortSignal;
}

/** Applies one transaction after the other; false: one is missing. Which files were right the hash at the end says. */
async function applyUpTo({ directory, generations, path, meta, target, signal }: Way): Promise<boolean> {
  const files = createSegmentFiles();
  const handle = await open(path, "r+");
  try {
    let at: Pick<Meta, "txId"> & Parameters<typeof metaOfSegment>[1] = meta;
    let last: ListedGeneration | undefined;
    while (at.txId < target.txId) {
      signal.throwIfAborted();
      const next = (at.txId + 1n) as TxId;
      // A generation is one process: where it goes on, it is the one to follow.
      const order = [...(last === undefined ? [] : [last]), ...generations.filter((one) => one !== last)];
      const from = order.find((one) => {
        if (!hasSegment(one, next)) return false;
        return files.read(segmentPath(directory, one.generation, next), next).kind === "whole";
      });
      if (from === undefined) return false;
      const found = files.read(segmentPath(directory, from.generation, next), next);
      if (found.kind !== "whole" || found.segment.header.pageSize !== at.pageSize) return false;
      at = metaOfSegment(found.segment, at);
      applySegment(handle.fd, found.segment, at);
      last = from;
      // Thousands of segments must not hold up the other databases of this thread.
      await new Promise((settle) => setImmediate(settle));
    }
    return true;
  } finally {
    await handle.close();
  }
}
