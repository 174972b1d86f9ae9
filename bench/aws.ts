// How often AWS is asked for each commit: a live writer, an agent over SQS, and the fan-out function as AWS would call it with a window of 20 s,
// before a local AWS. The requests are counted by proxies; what they would cost is aws-cost.ts.

import { setTimeout as sleep } from "node:timers/promises";
import { readWriterLog, startWriter } from "../test/go-apps.ts";
import { contextFor, type LocalQueues } from "../test/lambda.ts";
import { deploy } from "../test/lambda-deployment.ts";
import { pageferryCommand } from "../test/pageferry.ts";
import { startProcess } from "../test/processes.ts";
import { type HttpProxy, startHttpProxy } from "../test/servers/http-proxy.ts";
import { startMinistack } from "../test/servers/ministack.ts";
import { quantile, temporaryDirectory } from "../test/temporary.ts";
import { awsMonth, type CountedRequests, putPerSegmentMonth } from "./aws-cost.ts";
import { round } from "./machine.ts";

const windowMs = 20_000;
const windows = 3;
const rates = [1, 10, 100];
/** The least that shows what the way of a commit costs: what schedules, alarms and storage cost is in docs/aws.md. */
const deployment = {
  ...{ queues: 2, alarms: 0, metrics: 0, scheduledADay: 0, scheduledMs: 0, scheduledS3Puts: 0 },
  ...{ scheduledS3Gets: 0, fanOutMemoryGib: 0.5, scheduledMemoryGib: 1, storedGib: 0 },
};

/** Requests per 1,000 transactions, dollars a month, and how late a replica is. */
export async function benchAws(): Promise<Record<string, Record<string, number>>> {
  await using aws = await startMinistack();
  await using functions = await startHttpProxy(aws.endpoint);
  const deployed = await deploy(aws, { endpoint: functions.endpoint, scopes: ["agent"] });
  await using _ = deployed;
  const results: Record<string, Record<string, number>> = {};
  for (const rate of rates) {
    await using agent = await startHttpProxy(aws.endpoint);
    results[`${rate}/s`] = await measure(rate, { agent, functions, deployed, endpoint: aws.endpoint });
  }
  return results;
}

interface Parts {
  readonly agent: HttpProxy;
  readonly functions: HttpProxy;
  readonly deployed: Awaited<ReturnType<typeof deploy>>;
  readonly endpoint: string;
}

async function measure(rate: number, parts: Parts): Promise<Record<string, number>> {
  const { agent, functions, deployed } = parts;
  await using directory = await temporaryDirectory();
  const [path, log] = [directory.file("app.db"), directory.file("app.log")];
  await using writer = await startWriter({ path, log, rate, initialMB: 1 });
  await using running = startAgent(path, directory.file("shadow"), parts);
  // The base, and what a first start asks for.
  await sleep(windowMs / 2);
  await pump(deployed);
  const since = { agent: agent.requests.length, functions: functions.requests.length };
  const begunMs = Date.now();
  const taken: Pumped[] = [];
  for (let window = 0; window < windows; window += 1) {
    await sleep(windowMs);
    taken.push(await pump(deployed));
  }
  const seconds = (Date.now() - begunMs) / 1000;
  await writer.finish();
  running.kill();
  const commits = (await readWriterLog(log)).filter(({ atMs }) => atMs >= begunMs).length;
  const sent = agent.requests.slice(since.agent);
  const asked = functions.requests.slice(since.functions);
  const counted = countOf(commits, taken, sent, asked);
  const { total, sqs, idleQueues, lambda, s3Requests } = awsMonth(rate, counted, deployment);
  const late = taken.flatMap(({ lateMs }) => lateMs);
  return {
    ...{ commits, seconds: round(seconds), ...rounded(counted) },
    ...rounded({ "SQS $": sqs, "idle queues $": idleQueues, "Lambda $": lambda, "S3 $": s3Requests }),
    ...rounded({ "$ a month": total, "$ with a PUT for each commit": putPerSegmentMonth(rate) }),
    ...rounded({ "sent to replica p50 ms": quantile(late, 0.5), "p99 ms": quantile(late, 0.99) }),
  };
}

