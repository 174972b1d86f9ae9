// The parts of pageferry behind the queue, by name, for those who build their own host: stores and the conformance suite
// have entries of their own (`./stores/*`, `./conformance`), and so have the routes of the API (`./routes`) and the host for one process (`./hosts/local`).

export type { Authenticate } from "./access.ts";
export { type AlarmSinks, type AlarmSinksOptions, createAlarmSinks } from "./alarm-sinks.ts";
export { type Alarm, type Alarms, createAlarms } from "./alarms.ts";
export { type ApiOptions, createApi } from "./api.ts";
export { type CompactReport, compactReplica } from "./compact.ts";
export { type ReplicaChain, type WalkChainOptions, walkChain } from "./continuity.ts";
export { type DeliverOptions, deliver, type ForkFound, type Message } from "./deliver.ts";
export { type Evidence, latestEvidence, putEvidence } from "./evidence.ts";
export { type FanoutOptions, type FanoutTarget, fanOut } from "./fanout.ts";
export {
  type HostLogger,
  type HostQueue,
  type LocalHost,
  type LocalHostConfig,
  type LocalHostOptions,
  localHost,
} from "./hosts/local.ts";
export type { ChainFinding, KnownPoint } from "./missing.ts";
export { type ProbeOptions, type ProbeResult, type ProbeStep, probeStore } from "./probe.ts";
export type { PruneReport } from "./prune.ts";
export {
  type KeptPoint,
  type PlannedRemoval,
  type PrunePlan,
  type PrunePolicy,
  planPrune,
} from "./prune-plan.ts";
export {
  type DeadLetter,
  type Delivery,
  type DurableQueue,
  type LaneDepth,
  openQueue,
  type QueueOptions,
  type Settlement,
} from "./queue.ts";
export { type RepairOptions, type RepairReport, type ReplicaRepair, repairDatabase } from "./repair.ts";
export { planRepair, type RepairCopy, type RepairPlan, type RepairPlanOptions } from "./repair-plan.ts";
export type { RepairRequest } from "./repairer.ts";
export { createReplica, type Replica, type ReplicaOptions, type SnapshotToPut } from "./replica.ts";
export type { LargeBody, PutOutcome, ReplicaItem } from "./replica-put.ts";
export {
  fileReplica,
  isArchiveRoot,
  openReplicaSet,
  type ReplicaSet,
  type ReplicaSetOptions,
  replicaSetOf,
} from "./replicas.ts";
export {
  type RestoreStandaloneConfig,
  type RestoreStandaloneOptions,
  restoreStandalone,
} from "./restore-standalone.ts";
export { type RetentionPolicy, retentionPolicy } from "./retention.ts";
export { type Grant, parseScopes, type Scope } from "./scopes.ts";
export { type Outcome, settleFanout, settleLane } from "./settle.ts";
export { buildSnapshots, type SnapshotBuild } from "./snapshot-build.ts";
export { openStage, type Stage, type StageOptions } from "./stage.ts";
export type { AlarmStatus, DatabaseStatus } from "./status.ts";
export type { ReplicaStatus } from "./status-replica.ts";
export {
  type CallOptions,
  compareNames,
  type Difference,
  isMutableName,
  type ObjectInfo,
  type RangeOptions,
  type ReplayableBody,
  type Retained,
  type Store,
  type StoreBody,
} from "./store.ts";
export { type OpenStoreOptions, openStore } from "./stores/open.ts";
export type { CompactRow, TimeReport } from "./timekeeper.ts";
export { createToken, listTokens, revokeToken } from "./token-files.ts";
export { makeToken, type NewToken, type TokenRecord } from "./tokens.ts";
export type { Verdict } from "./verdicts.ts";
export type { VerifiedStatus } from "./verified.ts";
export type { VerifyRequest } from "./verifier.ts";
export { type VerifyOptions, verifyDatabase } from "./verify.ts";
export type {
  ReplicaVerdict,
  VerifiedPoint,
  VerifyCursor,
  VerifyDepth,
  VerifyProblem,
  VerifyReport,
} from "./verify-report.ts";
