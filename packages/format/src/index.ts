// The words of pageferry, by name: what every other part speaks. `@pageferry/format/node` holds what touches the disk.

export { applySegment } from "./apply.ts";
export {
  type ArchiveFacts,
  type ArchiveListing,
  type GenerationIndex,
  type GenerationLink,
  indexArchive,
  type ListedObject,
  type PackPoint,
  type RangeObject,
  type SnapshotObject,
  withoutObjects,
} from "./archive-listing.ts";
export { type ArchiveMemory, createArchiveMemory, type ListedReader } from "./archive-memory.ts";
export { type OpenArchiveOptions, openArchive } from "./archive-open.ts";
export {
  type ArchivePoints,
  type ArchiveTimeline,
  type LackingRange,
  lackingPoints,
  type PointsOptions,
  pointsIn,
  type ReaderPoints,
  readTimeline,
} from "./archive-points.ts";
export {
  type Archive,
  type ArchiveReader,
  type FactOptions,
  listingOf,
  planFromArchive,
  type ReadOptions,
  type ReadRange,
  readObject,
  readPackIndexes,
  readPoints,
} from "./archive-reader.ts";
export { readReceipts } from "./archive-receipts.ts";
export { type CheckMode, type CheckOptions, type CheckResult, checkDatabase } from "./bolt/check.ts";
export { parseFreelist } from "./bolt/freelist.ts";
export { logicalHash } from "./bolt/logical-hash.ts";
export {
  type DerivedMeta,
  deriveMeta,
  detectPageSize,
  encodeMetaPage,
  type Meta,
  type MetaEvidence,
  type MetaFields,
  metaBytes,
  metaPagesFor,
  metaSlot,
  newestMeta,
  parseMeta,
} from "./bolt/meta.ts";
export { openingProblem } from "./bolt/opening.ts";
export {
  branchChildren,
  leafBuckets,
  type PageHeader,
  type PageLimits,
  pageFlagBranch,
  pageFlagFreelist,
  pageFlagLeaf,
  pageFlagMeta,
  pageHeader,
  referencedPages,
  visitReferences,
} from "./bolt/page.ts";
export { createPageSet, type PageSet } from "./bolt/page-set.ts";
export {
  freelistRun,
  livePages,
  type PageSource,
  type PathStep,
  type TreePage,
  treePages,
  type WalkOptions,
  walkTree,
} from "./bolt/tree.ts";
export { bytesOfName, nameOfBytes, parseBucketPath } from "./bucket-path.ts";
export {
  type BucketEntry,
  type BucketListing,
  type BucketPath,
  type BucketValue,
  getValue,
  type ListOptions,
  listBucket,
} from "./bucket-walk.ts";
export { type ByteCache, createByteCache } from "./byte-cache.ts";
export { canonicalJson } from "./canonical-json.ts";
export { decodeCbor, encodeCbor } from "./cbor.ts";
export { type ChainResult, checkChain, checkSegment, type Link } from "./chain.ts";
export { companionsIn, companionVersions, readCompanions } from "./companion-archive.ts";
export {
  type CompanionsEntry,
  type CompanionsIndex,
  type CompanionsWanted,
  companionsAt,
  indexCompanions,
} from "./companion-choice.ts";
export { companionName, companionPath, fitsPart, fitsPattern, isGlob } from "./companion-place.ts";
export {
  type Companion,
  type CompanionSet,
  type CompanionsVersion,
  companionSetDigest,
  decodeCompanions,
  encodeCompanions,
  type SkippedCompanion,
  type SkipReason,
} from "./companions.ts";
export { type CompanionsName, parseCompanionsName } from "./companions-name.ts";
export {
  type Config,
  type DatabaseConfig,
  type ParseConfigOptions,
  parseConfig,
  type RestoreConfig,
} from "./config.ts";
export { type AlarmsConfig, databaseInUrl, type WebhookConfig, type WebhookFormat } from "./config-alarms.ts";
export {
  type CompressionConfig,
  type CompressionSettings,
  type CompressionType,
  compressionSettings,
  defaultCompression,
  parseCompressionConfig,
} from "./config-compression.ts";
export type { DirectoryConfig } from "./config-directory.ts";
export {
  parseQueueUrl,
  parseStagingUrl,
  type QueueConfig,
  type SqsAddress,
  type StagingAddress,
} from "./config-queue.ts";
export {
  type FileReplicaConfig,
  type NatsReplicaConfig,
  type ReplicaConfig,
  replicaLabel,
  replicaShapes,
  type S3ReplicaConfig,
  type SftpReplicaConfig,
} from "./config-replica.ts";
export type { CompactionConfig, RetentionConfig } from "./config-retention.ts";
export { configKeys, databaseNamePattern } from "./config-schema.ts";
export { counted } from "./counted.ts";
export { type Crc64, crc64, createCrc64 } from "./crc64.ts";
export {
  formatRestoreState,
  parseRestoreState,
  type RestoreState,
  type SegmentDescriptor,
  type SnapshotDescriptor,
} from "./descriptors.ts";
export { formatDuration, parseDuration } from "./durations.ts";
export {
  decodeEnvelope,
  type Envelope,
  type EnvelopeItem,
  encodeEnvelope,
  type InlineItem,
  type StagedItem,
} from "./envelope.ts";
export { type ErrorCode, errorTable, isPageferryError, PageferryError, type Remedy } from "./errors.ts";
export { type Farewell, farewellPattern, farewellWords } from "./farewell.ts";
export { type FoldedRange, type FoldOptions, type FoldStep, foldRange } from "./fold-range.ts";
export {
  formatGenerationJson,
  type GenerationBegin,
  type GenerationJson,
  type GenerationParent,
  type GenerationReason,
  parseGenerationJson,
} from "./generation-json.ts";
export { giveBack } from "./give-back.ts";
export { decodeHeartbeats, encodeHeartbeats, type Heartbeat } from "./heartbeats.ts";
export {
  bucketStagedBytesMax,
  companionBytesMax,
  companionSetBytesMax,
  companionsMax,
  companionsObjectBytesMax,
  envelopeBytesMax,
  envelopeItemsMax,
  heartbeatsBytesMax,
  heartbeatsMax,
  inlineBytesMax,
  packBytesMax,
  segmentBytesMax,
  sqsBytesMax,
  stampMsMax,
} from "./limits.ts";
export { generationsNewestFirst, lineage, newestGeneration } from "./lineage.ts";
export {
  type Manifest,
  type ManifestCompanions,
  type ManifestLease,
  type ManifestObject,
  type ManifestOptions,
  manifestJson,
  manifestOf,
  type ObjectFacts,
  parseManifest,
  planOf,
} from "./manifest.ts";
export { type MemorySink, memorySink } from "./memory-sink.ts";
export { type MergeOptions, mergeSegments, metaPageOf } from "./merge.ts";
export { type MergePagesOptions, mergePages, type PageRun } from "./merge-pages.ts";
export {
  checkObjectName,
  compareObjectNames,
  type DatabaseName,
  type Generation,
  generationJsonName,
  generationOf,
  needsName,
  type ObjectName,
  packName,
  parseDatabaseName,
  parseGeneration,
  parseObjectName,
  type RangeName,
  type RangeObjectName,
  type SnapshotObjectName,
  segmentName,
  snapshotName,
  stateName,
} from "./names.ts";
export { formatNeeds, type GenerationNeeds, type Needs, parseHolds, parseNeeds } from "./needs.ts";
export { decodePack, decodePackIndex, encodePack, type PackEntry } from "./pack.ts";
export { type OpenPointOptions, openPointPages, type PointPages } from "./point-pages.ts";
export { type Point, pointAt, points, pointsOf, type Reach, reachOf } from "./points.ts";
export { type EndJson, type PointJson, pointJson, type TimelineJson, timelineJson } from "./points-json.ts";
export {
  checkRestoreInPlace,
  isAcknowledged,
  type Profile,
  type ProfileHints,
  type ProfileName,
  profileNames,
  profileOf,
} from "./profiles.ts";
export { createReaderRanking, type RankingOptions, type ReaderRanking } from "./reader-ranking.ts";
export type { ReaderSpeed } from "./reader-speed.ts";
export {
  executeRestore,
  type RestoreBase,
  type RestoreOptions,
  type RestoreProgress,
  type RestoreResult,
} from "./restore.ts";
export {
  type PlanOptions,
  type PlanStep,
  planRestore,
  type RestorePlan,
  type RestoreTarget,
} from "./restore-plan.ts";
export { predictRestore, type RestoreWork } from "./restore-prediction.ts";
export { type Edge, edgesOf, type RouteStep, shortestRoute } from "./restore-route.ts";
export {
  decodeSegment,
  decodeSegmentAsync,
  decodeSegmentStream,
  type EncodeSegmentOptions,
  encodeSegment,
  encodeSegmentAsync,
  type Segment,
  type SegmentInput,
} from "./segment.ts";
export {
  collectSegmentFile,
  decodeSegmentFile,
  encodeSegmentFile,
  type SegmentFile,
  withReceived,
} from "./segment-file.ts";
export {
  decodeSegmentHeader,
  encodeSegmentHeader,
  type SegmentHeader,
  type SegmentState,
  segmentAttrs,
  segmentState,
} from "./segment-header.ts";
export type { PageFrame } from "./segment-payload.ts";
export { openSegment, readSegmentHeader, type SegmentRanges } from "./segment-range.ts";
export { verifySegmentStream } from "./segment-verify.ts";
export {
  type DecodedSnapshot,
  type DecodeSnapshotOptions,
  decodeSnapshot,
  decodeSnapshotFile,
  decodeSnapshotHeader,
  type EncodedSnapshot,
  type EncodeSnapshotOptions,
  encodeSnapshot,
  encodeSnapshotFile,
  encodeSnapshotHeader,
  openSnapshot,
  type RandomReader,
  readSnapshotHeader,
  readSnapshotRange,
  type SnapshotFile,
  type SnapshotHeader,
  type SnapshotInput,
  type SnapshotRanges,
  type Spool,
} from "./snapshot.ts";
export {
  encodeStandbyNote,
  leftMax,
  parseStandbyNote,
  type StandbyNote,
  type StandbyState,
} from "./standby-json.ts";
export {
  createStateSum,
  formatStateHash,
  parseStateHash,
  type StateHash,
  type StateSum,
} from "./state-hash.ts";
export {
  type GenerationTimeline,
  type Granularity,
  type Hole,
  type Stretch,
  timelineOf,
} from "./timeline.ts";
export { formatTxId, parseTxId, type TxId, txId } from "./txid.ts";
export { inlineWorkbench, type RestoreSink, type Workbench } from "./workbench.ts";
export { createXxh3, pageDigestBytes, type Xxh3 } from "./xxh3.ts";
export { zstdCompress, zstdCompressSync, zstdDecompress, zstdDecompressSync } from "./zstd.ts";
