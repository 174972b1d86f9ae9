// What one tailed database is made of, and its port to the world. tailer.ts steps it; nothing here waits or sleeps.
import type { ErrorCode, StateHash, TxId } from "@pageferry/format";
import type { PageTable } from "../page-table.ts";
import type { BaseImage, ImageFile } from "./base-image.ts";
import type { MetaReader, MetaView, ReadAt } from "./bolt-io.ts";
import type {
  AlarmEvent,
  BaseEvent,
  BeginEvent,
  CapturedState,
  ClearedEvent,
  DeltaEvent,
  SeenEvent,
} from "./capture-event.ts";
import type { KnownState } from "./decide-generation.ts";
import type { KeepLinks, KeptLinks } from "./link-keeper.ts";
import type { Walk } from "./walk.ts";

export interface FileStats {
  readonly size: number;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
}

/** An open database file. */
export interface OpenFile {
  readonly identity: KnownState["identity"];
  /** A path that opens the very same file again, whatever its own path names by then. */
  readonly openPath: string;
  readonly readAt: ReadAt;
  stats(): FileStats;
  close(): void;
}

/** A reflink of the file: the whole of it at one instant, to scan and to keep as an image. */
export interface FileClone {
  readonly file: OpenFile;
  readonly image: ImageFile;
}

export type TailerEvent = BeginEvent | DeltaEvent | SeenEvent | AlarmEvent | ClearedEvent | BaseEvent;

/** The world of a tailer. Everything is synchronous. */
export interface TailerEnvironment {
  /** Wall clock, for stamps. */
  readonly now: () => number;
  /** A clock that never goes back, for waits and deadlines. */
  readonly clockMs: () => number;
  /** Opens what the path names. Throws `not-found`, `unreadable`, or `not-bolt` for what is not a file. */
  openFile(): OpenFile;
  /** Whether the path still names this file. */
  pathState(file: OpenFile): "same" | "missing" | "replaced";
  /** Whether somebody holds bolt's lock on this file; false also where locks cannot be seen. */
  hasWriter(file: OpenFile): boolean;
  /** Whether somebody holds bolt's lock on a file that had this path and was unlinked. */
  isWrittenElsewhere(): boolean;
  /** The links of a busy file, kept by another thread. Absent: every commit must be seen by this one. */
  keepLinks?: KeepLinks;
  /** Whether there is room for an image beside those of others. */
  hasImageRoom(): boolean;
  createImage(): ImageFile;
  /** Undefined: the file system has no reflinks. */
  cloneFile(): FileClone | undefined;
  /** Checks a finished image in full, somewhere else, and tells the first problem; undefined: it is sound. */
  checkImage(path: string, stateHash: StateHash, done: (problem: string | undefined) => void): void;
  removeImage(path: string): void;
  emit(event: TailerEvent): void;
}

export interface TailerOptions {
  readonly path: string;
  readonly environment: TailerEnvironment;
  readonly known: (KnownState & { readonly table: PageTable | null }) | null;
  readonly forced?: "restored" | "fork" | undefined;
  /** `known` is what the file was restored to; see `BoltFileSourceOptions`. */
  readonly isKnownRestored?: boolean | undefined;
  /** Bytes a second. */
  readonly maxReadRate: number;
  readonly baseDeadlineMs: number;
}

/** The file that is read, with what belongs to it. */
export interface Session {
  readonly file: OpenFile;
  readonly pageSize: number;
  readonly metas: MetaReader;
  readonly links: KeptLinks | undefined;
}

/** A scan on its way. Its walk is missing between two attempts. */
export interface Scan {
  walk: Walk | undefined;
  /** The table of the last attempt, to be used again. */
  spare: PageTable | undefined;
  /** What the file looked like when this attempt began. */
  stats: FileStats | undefined;
  clone: FileClone | undefined;
  restarts: number;
  begunAtMs: number | undefined;
}

/** A newest meta that is not above ours: it is believed when it stays. */
export interface Fall {
  readonly raw: Uint8Array;
  looks: number;
  atMs: number;
}

