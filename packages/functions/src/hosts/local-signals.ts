// What the local host tells of itself: alarms to its log and to webhooks, metrics to those who ask, heartbeats to those who
// listen for silence.

import { hostname } from "node:os";
import type { Config } from "@pageferry/format";
import { createAlarmSinks, webhookAlarm } from "../alarm-sinks.ts";
import { type Alarm, type Alarms, createAlarms } from "../alarms.ts";
import type { Databases } from "../databases.ts";
import { createHeartbeats } from "../heartbeats.ts";
import { lagSampleMs } from "../lag-history.ts";
import { lagMsDefault } from "../maintenance.ts";
import type { Metrics, MetricsText } from "../metrics.ts";
import type { DurableQueue } from "../queue.ts";
import { type ScheduledTask, startSchedule } from "../schedule.ts";
import { createStorage } from "../storage.ts";
import type { Target } from "../targets.ts";
import { packageVersion } from "../version.ts";
import { gapCount } from "../watch-gaps.ts";
import type { HostLogger } from "./local.ts";
import type { Watch } from "./local-watch.ts";

const minuteMs = 60_000;

export interface SignalsOptions {
  readonly config: Partial<
    Pick<Config, "alarms" | "databases" | "storageBytesMax" | "dataLossWindowThresholdMs">
  >;
  readonly logger: HostLogger | undefined;
  /** Told of alarms, too. */
  readonly watch?: Pick<Watch, "alarmed" | "sampleLag"> | undefined;
  readonly now: () => number;
  /** In [0, 1). */
  readonly random: () => number;
}

/** What is told of, once it is there. */
export interface SignalSources {
  readonly queue: DurableQueue;
  readonly targets: readonly Target[];
  readonly databases: Databases;
}

export interface Signals extends AsyncDisposable {
  readonly alarms: Alarms;
  readonly metrics: Metrics;
  /** Begins what comes every minute. */
  start(sources: SignalSources): StartedSignals;
}

export interface StartedSignals extends AsyncDisposable {
  metricsText(): Promise<MetricsText>;
}

/** Makes the alarms and the metrics of a host; webhooks are told from here on. */
export async function createSignals(options: SignalsOptions): Promise<Signals> {
  const { config, logger, now, random } = options;
  // Loaded by hosts alone: others who import this package shall not wait for it.
  const { createMetrics } = await import("../metrics.ts");
  const metrics = createMetrics({ version: packageVersion(), startedAtMs: now() });
  const { webhooks = [], allowPrivate = false } = config.alarms ?? {};
  const sinks = createAlarmSinks({
    ...{ webhooks, allowPrivate, random, host: hostname() },
    onTold: (result) => metrics.told("webhook", result),
    onTrouble: (message) => (message === undefined ? alarms.clear(trouble) : raiseTrouble(alarms, message)),
  });
  const log = alarmLog(logger);
  const alarms = createAlarms({
    now,
    onRaised(alarm) {
      log.raised(alarm);
      sinks.raised(alarm);
      options.watch?.alarmed(alarm, false);
    },
    onCleared(alarm) {
      log.cleared(alarm);
      sinks.cleared(alarm);
      options.watch?.alarmed(alarm, true);
    },
  });
  return {
    alarms,
    metrics,
    start: (sources) => start(sources, { ...options, alarms, metrics }),
    [Symbol.asyncDispose]: () => sinks.stop(),
  };
}

const trouble = { code: webhookAlarm };

function raiseTrouble(alarms: Alarms, message: string): void {
  alarms.raise({
    ...{ code: "webhook", message: `alarms do not reach a webhook: ${message}` },
    hint: "See `alarms.webhooks` in the configuration; what waits is told when it answers.",
  });
}

interface StartOptions extends SignalsOptions {
  readonly alarms: Alarms;
  readonly metrics: Metrics;
}

function start({ queue, targets, databases }: SignalSources, options: StartOptions): StartedSignals {
  const { config, alarms, metrics, logger, now } = options;
  const storage = createStorage({ targets, alarms, bytesMax: config.storageBytesMax ?? 0 });
  const { heartbeat: pattern, allowPrivate = false } = config.alarms ?? {};
  const heartbeats = createHeartbeats({
    ...{ own: config.databases ?? [], pattern, allowPrivate, now },
    ...{ databases: databases.databases, standing: databases.standing },
    lagMsMax: config.dataLossWindowThresholdMs || lagMsDefault,
    onTold: (result) => metrics.told("heartbeat", result),
    onFailure: (database, message) => logger?.warn({ database }, `heartbeat: ${message}`),
  });
  const hasHeartbeats =
    pattern !== undefined || (config.databases ?? []).some((one) => one.heartbeat !== undefined);
  const tasks: ScheduledTask[] = [
    { name: "storage", intervalMs: minuteMs, firstAfterMs: 0, run: storage.count },
    { name: "lag", intervalMs: lagSampleMs, firstAfterMs: 0, run: () => options.watch?.sampleLag(databases) },
  ];
  const beating = hasHeartbeats
    ? [{ name: "heartbeats", intervalMs: minuteMs, firstAfterMs: 0, run: heartbeats.beat }]
    : [];
  const schedule = startSchedule([...tasks, ...beating], options);
  return {
    metricsText: () =>
      metrics.text({
        ...{ databases: databases.databases, standing: databases.standing },
        gaps: (database) => gapCount(databases.gaps(database)),
        storedBytes: storage.bytesOf,
        queueBytes: queue.bytes,
        alarms: alarms.list,
      }),
    [Symbol.asyncDispose]: schedule.stop,
  };
}

function alarmLog(logger: HostLogger | undefined) {
  const fields = ({ message: _, ...rest }: Alarm) => rest;
  return {
    raised: (alarm: Alarm) => logger?.warn({ alarm: fields(alarm) }, alarm.message),
    cleared: (alarm: Alarm) => logger?.info({ alarm: fields(alarm) }, `over: ${alarm.message}`),
  };
}
