// A replica: a store with the archive's meaning on top, for one database. The Go implementation's eight methods, written
// once over any store, and what fan-out needs besides.

import {
  type ArchiveReader,
  type CompanionsName,
  collectSegmentFile,
  type DecodedSnapshot,
  decodeSegmentAsync,
  decodeSegmentFile,
  decodeSnapshot,
  formatTxId,
  type Generation,
  type GenerationBegin,
  PageferryError,
  parseObjectName,
  type RestoreState,
  type Segment,
  type SegmentDescriptor,
  type SnapshotDescriptor,
  segmentName,
  segmentState,
  snapshotName,
  type TxId,
} from "@pageferry/format";
import { bodySize } from "./body.ts";
import { putCompanions } from "./companions-put.ts";
import type { StateLink, StateObjectName } from "./describe.ts";
import { createExclusive } from "./exclusive.ts";
import type { Holdings } from "./holdings.ts";
import { type HostReader, hostReader } from "./host-reader.ts";
import type { Judgement } from "./judge.ts";
import { createPruneMemory, type PruneOptions, type PruneReport, pruneReplica } from "./prune.ts";
import { putBegin } from "./replica-begin.ts";
import { createReplicaIndex } from "./replica-index.ts";
import { judgeLinks, type PutOutcome, putItems, type ReplicaItem } from "./replica-put.ts";
import { formatTime, latestState, writeState } from "./replica-state.ts";
import type { RetentionPolicy } from "./retention.ts";
import { type RootedStore, rootedStore } from "./rooted-store.ts";
import type { CallOptions, Store } from "./store.ts";

/** What `putSnapshot` takes: the whole object as `encodeSnapshot` makes it. */
export interface SnapshotToPut {
  readonly txId: TxId;
  /** The commit's time. */
  readonly stampMs: number;
  readonly body: ReplicaItem["body"];
}

export interface Replica extends AsyncDisposable {
  /** A stable word for logs. Never holds a secret. */
  readonly name: string;
  /** Stores a snapshot. Another state under the same transaction is a `fork`; a copy of it is in quarantine. */
  putSnapshot(
    generation: Generation,
    snapshot: SnapshotToPut,
    options?: CallOptions,
  ): Promise<SnapshotDescriptor>;
  /** Stores an encoded segment. Another history is a `fork`; a copy of it is in quarantine. */
  putSegment(generation: Generation, segment: Uint8Array, options?: CallOptions): Promise<SegmentDescriptor>;
  /** Marks what no kept point needs, removes what was marked for long enough, and reports both. What is kept can be restored at any time. */
  prune(
    generation: Generation | undefined,
    policy: RetentionPolicy,
    options?: Omit<PruneOptions, "policy" | "generation">,
  ): Promise<PruneReport>;
  /** Reads a snapshot as a stream; what it yields is verified by the time it ends. */
  fetchSnapshot(snapshot: Pick<SnapshotDescriptor, "name">, options?: CallOptions): Promise<DecodedSnapshot>;
  /** Reads a segment, verified. */
  fetchSegment(segment: Pick<SegmentDescriptor, "name">, options?: CallOptions): Promise<Segment>;
  /** What rebuilds the newest point, from the listing, not from `_state.json`; `undefined` for an empty archive. */
  latestState(options?: CallOptions): Promise<RestoreState | undefined>;
  /** Replaces `_state.json`, for the Go implementation's readers, by what they can read. Returns whether there is a point. */
  writeState(options?: CallOptions): Promise<boolean>;
  /** Closes the store, unless it was opened by somebody else. */
  close(): Promise<void>;

  /** Writes how a generation began, once. */
  begin(begin: GenerationBegin, receivedAtMs: number, options?: CallOptions): Promise<PutOutcome>;
  /** Puts objects of one generation in order, as they came; one outcome for each. Throws only the signal's reason. */
  putAll(
    generation: Generation,
    items: readonly ReplicaItem[],
    options?: CallOptions & { readonly pack?: boolean | undefined },
  ): Promise<PutOutcome[]>;
  /** Puts a version of companion files. Throws only the signal's reason. */
  putCompanions(name: CompanionsName, bytes: Uint8Array, options?: CallOptions): Promise<PutOutcome>;
  /** Judges what an object says against what is stored, and against `besides`, by transaction: what is about to be. */
  judge(
    generation: Generation,
    links: readonly StateLink[],
    besides: ReadonlyMap<TxId, readonly StateLink[]>,
    options?: CallOptions,
  ): Promise<Judgement>;
  /** For planning and restoring. */
  readonly reader: ArchiveReader;
  /**
   * The same with the listing from memory, for what is planned often: what others stored or removed meanwhile is seen at the next
   * `refresh`.
   */
  readonly remembered: HostReader;
  /** The objects themselves, for repair: what is put here is not judged. */
  readonly objects: RootedStore;
  /** What is stored, from memory; listed first where that has not been done. */
  holdings(options?: CallOptions): Promise<Holdings>;
  /** The same without waiting: `undefined` until it was listed. */
  holdingsNow(): Holdings | undefined;
  /** Lists again: others may have removed or added objects. */
  refresh(options?: CallOptions): Promise<Holdings>;
  /** How long ago it was listed, ms; infinite until it was. */
  listedAgoMs(): number;
}

