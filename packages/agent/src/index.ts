// @pageferry/agent: captures the committed transactions of a live bolt database and sends them to a queue.

export {
  type Agent,
  type AgentDatabase,
  type AgentOptions,
  type AgentStatus,
  createAgent,
  type StopOptions,
  type Unregistered,
  type UnregisterOptions,
} from "./agent.ts";
export type { AgentEvents, AgentListener } from "./agent-events.ts";
export type { Alarm } from "./alarms.ts";
export { type DatabaseLock, lockDatabase } from "./database-lock.ts";
export type { DatabaseStatus } from "./database-status.ts";
export type { Logger } from "./logger.ts";
export {
  type Controller,
  type ControllerOptions,
  type ControllerStatus,
  createController,
  type ObserverConfig,
  type ObserverOptions,
} from "./observer/controller.ts";
export type { ObservedDatabase, ObservedTransaction } from "./observer/observed-database.ts";
export { observer, type PageFlushObserverRegistration } from "./observer/observer.ts";
export type { ObserverStatus } from "./observer/observer-source.ts";
export type { PageFlushInfo, PageFlushObserver, PageFrame } from "./observer/page-flush.ts";
export { databasesMax, requireOpenFiles } from "./open-files.ts";
export { type HeldSocket, type OwnedSocketPlace, ownSocket } from "./owned-socket.ts";
export { type Queue, type QueueCallOptions, type StagedBody, throttled } from "./queue.ts";
export { type CreateQueueOptions, createQueue } from "./queues/create.ts";
export { createHttpQueue, type HttpQueueOptions } from "./queues/http.ts";
export { createSqsQueue, type SqsQueueOptions } from "./queues/sqs.ts";
export { forgetRestored, noteRestored } from "./restored-note.ts";
export { type AgentSettings, basesAtATime, defaultSettings } from "./settings.ts";
export type { Granularity } from "./shadow.ts";
export { openBoltFileSource } from "./sources/bolt-file.ts";
export type {
  AlarmEvent,
  BaseEvent,
  BeginEvent,
  BeginReason,
  BoltFileSourceOptions,
  CapturedFrame,
  CaptureEvent,
  CaptureReference,
  CaptureSource,
  DeltaEvent,
} from "./sources/capture-event.ts";
export {
  openShadowDirectorySource,
  type ShadowDirectorySourceOptions,
} from "./sources/shadow-directory.ts";
