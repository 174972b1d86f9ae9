// A deployment in this process, on a local AWS: its queues and buckets, the handlers themselves, and tokens. One for each process, since
// handlers read their environment when they are imported.

import { generateKeyPairSync, randomBytes } from "node:crypto";
import { becomeLambda, contextFor, type FunctionUrl, localQueues, serveFunctionUrl } from "./lambda.ts";
import { pageferryOk } from "./pageferry.ts";
import type { startMinistack } from "./servers/ministack.ts";
import { temporaryDirectory } from "./temporary.ts";

type Ministack = Awaited<ReturnType<typeof startMinistack>>;

export type TaskName = "compact" | "prune" | "verify" | "repair";

/** What a schedule's function answers. */
export interface TurnsAnswer {
  readonly done: readonly string[];
  readonly failed: readonly unknown[];
  readonly left: readonly string[];
}

export interface Deployment extends FunctionUrl {
  readonly replicaBuckets: readonly string[];
  readonly labels: readonly string[];
  readonly stageBucket: string;
  readonly queues: ReturnType<typeof localQueues>;
  readonly queueUrls: Readonly<Record<"ingest" | "dead-ingest" | "lane" | "dead-lane", string>>;
  /** By their scopes. */
  readonly tokens: Readonly<Record<string, string>>;
  /** Hands what waits in the ingest queue to the fan-out function. */
  fanOut(): Promise<number>;
  /** As its schedule does. */
  run(task: TaskName, event?: object, timeoutMs?: number): Promise<TurnsAnswer>;
}

export interface DeploymentOptions {
  /** Where functions reach AWS; default the local AWS itself. */
  readonly endpoint?: string;
  /** Keys of `PAGEFERRY_CONFIG`. */
  readonly config?: Readonly<Record<string, unknown>>;
  readonly replicas?: number;
  /** Of the tokens, which are for `app` alone. */
  readonly scopes: readonly string[];
}

/** A token for `app`, and what a deployment keeps of it. */
export async function makeToken(
  scopes: string,
): Promise<{ readonly token: string; readonly record: unknown }> {
  const printed = await pageferryOk(["token", "create", "--record", "--scopes", scopes, "--database", "app"]);
  return JSON.parse(printed) as { readonly token: string; readonly record: unknown };
}

/** Deploys it. */
export async function deploy(aws: Ministack, options: DeploymentOptions): Promise<Deployment> {
  const { endpoint = aws.endpoint, replicas = 1 } = options;
  const stageBucket = await aws.makeBucket();
  const replicaBuckets = await Promise.all(Array.from({ length: replicas }, () => aws.makeBucket()));
  const queues = localQueues(endpoint);
  const make = (name: string) => queues.make(`${name}-${randomBytes(4).toString("hex")}`);
  const queueUrls = {
    ...{ ingest: await make("ingest"), "dead-ingest": await make("dead-ingest") },
    ...{ lane: await make("lane"), "dead-lane": await make("dead-lane") },
  };
  const made = await Promise.all(
    options.scopes.map(async (scopes) => [scopes, await makeToken(scopes)] as const),
  );
  const labels = replicaBuckets.map((bucket) => `s3://${bucket}?endpoint=${endpoint}`);
  const [label = ""] = labels;
  const scratch = await temporaryDirectory();
  const leave = becomeLambda({
    TMPDIR: scratch.path,
    ...{ AWS_ENDPOINT_URL: endpoint, AWS_REGION: "us-east-1" },
    ...{ AWS_ACCESS_KEY_ID: "test", AWS_SECRET_ACCESS_KEY: "test" },
    PAGEFERRY_CONFIG: JSON.stringify({
      databases: [{ name: "app", path: "app.db" }],
      replicas: replicaBuckets.map((bucket) => ({ type: "s3", bucket, endpoint })),
      ...options.config,
    }),
    PAGEFERRY_DEPLOY_STAGE: "test",
    PAGEFERRY_STAGE_BUCKET: stageBucket,
    PAGEFERRY_QUEUE_URL: queueUrls.ingest,
    PAGEFERRY_LANES: JSON.stringify({ [label]: queueUrls.lane }),
    PAGEFERRY_DEAD_LETTERS: JSON.stringify({
      ingest: queueUrls["dead-ingest"],
      [label]: queueUrls["dead-lane"],
    }),
    PAGEFERRY_TOKENS: JSON.stringify(made.map(([, { record }]) => record)),
    PAGEFERRY_MANIFEST_KEY: generateKeyPairSync("ed25519")
      .privateKey.export({ type: "pkcs8", format: "der" })
      .toString("base64"),
  });
  const { handler: api } = await import("../packages/functions/src/hosts/lambda/api.ts");
  const fanOut = await import("../packages/functions/src/hosts/lambda/fan-out.ts");
  const tasks = {
    compact: await import("../packages/functions/src/hosts/lambda/compact.ts"),
    prune: await import("../packages/functions/src/hosts/lambda/prune.ts"),
    verify: await import("../packages/functions/src/hosts/lambda/verify.ts"),
    repair: await import("../packages/functions/src/hosts/lambda/repair.ts"),
  };
  const served = await serveFunctionUrl(api);
  return {
    url: served.url,
    ...{ replicaBuckets, labels, stageBucket, queues, queueUrls },
    tokens: Object.fromEntries(made.map(([scopes, { token }]) => [scopes, token])),
    fanOut: () => queues.drain(queueUrls.ingest, fanOut.handler),
    run: (task, event = {}, timeoutMs = 60_000) => tasks[task].handler(event, contextFor(timeoutMs) as never),
    async [Symbol.asyncDispose]() {
      leave();
      await served[Symbol.asyncDispose]();
      await scratch[Symbol.asyncDispose]();
    },
  };
}
