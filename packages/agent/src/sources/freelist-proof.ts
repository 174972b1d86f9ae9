// The freelist run of a state, read while its meta was the newest. docs/capture.md#walk says what it proves.
import { PageferryError, pageHeader } from "@pageferry/format";
import { isSameMeta, type MetaReader, type MetaView, type ReadAt } from "./bolt-io.ts";

/** Where reads go. */
export interface BoltReads {
  readonly readAt: ReadAt;
  readonly metas: MetaReader;
}

/** The freelist run of `view`; undefined: it was overtaken. Throws `corrupt` for proved bytes that are no freelist run. */
export function proveFreelist(reads: BoltReads, view: MetaView): Uint8Array<ArrayBuffer> | undefined {
  const { pageSize, highWaterMark } = view.meta;
  const id = view.meta.freelist as number;
  let run = new Uint8Array(pageSize);
  let got = reads.readAt(id * pageSize, run);
  const overflow = got === pageSize ? pageHeader(run).overflow : 0;
  if (overflow > 0 && id + overflow < highWaterMark) {
    // The header is proved before memory is taken for what it asks for.
    if (!isStill(reads, view)) return undefined;
    run = new Uint8Array((overflow + 1) * pageSize);
    got = reads.readAt(id * pageSize, run);
  }
  if (!isStill(reads, view)) return undefined;
  const header = pageHeader(run);
  const isWhole = got === run.length && run.length === (header.overflow + 1) * pageSize;
  if (id < 2 || id >= highWaterMark || header.id !== id || !isWhole) {
    throw new PageferryError(
      "corrupt",
      `page ${id}: not the freelist that the meta of ${view.meta.txId} names`,
    );
  }
  return run;
}

function isStill(reads: BoltReads, view: MetaView): boolean {
  const seen = reads.metas.read();
  return seen !== undefined && isSameMeta(seen, view);
}
