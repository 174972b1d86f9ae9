// The agent's numbers, each with its default and its price.
import { type CompressionConfig, defaultCompression } from "@pageferry/format";
import type { Granularity } from "./shadow.ts";

/** So many images of databases, and as many snapshots made of such, lie on the disk at a time: with fewer databases nothing ever waits. */
export const basesAtATime = 16;

/** One that takes longer must not hold up the others, and no longer counts. */
export const basePlaceMs = 10 * 60_000;

/** What can be tuned. All times in ms, all sizes in bytes. */
export interface AgentSettings {
  /** How long commits are gathered before they are sent. Default 1000. 0 sends each at once, at the price of more requests. */
  readonly syncIntervalMs: number;
  /** `interval` (default): one point per batch. `transaction`: every captured commit is a point, at the price of larger archives. */
  readonly granularity: Granularity;
  /** How often a whole database is sent beside its segments, if it changed. Default 6 h. */
  readonly snapshotIntervalMs: number;
  /** How segments and snapshots are compressed. Default zstd, level 3. */
  readonly compression: CompressionConfig;
  /** Above this a shadow is merged, and if that does not help, given up for a new snapshot. Default 1 GiB. */
  readonly shadowBytesMax: number;
  /** `squash` (default): the above. `stop`: nothing is given up; capture pauses until there is room, and the application goes on. */
  readonly shadowPolicy: "squash" | "stop";
  /** Bytes per second that scans and bases may read from a database. Default 256 MiB; 0 is no limit. */
  readonly maxReadRate: number;
  /** How long a base may take under load before `source-too-busy` is told. Default 10 min. */
  readonly baseDeadlineMs: number;
  /** A host that hears nothing for this long gets a heartbeat. Default 20 s. */
  readonly heartbeatMs: number;
  /** How often the host is asked what it needs. Default 60 s. */
  readonly needsMs: number;
  /** A host that does not answer for this long is an alarm. Default 15 s. */
  readonly silentMs: number;
  /** Commits that are not at the host for longer are an alarm; 0 (default): about a minute. */
  readonly dataLossWindowThresholdMs: number;
  /** A host that refuses, such as a token or a history, is asked again after this. Default 5 min. */
  readonly refusedMs: number;
  /** How often the agent looks whether its own files are there, while they change; else twelve times as rarely. Default 5 s. */
  readonly inspectMs: number;
  /** The page table is checkpointed after this, if something changed. Default 60 s: a restart rolls forward at most that much. */
  readonly checkpointMs: number;
  /** And after this much of shadow. Default 64 MiB. */
  readonly checkpointBytes: number;
  /** How often companion files are looked at. Default 5 s. */
  readonly filesMs: number;
  /** Memory for what is about to be sent, for all databases together. Default 32 MiB; what does not fit is read back. */
  readonly recentBytesMax: number;
}

/** Every default. */
export const defaultSettings: AgentSettings = {
  syncIntervalMs: 1000,
  granularity: "interval",
  snapshotIntervalMs: 6 * 3_600_000,
  compression: defaultCompression,
  shadowBytesMax: 2 ** 30,
  shadowPolicy: "squash",
  maxReadRate: 256 * 2 ** 20,
  baseDeadlineMs: 600_000,
  heartbeatMs: 20_000,
  needsMs: 60_000,
  silentMs: 15_000,
  dataLossWindowThresholdMs: 0,
  refusedMs: 300_000,
  inspectMs: 5_000,
  checkpointMs: 60_000,
  checkpointBytes: 64 * 2 ** 20,
  filesMs: 5_000,
  recentBytesMax: 32 * 2 ** 20,
};

/**
 * How long a shadow pauses between two writes while commits come, ms: what is only sent once a second need not be fsynced two hundred times
 * meanwhile. What is sent is flushed first, so that nothing is sent later for it.
 */
export function shadowPaceMs({ syncIntervalMs }: AgentSettings): number {
  return Math.min(shadowPaceMsMax, syncIntervalMs / 20);
}

/** What a machine that loses its power loses, of what its application thought durable and no host has, beside what is on its way. */
const shadowPaceMsMax = 50;

/**
 * What waits in the shadow to be merged is compressed as fast as can be, and again as configured when it is sent. What is
 * sent as it is kept is compressed once.
 */
export function shadowCompression(settings: AgentSettings): CompressionConfig {
  const isFast = !isSentAsKept(settings) && settings.compression.codec !== "none";
  return isFast ? { codec: "zstd", level: 1, window: 0 } : settings.compression;
}

/** Whether a captured segment is most often sent unchanged. */
export function isSentAsKept(settings: AgentSettings): boolean {
  return settings.granularity === "transaction" || settings.syncIntervalMs === 0;
}
