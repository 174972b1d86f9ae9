// What a function tells of itself: one line of JSON for each event, and metrics in CloudWatch's embedded format, which are lines
// of its log, too. Alarms are both. The only importer of Powertools; why there is no tracer is docs/decisions/0014.

import { Logger } from "@aws-lambda-powertools/logger";
import { Metrics, MetricUnit } from "@aws-lambda-powertools/metrics";
import type { Alarms } from "../../alarms.ts";
import { createNotedAlarms } from "../../noted-alarms.ts";
import type { Notes } from "../../notes.ts";
import type { HostLogger } from "../local.ts";

/** Metrics that a deployment's dashboards and alarms are made of, with their units. docs/aws.md has a row for each. */
const metricUnits = {
  /** Messages taken from a queue. */
  Received: MetricUnit.Count,
  /** Messages that are done: stored by every replica, or on in a lane. */
  Done: MetricUnit.Count,
  /** Messages that went on in a replica's lane. */
  Laned: MetricUnit.Count,
  /** Messages that were refused, or given up. */
  DeadLettered: MetricUnit.Count,
  /** Messages that come again. */
  Retried: MetricUnit.Count,
  /** Objects and bytes that replicas took. */
  Puts: MetricUnit.Count,
  PutBytes: MetricUnit.Bytes,
  /** From a commit until every replica had it, or its lane. */
  Lag: MetricUnit.Milliseconds,
  /** Alarms that were raised, by their code. */
  Alarm: MetricUnit.Count,
} as const;

export type MetricName = keyof typeof metricUnits;

export interface Telemetry {
  readonly log: HostLogger;
  /** Each is logged, and counted by its code, when it is raised. */
  readonly alarms: Alarms;
  add(metric: MetricName, value: number): void;
  /** Writes what was added; to be called before an invocation ends. */
  flush(): void;
}

export interface TelemetryOptions {
  /** The function: `fan-out`, `lane`. */
  readonly name: string;
  readonly deployStage: string;
  readonly now: () => number;
  /** Keep alarms for other functions, and for people. */
  readonly notes: Notes;
}

export function createTelemetry({ name, deployStage, now, notes }: TelemetryOptions): Telemetry {
  const logger = new Logger({ serviceName: `pageferry-${name}`, persistentKeys: { stage: deployStage } });
  const metrics = new Metrics({ namespace: "pageferry", serviceName: name });
  metrics.setDefaultDimensions({ stage: deployStage });
  const log: HostLogger = {
    info: (fields, message) => logger.info(message, { ...fields }),
    warn: (fields, message) => logger.warn(message, { ...fields }),
    error: (fields, message) => logger.error(message, { ...fields }),
  };
  const alarms = createNotedAlarms({
    ...{ now, notes },
    onRaised(alarm) {
      log.error({ alarm }, `alarm: ${alarm.message}`);
      const single = metrics.singleMetric();
      single.addDimension("code", alarm.code);
      single.addMetric("Alarm", metricUnits.Alarm, 1);
    },
    onCleared: (alarm) => log.info({ alarm }, `over: ${alarm.message}`),
  });
  let isEmpty = true;
  return {
    log,
    alarms,
    add(metric, value) {
      if (value <= 0) return;
      metrics.addMetric(metric, metricUnits[metric], value);
      isEmpty = false;
    },
    flush() {
      // With nothing to tell it would say so in the log.
      if (!isEmpty) metrics.publishStoredMetrics();
      isEmpty = true;
    },
  };
}
