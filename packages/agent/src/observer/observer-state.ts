// The parts of one observer's source, as its functions share them.
import type { ErrorCode, TxId } from "@pageferry/format";
import type { PageTable } from "../page-table.ts";
import type { BaseImage } from "../sources/base-image.ts";
import type { AlarmEvent, BoltFileSourceOptions, CapturedState } from "../sources/capture-event.ts";
import type { Scratch } from "../sources/database-file.ts";
import type { KnownState } from "../sources/decide-generation.ts";
import type { Wake } from "../wake.ts";
import type { FlushLine } from "./flush-line.ts";
import type { ObservedDatabase } from "./observed-database.ts";
import type { ObservedState } from "./observed-state.ts";

/** Why the database is looked at as a whole. */
export type LookReason = "start" | "gap" | "let go" | "refused" | "unproved" | "changed";

/** Counted since the start. */
export interface ObserverFigures {
  /** Calls that were taken, that told what was known, that came after the end, and whose pages were let go. */
  taken: number;
  repeated: number;
  late: number;
  letGo: number;
  /** Calls that told no transaction of a bolt database. */
  refused: number;
  /** Deltas that were told on. */
  deltas: number;
  /** Looks at the whole database, the first one among them, by reason. */
  looks: Record<LookReason, number>;
}

/** How patient an observer is, and how much it holds; all but the last two are for tests to shorten. */
export interface ObserverTimes {
  /** A transaction that is missing between others is waited for. Then the database itself is looked at. */
  readonly gapMs: number;
  /** After a failure to read the database it is tried again. */
  readonly retryMs: number;
  /** At most so often the database is asked whether we are where it is. */
  readonly doubtMs: number;
  readonly mergeBytes: number;
  readonly bytesMax: number;
}

/** One observer's source at work. */
export interface ObserverState {
  readonly options: BoltFileSourceOptions;
  readonly database: ObservedDatabase;
  readonly times: ObserverTimes;
  readonly line: FlushLine;
  readonly figures: ObserverFigures;
  /** Told before each look. */
  readonly onLook: (reason: LookReason) => void;
  readonly wake: Wake;
  readonly scratch: Scratch;
  readonly clockMs: () => number;
  /** The file of a database that has none on disk: it is another one each time. */
  readonly inode: string;
  /** The newest state that is settled. */
  now: ObservedState | undefined;
  /** The same as the agent knows it; at first the reference. */
  known: (KnownState & { readonly table: PageTable | null }) | null;
  /** The newest state that was told on. */
  emitted: CapturedState | null;
  isBegun: boolean;
  /** Deltas are applied and not told, until a base is. */
  isMuted: boolean;
  /** Another history was found in place of ours. */
  isSuspect: boolean;
  /** A look is wanted. */
  look: LookReason | undefined;
  lookAtMs: number;
  /** When the oldest of what was told and is to be found by a look was told. */
  unreadSinceMs: number | undefined;
  /** What was told and waits does not follow; since when. */
  gapSinceMs: number | undefined;
  /** The database is to be asked whether we are where it is. */
  isDoubted: boolean;
  doubtAtMs: number;
  image: BaseImage | undefined;
  isBaseWanted: boolean;
  imageAtMs: number;
  checkpointPath: string | undefined;
  stopAtMs: number | undefined;
  stampMs: number;
  toldTxId: TxId | undefined;
  /** Alarms that wait to be told, and those that stand. */
  readonly raised: AlarmEvent[];
  readonly alarms: Set<ErrorCode>;
  refusedAtMs: number;
  /** When the event loop last had its turn, and what reading may have cost since then. */
  turnAtMs: number;
  readableAtMs: number;
}

/** Raises an alarm, unless one of this code stands already. */
export function raise(state: ObserverState, code: ErrorCode, message: string, hint: string): void {
  if (state.alarms.has(code)) return;
  state.alarms.add(code);
  state.raised.push({ type: "alarm", code, message, hint });
}

/** Wants a look at the whole database, for the first reason that is given. */
export function wantLook(state: ObserverState, reason: LookReason): void {
  state.look ??= reason;
}