export interface ReplicaOptions {
  /** The archive's place in the store; "" where the store is the archive. */
  readonly root: string;
  readonly now?: () => number;
  /** Whether `close` closes the store. Default true; false where several databases share it. */
  readonly ownsStore?: boolean;
  /** Told whenever the holdings are others than before. */
  readonly onChange?: (() => void) | undefined;
}

/** A replica over a store. Nothing is read until it is used. */
export function createReplica(store: Store, options: ReplicaOptions): Replica {
  const { root, now = Date.now, ownsStore = true } = options;
  const rooted = rootedStore(store, root);
  const index = createReplicaIndex(rooted, options.onChange);
  const target = { store: rooted, index };
  const exclusive = createExclusive();
  const memory = createPruneMemory();
  const reader: ArchiveReader = {
    name: rooted.name,
    list: (call) => rooted.list("", call),
    get: (name, range) => rooted.get(name, range),
  };
  const putAll: Replica["putAll"] = (generation, items, call = {}) => {
    // A snapshot may take minutes, and judges only one transaction: it holds up no segment.
    if (items.every(({ name }) => name.kind === "snapshot")) return putItems(target, generation, items, call);
    return exclusive(generation, () => putItems(target, generation, items, call));
  };
  const putOne = async (name: string, body: ReplicaItem["body"], call: CallOptions = {}) => {
    const parsed = parseObjectName(name) as StateObjectName;
    const [outcome] = await putAll(parsed.generation, [{ name: parsed, body }], call);
    if (outcome?.kind === "failed") throw outcome.error;
    if (outcome?.kind === "fork") throw new PageferryError("fork", `${rooted.name}: ${outcome.why}`);
    return parsed;
  };
  const close = async () => {
    if (ownsStore) await store.close();
  };
  return {
    name: rooted.name,
    reader,
    remembered: hostReader(reader, rooted, { index, now }),
    objects: rooted,
    async putSnapshot(generation, { txId, stampMs, body }, call) {
      const { name } = await putOne(snapshotName({ generation, txId, stampMs }), body, call);
      return { name, timestamp: formatTime(stampMs), size: bodySize(body) };
    },
    async putSegment(generation, segment, call) {
      const { name, stampMs, firstTxId, lastTxId } = segmentFileName(generation, segment);
      await putOne(name, segment, call);
      return { name, firstTxId, lastTxId, timestamp: formatTime(stampMs), size: segment.length };
    },
    async prune(generation, policy, options = {}) {
      const pruned = { store: rooted, reader, memory, now };
      const report = await pruneReplica(pruned, { ...options, policy, generation });
      if (report.removed.length + report.retained.length > 0) await index.refresh(options);
      return report;
    },
    async fetchSnapshot({ name }, call) {
      return decodeSnapshot(await rooted.get(name, call));
    },
    async fetchSegment({ name }, call) {
      return decodeSegmentAsync(await collectSegmentFile(await rooted.get(name, call)));
    },
    latestState: (call) => latestState(reader, call),
    writeState: (call) => writeState(rooted, reader, call),
    close,
    begin: (begin, receivedAtMs, call) => putBegin(target, begin, receivedAtMs, call),
    putAll,
    putCompanions: (name, bytes, call) => putCompanions(target, name, bytes, call),
    judge: (generation, links, besides, call = {}) => judgeLinks(index, generation, links, besides, call),
    holdings: (call) => index.ready(call),
    holdingsNow: () => index.current(),
    refresh: (call) => index.refresh(call),
    listedAgoMs: () => index.ageMs(),
    [Symbol.asyncDispose]: close,
  };
}

/** Ours holds a time in its name; a segment without one keeps the name the Go implementation gives it. */
function segmentFileName(generation: Generation, segment: Uint8Array) {
  const { header } = decodeSegmentFile(segment);
  const { parentTxId, txId } = header;
  const { stampMs } = segmentState(header);
  const isGoForm = stampMs === undefined && parentTxId === txId - 1n;
  const createdAtMs = Math.floor(header.createdAt ?? 0) * 1000;
  const name = isGoForm
    ? `${generation}/segments/${formatTxId(txId)}.segment.cbor`
    : segmentName({ generation, parentTxId, txId, stampMs: stampMs ?? createdAtMs });
  return { name, stampMs: stampMs ?? createdAtMs, firstTxId: (parentTxId + 1n) as TxId, lastTxId: txId };
}
