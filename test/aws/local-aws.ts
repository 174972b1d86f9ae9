// A whole deployment on a local AWS: the bundles as functions of its Lambda, its queues as what triggers them, staging and one replica in its S3,
// another in a real NATS server. The API is served in this process, by the same handler.

import { execFile } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { CreateQueueCommand, SQSClient } from "@aws-sdk/client-sqs";
import { parseConfig, type ReplicaConfig, replicaLabel } from "@pageferry/format";
import { becomeLambda, type FunctionUrl, serveFunctionUrl } from "../lambda.ts";
import { makeToken } from "../lambda-deployment.ts";
import { startMinistack } from "../servers/ministack.ts";
import { startNats } from "../servers/nats.ts";
import { temporaryDirectory } from "../temporary.ts";

const repository = new URL("../..", import.meta.url).pathname;
const run = promisify(execFile);
const keys = { accessKeyId: "test", secretAccessKey: "test" };

/** Lambda's tests need not verify signatures, but what they name. */
const authorization =
  "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/lambda/aws4_request, SignedHeaders=host, Signature=00";

export type ScheduledName = "compact" | "prune" | "verify" | "repair";

export interface LocalAws extends FunctionUrl {
  readonly pid: number;
  readonly sqs: SQSClient;
  /** Agents send to `entry`, which nothing takes from: a test hands on, to `ingest`, as it likes. */
  readonly queueUrls: Readonly<Record<"entry" | "ingest" | "dead-ingest", string>>;
  /** What an agent is started with. */
  readonly agent: {
    readonly arguments: readonly string[];
    readonly env: Readonly<Record<string, string>>;
  };
  readonly tokens: Readonly<Record<"restore" | "agent" | "admin", string>>;
  readonly replicas: readonly ReplicaConfig[];
  /** As its schedule does; what the function answers. */
  schedule(name: ScheduledName, event?: object): Promise<unknown>;
}