export interface Tailer {
  readonly options: TailerOptions;
  readonly environment: TailerEnvironment;
  session: Session | undefined;
  /** The newest state that is settled: emitted, or (while muted) waiting for a base. Its table is exact. */
  known: (KnownState & { table: PageTable | null }) | null;
  /** The meta of `known`, while following. */
  knownView: MetaView | undefined;
  /** Blocks neither free nor live in `known`; null: not to be told. */
  leaked: number | null;
  /** The newest state that was emitted. */
  emitted: CapturedState | null;
  /** Following: a walk over the exact table. Absent: a scan is needed. */
  walk: Walk | undefined;
  scan: Scan;
  /** The beginning was told. */
  isBegun: boolean;
  /** Deltas are applied and not told, until the base that they would need is. */
  isMuted: boolean;
  /** Something happened that bolt does not do. */
  isSuspect: boolean;
  image: BaseImage | undefined;
  isBaseWanted: boolean;
  /** An image is being checked; until that is over no other is begun. */
  isCheckingImage: boolean;
  readonly alarms: Set<ErrorCode>;
  fall: Fall | undefined;
  /** Since when there is no valid meta, no path, no scan that ends; clock times. */
  absentSinceMs: number | undefined;
  pathLostSinceMs: number | undefined;
  busySinceMs: number | undefined;
  openFailedSinceMs: number | undefined;
  corruptSinceMs: number | undefined;
  /** Nothing is done before these clock times. */
  retryAtMs: number;
  imageRetryAtMs: number;
  pathCheckAtMs: number;
  writerCheckAtMs: number;
  /** Bytes that may be read now, and when that was computed. */
  tokens: number;
  tokensAtMs: number;
  readonly pace: Pace;
  readonly figures: TailerFigures;
}

/** How fast the file moves. */
export interface Pace {
  seenTxId: TxId | undefined;
  /** When the newest commit was seen. */
  changedAtMs: number;
  /** When the file was last known to be written: by a commit, or by a notification. */
  activeAtMs: number;
  /** When a commit was last seen to follow another, as only bolt makes them. */
  linkedAtMs: number;
  stampMs: number;
  /** Smoothed time between commits. */
  intervalMs: number;
  toldTxId: TxId | undefined;
  toldAtMs: number;
  /** How long the last scan took with all its restarts, and what was followed since. */
  scanMs: number;
  deltasSinceScan: number;
}

/** What happened so far, for tests and measurements. */
export interface TailerFigures {
  deltas: number;
  breaks: number;
  scans: number;
  scanRestarts: number;
  bases: number;
  /** Deltas whose pages did not add up; each became a scan. */
  refusals: number;
}

/** Makes a tailer that has done nothing yet. */
export function createTailer(options: TailerOptions): Tailer {
  const clockMs = options.environment.clockMs();
  return {
    options,
    environment: options.environment,
    session: undefined,
    known: options.known,
    knownView: undefined,
    leaked: null,
    emitted: options.known === null ? null : { txId: options.known.txId, stateHash: options.known.stateHash },
    walk: undefined,
    scan: noScan(),
    isBegun: false,
    isMuted: false,
    isSuspect: false,
    image: undefined,
    // A file that is what it was restored to needs none; one that is not wants it as soon as that is known.
    isBaseWanted: options.known?.table == null && options.isKnownRestored !== true,
    isCheckingImage: false,
    alarms: new Set(),
    fall: undefined,
    absentSinceMs: undefined,
    pathLostSinceMs: undefined,
    busySinceMs: undefined,
    openFailedSinceMs: undefined,
    corruptSinceMs: undefined,
    retryAtMs: clockMs,
    imageRetryAtMs: clockMs,
    pathCheckAtMs: clockMs + 1000,
    writerCheckAtMs: clockMs,
    tokens: 0,
    tokensAtMs: clockMs,
    pace: {
      seenTxId: undefined,
      changedAtMs: clockMs,
      activeAtMs: clockMs,
      linkedAtMs: -Infinity,
      stampMs: 0,
      intervalMs: 1000,
      toldTxId: undefined,
      toldAtMs: -Infinity,
      scanMs: 0,
      deltasSinceScan: 0,
    },
    figures: { deltas: 0, breaks: 0, scans: 0, scanRestarts: 0, bases: 0, refusals: 0 },
  };
}

/** No attempt yet. */
export function noScan(): Scan {
  return {
    walk: undefined,
    spare: undefined,
    stats: undefined,
    clone: undefined,
    restarts: 0,
    begunAtMs: undefined,
  };
}

/** Tells an alarm, unless one of this code stands already. */
export function raise(tailer: Tailer, code: ErrorCode, message: string, hint: string): void {
  if (tailer.alarms.has(code)) return;
  tailer.alarms.add(code);
  tailer.environment.emit({ type: "alarm", code, message, hint });
}

/** Tells that alarms are over. */
export function clear(tailer: Tailer, ...codes: ErrorCode[]): void {
  for (const code of codes) {
    if (tailer.alarms.delete(code)) tailer.environment.emit({ type: "cleared", code });
  }
}
