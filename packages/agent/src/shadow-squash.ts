// What a shadow is squashed to when its host is away for long: consecutive records merged, as far as memory allows.
import type { CompressionConfig, TxId } from "@pageferry/format";
import { createRangeMerge, type RangeMerge } from "./range-merge.ts";
import { decodeRange, encodeRange, type SegmentSource } from "./range-segment.ts";
import { recordOf } from "./shadow.ts";
import { type LogEntry, readLogEntry } from "./shadow-file.ts";
import type { NewRecord } from "./shadow-log.ts";
import { encodeRecord, type ShadowRecord } from "./shadow-record.ts";

/** How to squash. */
export interface SquashOptions {
  /** A merged record stays below this, in bytes of pages: it is put together in memory, and is one segment later. */
  readonly rawBytesMax: number;
  /** Transactions that no record may reach across: what was acknowledged, and what is on its way. */
  readonly boundaries: readonly TxId[];
  readonly source: SegmentSource;
  readonly compression: CompressionConfig;
}

/** Consecutive records that become one. */
interface Group {
  /** The only record, as long as there is one. */
  single: ShadowRecord | undefined;
  readonly merge: RangeMerge;
}

/** Merges what is consecutive among `entries`, in order; a record that stays alone is kept as it is. */
export async function* squashed(
  entries: readonly LogEntry[],
  options: SquashOptions,
): AsyncGenerator<NewRecord> {
  const group: Group = { single: undefined, merge: createRangeMerge() };
  for (const entry of entries) {
    const last = group.single?.txId ?? group.merge.txId();
    if (last !== undefined && !mayJoin(group, last, entry, options)) {
      yield* finish(group, options);
    }
    const record = await readLogEntry(entry);
    if (group.single === undefined && group.merge.isEmpty()) {
      group.single = record;
      continue;
    }
    if (group.single !== undefined) {
      group.merge.add(await decodeRange(group.single));
      group.single = undefined;
    }
    group.merge.add(await decodeRange(record));
  }
  yield* finish(group, options);
}

function mayJoin(group: Group, last: TxId, entry: LogEntry, options: SquashOptions): boolean {
  const isConsecutive = entry.parentTxId <= last;
  const isAcross = options.boundaries.some((boundary) => last <= boundary && entry.txId > boundary);
  const rawBytes = (group.single?.rawBytes ?? group.merge.rawBytes()) + entry.rawBytes;
  return isConsecutive && !isAcross && rawBytes <= options.rawBytesMax;
}

async function* finish(group: Group, options: SquashOptions): AsyncGenerator<NewRecord> {
  const { single, merge } = group;
  if (single !== undefined) {
    const { segment: _, freed: __, ...facts } = single;
    yield { facts, framed: encodeRecord(single) };
  } else if (!merge.isEmpty()) {
    const part = merge.range();
    yield recordOf({ part, segment: await encodeRange(part, options.source, options.compression) });
  }
  group.single = undefined;
  merge.clear();
}