function startAgent(path: string, shadow: string, { agent, deployed }: Parts) {
  const queue = `sqs://000000000000/${deployed.queueUrls.ingest.split("/").at(-1)}?endpoint=${agent.endpoint}`;
  const staging = `s3://${deployed.stageBucket}?endpoint=${agent.endpoint}`;
  const args = ["replicate", path, "--shadow", shadow, "--queue", queue, "--staging", staging];
  return startProcess(...pageferryCommand(args), {
    env: {
      // This process is a function, too; the agent is none.
      ...{ PAGEFERRY_CONFIG: "", PAGEFERRY_TOKEN: "", AWS_REGION: "us-east-1" },
      ...{ AWS_ACCESS_KEY_ID: "test", AWS_SECRET_ACCESS_KEY: "test" },
    },
  });
}

/** What one window came to. */
interface Pumped {
  readonly messages: readonly number[];
  readonly invocations: number;
  readonly ms: number;
  readonly logBytes: number;
  /** From the queue's acknowledgement to the end of the function's call, of each message. */
  readonly lateMs: readonly number[];
}

/** Takes what waits, as AWS does for a function: receives of ten, one call for the window, and deletes of ten. */
async function pump({ queues, queueUrls }: Parts["deployed"]): Promise<Pumped> {
  const { handler } = await import("../packages/functions/src/hosts/lambda/fan-out.ts");
  const records: Awaited<ReturnType<LocalQueues["receive"]>>[number][] = [];
  for (let some = await queues.receive(queueUrls.ingest); some.length > 0; ) {
    records.push(...some);
    some = await queues.receive(queueUrls.ingest);
  }
  const begunMs = performance.now();
  if (records.length > 0) await handler({ Records: records } as never, contextFor() as never);
  const ms = performance.now() - begunMs;
  const nowMs = Date.now();
  for (const record of records) await queues.remove(queueUrls.ingest, record);
  return {
    ...{ messages: records.map(({ body }) => body.length), invocations: Math.sign(records.length), ms },
    logBytes: 600 * Math.sign(records.length),
    lateMs: records.map(({ attributes }) => nowMs - Number(attributes.SentTimestamp ?? nowMs)),
  };
}

type Requests = HttpProxy["requests"];

/** Per 1,000 transactions. What is received is billed by the 64 KiB of ten messages together, as it comes. */
function countOf(
  commits: number,
  taken: readonly Pumped[],
  sent: Requests,
  asked: Requests,
): CountedRequests {
  const sends = sent
    .filter(({ path }) => path === "/")
    .map(({ headers }) => Number(headers["content-length"] ?? 0));
  const tens = taken.flatMap(({ messages }) =>
    Array.from({ length: Math.ceil(messages.length / 10) }, (_, at) =>
      messages.slice(at * 10, at * 10 + 10).reduce((sum, bytes) => sum + bytes, 0),
    ),
  );
  const billed = (bodies: readonly number[]) =>
    bodies.reduce((sum, bytes) => sum + Math.max(1, Math.ceil(bytes / (64 * 1024))), 0);
  const s3 = asked.filter(({ headers }) => headers["x-amz-target"] === undefined);
  const isPut = ({ method, path }: Requests[number]) =>
    method === "PUT" || method === "POST" || path.includes("list-type=2");
  const sum = (of: (one: Pumped) => number) => taken.reduce((total, one) => total + of(one), 0);
  const per1000 = (count: number) => (count / commits) * 1000;
  return {
    sqsRequests: per1000(billed(sends) + billed(tens) + tens.length),
    invocations: per1000(sum(({ invocations }) => invocations)),
    invocationMs: per1000(sum(({ ms }) => ms)),
    s3Puts: per1000(s3.filter(isPut).length + sent.filter(({ method }) => method === "PUT").length),
    s3Gets: per1000(s3.filter((one) => !isPut(one)).length),
    logBytes: per1000(sum(({ logBytes }) => logBytes)),
  };
}

function rounded(figures: object): Record<string, number> {
  return Object.fromEntries(Object.entries(figures).map(([name, value]) => [name, round(value as number)]));
}
