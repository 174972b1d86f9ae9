// The parts of one database's agent, as its functions share them.
import type { DatabaseName, TxId } from "@pageferry/format";
import type { AgentEmitter } from "./agent-events.ts";
import type { Alarms } from "./alarms.ts";
import type { Chapter } from "./chapter.ts";
import type { Companions } from "./companions/companions.ts";
import type { CursorStore } from "./cursor.ts";
import type { DatabaseLock } from "./database-lock.ts";
import type { Gate } from "./gate.ts";
import type { Lag } from "./lag.ts";
import type { Logger } from "./logger.ts";
import type { Queue } from "./queue.ts";
import type { SegmentSource } from "./range-segment.ts";
import type { Budget } from "./recent.ts";
import type { RestoredPoint } from "./restored-note.ts";
import type { Sender } from "./send.ts";
import type { AgentSettings } from "./settings.ts";
import type { SnapshotUploads } from "./snapshot-upload.ts";
import type { BoltFileSourceOptions, CaptureSource } from "./sources/capture-event.ts";
import type { Wake } from "./wake.ts";
import type { StoredWatch } from "./watch-stored.ts";

/** What all databases of an agent share. */
export interface SharedParts {
  readonly queue: Queue;
  readonly settings: AgentSettings;
  readonly host: string;
  readonly now: () => number;
  readonly random: () => number;
  readonly logger: Logger;
  readonly emitter: AgentEmitter;
  readonly budget: Budget;
  readonly encodeGate: Gate;
  /** Of snapshots that lie on the disk and are not staged. */
  readonly snapshotPlaces: Gate;
  readonly callGate: Gate;
  /** How long a database waits before it sends a heartbeat alone, ms. */
  readonly aloneMs: () => number;
  /** Of companion files. */
  readonly readGate: Gate;
  /** `null`: nothing is captured, what the shadow holds is sent. */
  readonly openSource: ((options: BoltFileSourceOptions) => CaptureSource) | null;
}

/** Which database, and where it keeps its things. */
export interface DatabasePlace {
  readonly name: DatabaseName;
  readonly path: string;
  /** Where a Go application writes its commits; then these are captured, and not the file. */
  readonly shadowDirectory: string | undefined;
  /** `<shadowDir>/<name>`. */
  readonly directory: string;
  /** Patterns of its companion files. */
  readonly files: readonly string[];
  /** The file was restored since it was last backed up: a new generation begins. */
  readonly isRestored: boolean;
  /** What captures it, as its segments say. */
  readonly sourceKind: SegmentSource;
}

/** One database at work. */
export interface DatabaseState {
  readonly shared: SharedParts;
  readonly place: DatabasePlace;
  readonly alarms: Alarms;
  readonly lag: Lag;
  readonly cursor: CursorStore;
  readonly lock: DatabaseLock;
  readonly watchStored: StoredWatch;
  readonly uploads: SnapshotUploads;
  readonly sender: Sender;
  /** Absent: it has none, or they are not looked at. */
  companions?: Companions | undefined;
  /** Ends everything at once. */
  readonly abort: AbortController;
  /** Nothing more is begun. */
  readonly stopping: AbortController;
  chapters: readonly Chapter[];
  /** While it is open. */
  source: CaptureSource | undefined;
  /** It has told something, and so it has read the page table that it goes on from. */
  isSourceHeard: boolean;
  /** The source has found something out about the file: what it holds, or that something is wrong with it. */
  readonly looked: Wake;
  /** What the file was restored from, until the generation that names it has begun. */
  restoredFrom: RestoredPoint | null;
  /** What the last look at the whole file found; null: there was none yet. */
  foundTxId: TxId | null;
  /** The newest stamp given. */
  stampMs: number;
  /** Whether the host can say what it needs; so it is taken until it says it cannot. */
  isHealing: boolean;
  /** The host builds snapshots itself, and asks for those that it cannot build. */
  isHostBuilding: boolean;
  lastAcknowledgedMs: number;
  baseAskedMs: number;
  /** Images that were given up since one was acknowledged. */
  baseFailures: number;
  /** The checkpoint that is being written. */
  checkpointing: { readonly file: string; readonly generation: string; readonly bytes: number } | undefined;
  checkpointedMs: number;
  /** Room is being made on a full disk; and when that may be tried next. */
  isRelieving: boolean;
  relieveDueMs: number;
  readonly checkpointDone: Wake;
  /** When the agent's own files were last looked at, and whether they changed since. */
  inspectedMs: number;
  isWrittenSinceInspected: boolean;
  /** The highest number that a page table's file has had. */
  tableNumber: number;
  bytesSinceCheckpoint: number;
  /** When what was healed last, by range or snapshot. */
  readonly healedMs: Map<string, number>;
  upkeep: Promise<void>;
  cursorSavedMs: number;
  squashedBytes: number;
  /** Since when the shadow is over its bound. */
  overSinceMs: number | undefined;
  /** The end came while capture was paused: what comes after is captured again at the next start. */
  isCut: boolean;
}
