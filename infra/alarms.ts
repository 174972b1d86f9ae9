// Alarms that do not depend on the functions being well: dead letters, a queue that is not emptied, functions that fail.

import { capital, type Deployment } from "./deployment.ts";
import type { Functions } from "./function.ts";
import { ingestRetentionSeconds, laneRetentionSeconds, type Queues } from "./queue.ts";

const periodSeconds = 300;

interface AlarmOptions {
  readonly description: string;
  readonly namespace: "AWS/SQS" | "AWS/Lambda";
  readonly metric: string;
  readonly dimensions: Readonly<Record<string, $util.Input<string>>>;
  readonly statistic: "Maximum" | "Sum";
  /** Raised above it. */
  readonly threshold: number;
}

export function createAlarms(deployment: Deployment, queues: Queues, functions: Functions): void {
  const named = [
    { key: "Ingest", queue: queues.ingest, dead: queues.ingestDead, retention: ingestRetentionSeconds },
    ...queues.lanes.map(({ place, queue, dead }) => ({
      ...{ key: `${place.key}Lane`, queue, dead, retention: laneRetentionSeconds },
    })),
  ];
  for (const { key, queue, dead, retention } of named) {
    raise(deployment, `${key}DeadLetters`, {
      description:
        "Messages that could not be delivered: see why, then `pageferry replay`. They end after 14 days.",
      metric: "ApproximateNumberOfMessagesVisible",
      ...ofQueue(dead),
      threshold: 0,
    });
    raise(deployment, `${key}Age`, {
      description: "The oldest message has spent half of the time that the queue keeps it.",
      metric: "ApproximateAgeOfOldestMessage",
      ...ofQueue(queue),
      threshold: retention / 2,
    });
  }
  for (const [key, failing] of Object.entries(functions)) {
    raise(deployment, `${key}Errors`, {
      description: "The function ended with an error; its log says which.",
      ...{ namespace: "AWS/Lambda", metric: "Errors", statistic: "Sum", threshold: 0 },
      dimensions: { FunctionName: failing.name },
    });
  }
}

function ofQueue(queue: sst.aws.Queue): Pick<AlarmOptions, "namespace" | "dimensions" | "statistic"> {
  return {
    namespace: "AWS/SQS",
    dimensions: { QueueName: queue.nodes.queue.name },
    statistic: "Maximum",
  };
}

function raise({ name, args, child }: Deployment, key: string, options: AlarmOptions): void {
  const { description, namespace, metric, dimensions, statistic, threshold } = options;
  const actions = args.alarmTopic === undefined ? [] : [args.alarmTopic];
  new aws.cloudwatch.MetricAlarm(
    `${name}${capital(key)}Alarm`,
    {
      ...{ namespace, dimensions: { ...dimensions }, statistic, threshold },
      alarmDescription: description,
      metricName: metric,
      comparisonOperator: "GreaterThanThreshold",
      period: periodSeconds,
      evaluationPeriods: 1,
      // An idle queue reports nothing, and nothing is well.
      treatMissingData: "notBreaching",
      alarmActions: actions,
      okActions: actions,
    },
    child,
  );
}
