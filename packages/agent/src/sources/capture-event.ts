// What a source tells the agent, in order, and how the agent holds a source. The algorithm is in docs/capture.md.
import type { ErrorCode, StateHash, TxId } from "@pageferry/format";
import type { FileIdentity } from "../identity.ts";

/** A run of consecutive pages. From a single transaction it is one bolt run; page 0 or 1 is the meta page. */
export interface CapturedFrame {
  readonly id: number;
  /** Pages after the first. */
  readonly overflow: number;
  /** Exactly (overflow + 1) × pageSize bytes: a view of memory that several frames share. */
  readonly data: Uint8Array;
}

/** A state of the database that can be named: a txid and what was live then. */
export interface CapturedState {
  readonly txId: TxId;
  readonly stateHash: StateHash;
}

/** Why what follows belongs to the generation it belongs to. `continue` is no new generation. */
export type BeginReason = "continue" | "first" | "restored" | "replaced" | "unprovable" | "fork";

/**
 * Comes first, and again whenever a new generation must begin (reason other than `continue`).
 * - `continue`: the reference's generation goes on. If the state moved, a delta with the reference as parent follows.
 * - `bridge`: a new generation; the next delta is its bridge, its parent state is in the parent generation. It may be long in coming: a
 *   file that was restored is at the parent's very state until somebody commits.
 * - `snapshot`: a new generation; a `base` follows. Deltas may come before it: only those above the base's txid count.
 */
export interface BeginEvent {
  readonly type: "begin";
  readonly reason: BeginReason;
  readonly via: "continue" | "bridge" | "snapshot";
  /** The reference state: the parent of the delta that follows, or what the new generation names as its parent. */
  readonly parent: CapturedState | null;
  /** The state that was found. */
  readonly txId: TxId;
  readonly stateHash: StateHash;
  readonly pageSize: number;
  readonly identity: FileIdentity;
  /** What the source itself calls this history, where it wants to be told what of it is stored. */
  readonly origin?: string;
}

/** The pages that lead from one captured state to the next. */
export interface DeltaEvent {
  readonly type: "delta";
  readonly parentTxId: TxId;
  readonly txId: TxId;
  readonly pageSize: number;
  readonly highWaterMark: number;
  /** Ascending, disjoint; the first is the meta page of `txId`, as id txId % 2. */
  readonly frames: readonly CapturedFrame[];
  /** The state hash of the parent, and of `txId`. */
  readonly pre: StateHash;
  readonly post: StateHash;
  /** When the newest commit was seen: max(previous, now), milliseconds. */
  readonly stampMs: number;
  /** Pages that were live in the parent and are not any more, ascending. Keep it: a page table rolls forward by it. */
  readonly freed: Uint32Array;
}

/** A whole database: the image is exactly highWaterMark × pageSize long, with both metas. The receiver deletes it. */
export interface BaseEvent {
  readonly type: "base";
  readonly txId: TxId;
  readonly imagePath: string;
  readonly pageSize: number;
  readonly highWaterMark: number;
  readonly stateHash: StateHash;
  readonly stampMs: number;
}

/** The page table of exactly this state is on disk, fsynced. */
export interface CheckpointEvent {
  readonly type: "checkpoint";
  readonly txId: TxId;
  readonly stateHash: StateHash;
  readonly path: string;
}

/** The newest txid in the file, captured or not; a few times a second at most. */
export interface SeenEvent {
  readonly type: "seen";
  readonly txId: TxId;
  readonly atMs: number;
}

/** Something is wrong and stays so until a `cleared` with the same code. One alarm per code at a time. */
export interface AlarmEvent {
  readonly type: "alarm";
  readonly code: ErrorCode;
  readonly message: string;
  readonly hint: string;
}

/** What the alarm of this code told is over. */
export interface ClearedEvent {
  readonly type: "cleared";
  readonly code: ErrorCode;
}

/** The last event of a source. */
export interface StoppedEvent {
  readonly type: "stopped";
}

export type CaptureEvent =
  | BeginEvent
  | DeltaEvent
  | BaseEvent
  | CheckpointEvent
  | SeenEvent
  | AlarmEvent
  | ClearedEvent
  | StoppedEvent;

/** The state a source goes on from: a page table of exactly (txId, stateHash), rolled forward to the shadow's end. */
export interface CaptureReference extends CapturedState {
  /** A file written by `checkpoint` or `writePageTable`. Unreadable or of another state: as if there were none. */
  readonly tablePath: string;
  readonly identity: FileIdentity;
}

export interface BoltFileSourceOptions {
  /** The database file. It may not exist yet. */
  readonly path: string;
  /** Where images and clones may lie; emptied of older ones at start. On the database's file system reflinks work. */
  readonly scratchDir: string;
  /** Absent: everything begins anew, with reason `first`. */
  readonly reference?: CaptureReference;
  /** Forces a new generation although the reference would go on: after a restore, or when a fork was reported. */
  readonly begin?: "restored" | "fork";
  /**
   * The reference is what the file was restored to, with `begin: "restored"`: where the file is that very state, the generation begins by a
   * bridge from it all the same, and its first delta comes with the first commit. Its table need not be there then. Default false.
   */
  readonly isReferenceRestored?: boolean;
  readonly now: () => number;
  /** Bytes a second for scans and bases; deltas are not limited. Default 256 MiB. */
  readonly maxReadRate?: number;
  /** How long a scan or base may take before reflinks are tried and `source-too-busy` is told. Default 10 minutes. */
  readonly baseDeadlineMs?: number;
}

/** A source being captured. Its events have one consumer; asking for the next event hands the last one's memory back. */
export interface CaptureSource {
  readonly events: AsyncIterable<CaptureEvent>;
  /** Asks for a `base` of a state at or after the newest delta. Asking again while one is on its way is nothing. */
  requestBase(): void;
  /** Writes the page table of the newest emitted state to `path` (durably), then says so by an event. */
  checkpoint(path: string): void;
  /**
   * Says that a history's transactions up to this one are stored, and (`isOver`) that no more of it will come: what it was read from
   * may go as far. Absent: the source keeps nothing for us.
   */
  stored?(origin: string, txId: TxId, isOver: boolean): void;
  /** Captures what is committed now, if that can be done by the deadline, then ends with `stopped`. */
  stop(options?: { readonly deadlineMs?: number }): void;
}

// The signature that bolt-file.ts exports:
// export function openBoltFileSource(options: BoltFileSourceOptions): CaptureSource;
