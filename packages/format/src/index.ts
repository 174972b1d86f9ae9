// The words of pageferry, by name: what every other part speaks. `@pageferry/format/node` holds what touches the disk.

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
} from "./archive-listing.ts";
export { type CheckMode, type CheckOptions, type CheckResult, checkDatabase } from "./bolt/check.ts";
export { parseFreelist } from "./bolt/freelist.ts";
export { logicalHash } from "./bolt/logical-hash.ts";
export {
  type DerivedMeta,
  deriveMeta,
  detectPageSize,
  encodeMetaPage,
  type Meta,
  type MetaFields,
  metaBytes,
  metaPagesFor,
  metaSlot,
  newestMeta,
  parseMeta,
} from "./bolt/meta.ts";
export {
  branchChildren,
  leafBuckets,
  type PageHeader,
  pageFlagBranch,
  pageFlagFreelist,
  pageFlagLeaf,
  pageFlagMeta,
  pageHeader,
  referencedPages,
} from "./bolt/page.ts";
export { freelistRun, livePages, type PageSource, type TreePage, treePages, walkTree } from "./bolt/tree.ts";
export {
  type Config,
  type DatabaseConfig,
  type ParseConfigOptions,
  parseConfig,
  type RestoreConfig,
  type RetentionConfig,
} from "./config.ts";
export {
  type CompressionConfig,
  type CompressionSettings,
  type CompressionType,
  compressionSettings,
  defaultCompression,
  parseCompressionConfig,
} from "./config-compression.ts";
export {
  type FileReplicaConfig,
  type NatsReplicaConfig,
  type ReplicaConfig,
  replicaLabel,
  type S3ReplicaConfig,
  type SftpReplicaConfig,
} from "./config-replica.ts";
export { formatDuration, parseDuration } from "./durations.ts";
export { type ErrorCode, errorTable, isPageferryError, PageferryError, type Remedy } from "./errors.ts";
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
  segmentName,
  snapshotName,
  stateName,
} from "./names.ts";
export { type Point, points } from "./points.ts";
export {
  type PlanOptions,
  type PlanStep,
  planRestore,
  type RestorePlan,
  type RestoreTarget,
} from "./restore-plan.ts";
export {
  decodeSegment,
  decodeSegmentAsync,
  encodeSegment,
  encodeSegmentAsync,
  type Segment,
} from "./segment.ts";
export type { PageFrame } from "./segment-payload.ts";
export {
  createStateSum,
  formatStateHash,
  parseStateHash,
  type StateHash,
  type StateSum,
} from "./state-hash.ts";
export { formatTxId, parseTxId, type TxId, txId } from "./txid.ts";
export { createXxh3, pageDigestBytes, type Xxh3 } from "./xxh3.ts";
export { zstdCompress, zstdCompressSync, zstdDecompress, zstdDecompressSync } from "./zstd.ts";
