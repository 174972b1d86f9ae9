// Alarms that do not depend on the functions being well (dead letters, a queue that is not emptied, functions that fail), and one for
// every alarm that a function raises itself.

import { capital, type Deployment } from "./deployment.ts";
import type { Functions } from "./function.ts";
import { ingestRetentionSeconds, laneRetentionSeconds, type Queues } from "./queue.ts";

const periodSeconds = 300;
const raisedNamespace = "pageferry/alarms";

interface AlarmOptions {
  readonly description: string;
  readonly namespace: string;
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
  raise(deployment, "Raised", {
    description:
      "A function raised an alarm: search the logs of this deployment for its line, which says what to do.",
    ...{ metric: countRaised(deployment, functions), namespace: raisedNamespace, dimensions: {} },
    ...{ statistic: "Sum", threshold: 0 },
  });
}

/** Counts, over all functions, the lines of their logs that say that an alarm was raised. Returns the metric's name. */
function countRaised({ name, child }: Deployment, functions: Functions): string {
  const metric = `${$app.name}-${$app.stage}-${name}-raised`;
  for (const [key, telling] of Object.entries(functions)) {
    new aws.cloudwatch.LogMetricFilter(
      `${name}${capital(key)}Raised`,
      {
        logGroupName: telling.nodes.logGroup.apply((group) => group?.name ?? $output("")),
        pattern: '{ ($.level = "ERROR") && ($.alarm.code = "*") }',
        metricTransformation: { namespace: raisedNamespace, name: metric, value: "1" },
      },
      child,
    );
  }
  return metric;
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
