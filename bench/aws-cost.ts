// What a deployment on AWS costs a month, from the requests that were counted for a thousand transactions. Pure: the counts come from a
// run (docs/aws.md says of which), the prices from AWS's list, and both can be put in by whoever doubts them.

/** A month of 30.4 days. */
const monthSeconds = 86_400 * 30.4;

/** USD, us-east-1, without free tiers and discounts. A request to SQS is up to 64 KiB. */
export const awsPrices = {
  sqsMillionRequests: 0.4,
  s3ThousandPuts: 0.005,
  s3ThousandGets: 0.0004,
  s3GibMonth: 0.023,
  lambdaMillionInvocations: 0.2,
  lambdaGibSecond: 0.0000133334,
  alarmMonth: 0.1,
  metricMonth: 0.3,
  logsGib: 0.5,
} as const;

export type AwsPrices = Readonly<Record<keyof typeof awsPrices, number>>;

/** Counted while a thousand transactions went from the agent into every replica. */
export interface CountedRequests {
  /** Sent, received, deleted: each 64 KiB is one. */
  readonly sqsRequests: number;
  readonly invocations: number;
  /** Of fan-out and lanes together. */
  readonly invocationMs: number;
  /** Puts and listings of all replicas, and of the notes. */
  readonly s3Puts: number;
  readonly s3Gets: number;
  readonly logBytes: number;
}

/** What a deployment is made of, and does by the clock whether or not anything is committed. */
export interface AwsDeployment {
  /** The ingest queue, and a lane for each replica. */
  readonly queues: number;
  readonly alarms: number;
  /** Custom metrics that were told in the month. */
  readonly metrics: number;
  /** A day's invocations by schedule, with what each takes. */
  readonly scheduledADay: number;
  readonly scheduledMs: number;
  readonly scheduledS3Puts: number;
  readonly scheduledS3Gets: number;
  /** GiB of the functions. */
  readonly fanOutMemoryGib: number;
  readonly scheduledMemoryGib: number;
  readonly storedGib: number;
}

/** A part of the bill for each thing that costs. */
export interface AwsMonth {
  readonly sqs: number;
  readonly idleQueues: number;
  readonly lambda: number;
  readonly s3Requests: number;
  readonly schedules: number;
  readonly watching: number;
  readonly storage: number;
  readonly total: number;
}

/** An event source asks each queue with five long polls of 20 s, also while nothing comes. */
const pollsAtOnce = 5;
const pollSeconds = 20;

/** The bill of a month with so many commits a second, in USD. */
export function awsMonth(
  commitsPerSecond: number,
  counted: CountedRequests,
  deployment: AwsDeployment,
  prices: AwsPrices = awsPrices,
): AwsMonth {
  const thousands = (commitsPerSecond * monthSeconds) / 1000;
  const sqs = (requests: number) => (requests / 1e6) * prices.sqsMillionRequests;
  const s3 = (puts: number, gets: number) =>
    (puts / 1000) * prices.s3ThousandPuts + (gets / 1000) * prices.s3ThousandGets;
  const lambda = (invocations: number, ms: number, memoryGib: number) =>
    (invocations / 1e6) * prices.lambdaMillionInvocations +
    ((ms * memoryGib) / 1000) * prices.lambdaGibSecond;
  const scheduled = deployment.scheduledADay * 30.4;
  const parts = {
    sqs: sqs(thousands * counted.sqsRequests),
    idleQueues: sqs((deployment.queues * pollsAtOnce * monthSeconds) / pollSeconds),
    lambda: lambda(
      thousands * counted.invocations,
      thousands * counted.invocationMs,
      deployment.fanOutMemoryGib,
    ),
    s3Requests: s3(thousands * counted.s3Puts, thousands * counted.s3Gets),
    schedules:
      lambda(scheduled, scheduled * deployment.scheduledMs, deployment.scheduledMemoryGib) +
      s3(scheduled * deployment.scheduledS3Puts, scheduled * deployment.scheduledS3Gets),
    watching:
      deployment.alarms * prices.alarmMonth +
      deployment.metrics * prices.metricMonth +
      ((thousands * counted.logBytes) / 2 ** 30) * prices.logsGib,
    storage: deployment.storedGib * prices.s3GibMonth,
  };
  return { ...parts, total: Object.values(parts).reduce((sum, part) => sum + part, 0) };
}

/** The same commits as one PUT each, and nothing else. */
export function putPerSegmentMonth(commitsPerSecond: number, prices: AwsPrices = awsPrices): number {
  return ((commitsPerSecond * monthSeconds) / 1000) * prices.s3ThousandPuts;
}