/** Starts and deploys it all. Once in a process: handlers read their environment when they are imported. */
export async function startLocalAws(config: Readonly<Record<string, unknown>>): Promise<LocalAws> {
  await using undo = new AsyncDisposableStack();
  const directory = undo.use(await temporaryDirectory());
  const aws = undo.use(await startMinistack());
  const nats = undo.use(await startNats());
  await run(process.execPath, [join(repository, "packages/functions/build/lambda.mjs"), directory.path], {
    cwd: repository,
  });
  const { endpoint } = aws;
  const sqs = new SQSClient({ endpoint, region: "us-east-1", credentials: keys });
  undo.defer(() => sqs.destroy());
  const make = (name: string, Attributes: Record<string, string> = {}) => makeQueue(sqs, name, Attributes);
  const [stageBucket, replicaBucket] = [await aws.makeBucket(), await aws.makeBucket()];
  const written = [
    { type: "s3", ...aws.entry(replicaBucket), region: "us-east-1" },
    { type: "nats", url: nats.url, bucket: "backups", createBucket: true },
  ];
  const { replicas } = parseConfig({ replicas: written });
  const [s3Label = "", natsLabel = ""] = replicas.map(replicaLabel);
  const deadIngest = await make("dead-ingest");
  const queueUrls = {
    ...{ entry: await make("entry"), ingest: await make("ingest", redrive("dead-ingest")) },
    "dead-ingest": deadIngest,
  };
  const dead = { [s3Label]: await make("dead-s3"), [natsLabel]: await make("dead-nats") };
  const lanes = {
    [s3Label]: await make("lane-s3", redrive("dead-s3")),
    [natsLabel]: await make("lane-nats", redrive("dead-nats")),
  };
  const made = {
    restore: await makeToken("read,restore"),
    agent: await makeToken("agent"),
    admin: await makeToken("admin"),
  };
  const manifestKey = generateKeyPairSync("ed25519");
  const publicKey = manifestKey.publicKey.export({ type: "spki", format: "der" }).toString("base64");
  const env = {
    ...{ AWS_ENDPOINT_URL: endpoint, AWS_REGION: "us-east-1" },
    ...{ AWS_ACCESS_KEY_ID: "test", AWS_SECRET_ACCESS_KEY: "test" },
    PAGEFERRY_CONFIG: JSON.stringify({
      ...{ databases: [{ name: "app", path: "app.db" }], replicas: written },
      ...config,
    }),
    PAGEFERRY_DEPLOY_STAGE: "test",
    PAGEFERRY_STAGE_BUCKET: stageBucket,
    PAGEFERRY_QUEUE_URL: queueUrls.ingest,
    PAGEFERRY_LANES: JSON.stringify(lanes),
    PAGEFERRY_DEAD_LETTERS: JSON.stringify({ ingest: deadIngest, ...dead }),
    PAGEFERRY_TOKENS: JSON.stringify(Object.values(made).map(({ record }) => record)),
    PAGEFERRY_MANIFEST_KEY: manifestKey.privateKey
      .export({ type: "pkcs8", format: "der" })
      .toString("base64"),
  };
  const lambda = (path: string, body: object) => callLambda(endpoint, path, body);
  for (const name of ["fan-out", "lane", "compact", "prune", "verify", "repair"]) {
    const zip = directory.file(`${name}.zip`);
    await run("python3", ["-m", "zipfile", "-c", zip, "."], { cwd: directory.file(name) });
    await lambda("functions", {
      ...{ FunctionName: name, Runtime: "nodejs24.x", Handler: "handler.handler", Timeout: 60 },
      ...{ Role: "arn:aws:iam::000000000000:role/r", MemorySize: 512 },
      ...{ Code: { ZipFile: (await readFile(zip)).toString("base64") }, Environment: { Variables: env } },
    });
  }
  const trigger = (queue: string, FunctionName: string) =>
    lambda("event-source-mappings", {
      ...{ FunctionName, BatchSize: 10, FunctionResponseTypes: ["ReportBatchItemFailures"] },
      EventSourceArn: `arn:aws:sqs:us-east-1:000000000000:${queue}`,
    });
  await trigger("ingest", "fan-out");
  await trigger("lane-s3", "lane");
  await trigger("lane-nats", "lane");
  becomeLambda(env);
  const { handler } = await import("../../packages/functions/src/hosts/lambda/api.ts");
  const api = undo.use(await serveFunctionUrl(handler));
  const parts = undo.move();
  return {
    ...{ url: api.url, pid: aws.pid, sqs, queueUrls, replicas },
    agent: {
      arguments: [
        ...["--queue", `sqs://000000000000/entry?endpoint=${endpoint}`],
        ...["--staging", `s3://${stageBucket}?endpoint=${endpoint}`],
      ],
      // This process is a function, too; the agent is none.
      env: {
        PAGEFERRY_CONFIG: "",
        PAGEFERRY_MANIFEST_KEY: publicKey,
        AWS_ACCESS_KEY_ID: "test",
        AWS_SECRET_ACCESS_KEY: "test",
        AWS_REGION: "us-east-1",
      },
    },
    tokens: { restore: made.restore.token, agent: made.agent.token, admin: made.admin.token },
    schedule: (name, event = {}) => lambda(`functions/${name}/invocations`, event),
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  };
}

function redrive(dead: string): Record<string, string> {
  const deadLetterTargetArn = `arn:aws:sqs:us-east-1:000000000000:${dead}`;
  return {
    VisibilityTimeout: "5",
    RedrivePolicy: JSON.stringify({ deadLetterTargetArn, maxReceiveCount: 20 }),
  };
}

async function makeQueue(sqs: SQSClient, QueueName: string, Attributes: Record<string, string>) {
  const { QueueUrl = "" } = await sqs.send(new CreateQueueCommand({ QueueName, Attributes }));
  return QueueUrl;
}

async function callLambda(endpoint: string, path: string, body: object): Promise<unknown> {
  const answer = await fetch(`${endpoint}/2015-03-31/${path}`, {
    method: "POST",
    headers: { authorization, "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  const text = await answer.text();
  const failure = answer.headers.get("x-amz-function-error");
  if (!answer.ok || failure !== null)
    throw new Error(`${path}: ${answer.status} ${failure} ${text.slice(0, 2000)}`);
  return text === "" ? null : JSON.parse(text);
}
