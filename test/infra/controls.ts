// Each rule, broken once: a text of the deployment's source that stands for another, and the rules that must see it.

import type { Mutation } from "./program.ts";

export interface Control extends Mutation {
  /** The rules that fail, by their sentences. */
  readonly breaks: readonly string[];
}

const table = (name: string) => `${name} may do what is in its table, and nothing else`;

const dataControls: readonly Control[] = [
  {
    ...{
      file: "infra/queue.ts",
      from: "ingestRetentionSeconds: number = 4 *",
      to: "ingestRetentionSeconds: number = 1 *",
    },
    breaks: ["the queue keeps 4 days, lanes and dead letters 14"],
  },
  {
    ...{ file: "infra/queue.ts", from: "maxMessageSize: messageBytesMax,", to: "" },
    breaks: ["every queue takes the largest message there is, encrypted"],
  },
  {
    ...{ file: "infra/queue.ts", from: "return 6 * timeoutSeconds", to: "return 5 * timeoutSeconds" },
    breaks: ["a message is hidden for six times its function's timeout, and the window"],
  },
  {
    ...{ file: "infra/queue.ts", from: "const ingestReceives = 20", to: "const ingestReceives = 3" },
    breaks: ["what fails at least five times goes to the queue's own dead letters, long before it ends"],
  },
  {
    ...{ file: "infra/queue.ts", from: "const laneReceives = 560", to: "const laneReceives = 1000" },
    breaks: ["what fails at least five times goes to the queue's own dead letters, long before it ends"],
  },
  {
    ...{ file: "infra/fan-out.ts", from: "window: `${windowSeconds} seconds`,", to: "" },
    breaks: ["fan-out waits 20 s for a batch that ends at 6 MB, and answers for each message"],
  },
  {
    ...{ file: "infra/lanes.ts", from: ", partialResponses: true", to: "" },
    breaks: ["every consumer reports partial failures, and no flood runs more than a bound"],
  },
  {
    ...{ file: "infra/fan-out.ts", from: "maximumConcurrency:", to: "maximumConcurrent:" },
    breaks: ["every consumer reports partial failures, and no flood runs more than a bound"],
  },
  {
    ...{
      file: "infra/lanes.ts",
      from: "consumer.arn,",
      to: 'consumer.arn.apply((arn) => arn.replace("Vault", "Main")),',
    },
    breaks: ["each lane has its own function"],
  },
  {
    ...{ file: "infra/pageferry.ts", from: "args.deleteWithStage !== true", to: '$app.stage === "staging"' },
    breaks: ["queues and buckets are kept when the stage is removed"],
  },
  {
    ...{
      file: "infra/storage.ts",
      from: "const neverEmptied = { forceDestroy: false }",
      to: "const neverEmptied = {}",
    },
    breaks: ["no bucket is ever emptied"],
  },
  {
    ...{ file: "infra/storage.ts", from: "versioning: true,", to: "" },
    breaks: ["replicas are versioned, and what was deleted is kept for a week"],
  },
  {
    ...{
      file: "infra/storage.ts",
      from: "expiration: { expiredObjectDeleteMarker: true }",
      to: "expiration: { days: 7 }",
    },
    breaks: [
      "replicas are versioned, and what was deleted is kept for a week",
      "nothing in a replica ends by its age",
    ],
  },
  {
    ...{ file: "infra/storage.ts", from: "[...rules, abandonedUploads]", to: "[...rules]" },
    breaks: ["abandoned uploads are removed from every bucket"],
  },
  {
    ...{ file: "infra/storage.ts", from: 'prefix: "stage/", expiresIn', to: "expiresIn" },
    breaks: ["staged bodies live 21 days, longer than any message; notes stay"],
  },
  {
    ...{ file: "infra/storage.ts", from: "objectLockEnabled: locked", to: "objectLockEnabled: false" },
    breaks: ["object lock is there where it is asked for"],
  },
  {
    ...{
      file: "infra/storage.ts",
      from: "cors: false,\n      versioning",
      to: "enforceHttps: false,\n      versioning",
    },
    breaks: ["no bucket is public, or speaks without TLS, or to another site's pages"],
  },
  {
    ...{ file: "infra/storage.ts", from: 'paths: ["stage/*"],', to: 'paths: ["staged/*"],' },
    breaks: ["what is staged is never replaced, whoever asks"],
  },
];

const rightsControls: readonly Control[] = [
  {
    ...{ file: "infra/fan-out.ts", from: '...canPut(within(storage.replicas, ["*"])),', to: "" },
    breaks: [table("BackupFanOut")],
  },
  {
    ...{ file: "infra/lanes.ts", from: "canReadReplicas([place])", to: "canReadReplicas(storage.replicas)" },
    breaks: [table("BackupMainLaneConsumer"), table("BackupVaultLaneConsumer")],
  },
  {
    file: "infra/schedules.ts",
    from: 'memoryMiB: 2048,\n    diskMiB,\n    grants: (replicas) => canPut(within(replicas, ["*"]))',
    to: 'memoryMiB: 2048,\n    diskMiB,\n    grants: (replicas) => canDelete(within(replicas, ["*"]))',
    breaks: [table("BackupCompact"), "only prune may delete, and nobody may delete a version"],
  },
  {
    ...{ file: "infra/schedules.ts", from: '["marks/*", "leases/*", "_state.json"]', to: '["*"]' },
    breaks: [table("BackupPrune")],
  },
  {
    ...{ file: "infra/schedules.ts", from: '["evidence/*"]', to: '["*"]' },
    breaks: [table("BackupVerify")],
  },
  {
    file: "infra/schedules.ts",
    from: "memoryMiB: 1024,\n    diskMiB,\n    grants: (replicas) => canPut(",
    to: "memoryMiB: 1024,\n    diskMiB,\n    grants: (replicas) => canDelete(",
    breaks: [table("BackupRepair"), "only prune may delete, and nobody may delete a version"],
  },
  {
    ...{ file: "infra/api.ts", from: '["leases/*", "pins/*"]', to: '["*"]' },
    breaks: [table("BackupApi")],
  },
  {
    ...{ file: "infra/grants.ts", from: '["s3:GetObject"]', to: '["s3:*"]' },
    breaks: ["no identity has a wildcard for an action, or for all resources"],
  },
  {
    ...{ file: "infra/grants.ts", from: "resources: [...resources] }", to: 'resources: ["*"] }' },
    breaks: ["no identity has a wildcard for an action, or for all resources"],
  },
  {
    file: "infra/function.ts",
    from: "dev: false,",
    to: 'dev: false, policies: ["arn:aws:iam::aws:policy/AmazonS3FullAccess"],',
    breaks: ["a function's role may write logs besides, and nothing else of AWS's own policies"],
  },
  {
    ...{ file: "infra/function.ts", from: "transform: { role: trustLambdaAlone },", to: "" },
    breaks: ["a role trusts one service, and never the account"],
  },
  {
    ...{
      file: "infra/schedules.ts",
      from: "function: run.arn",
      to: "function: run.arn.apply((arn) => `${arn}-2`)",
    },
    breaks: ["a schedule may start its own function", "prune, compact, verify and repair run by the clock"],
  },
  {
    ...{ file: "infra/agents.ts", from: "/stage/${database}/*`)", to: "/stage/*`)" },
    breaks: ["an agent may send to one queue and stage for its own databases"],
  },
  {
    ...{
      file: "infra/agents.ts",
      from: 'actions: ["s3:PutObject"]',
      to: 'actions: ["s3:PutObject", "s3:GetObject"]',
    },
    breaks: ["an agent may send to one queue and stage for its own databases"],
  },
  {
    ...{ file: "infra/pageferry.ts", from: ", ...agents.senders]", to: "]" },
    breaks: ["a sender is bound to its databases; the API has asked for a token"],
  },
];

const functionControls: readonly Control[] = [
  {
    ...{ file: "infra/schedules.ts", from: "return [[name, run]];", to: "return [];" },
    breaks: ["dead letters, a queue that is half too old, and a function's errors raise an alarm"],
  },
  {
    ...{ file: "infra/alarms.ts", from: "threshold: retention / 2", to: "threshold: retention" },
    breaks: ["dead letters, a queue that is half too old, and a function's errors raise an alarm"],
  },
  {
    ...{ file: "infra/alarms.ts", from: "$.alarm.code", to: "$.alarms.code" },
    breaks: ["an alarm that any function writes into its log raises one"],
  },
  {
    ...{ file: "infra/schedules.ts", from: "if (schedule === false)", to: 'if (name === "verify")' },
    breaks: ["there is a function for each task, of a bundle that exports its handler"],
  },
  {
    ...{ file: "infra/handlers.ts", from: "rmSync(copy, { recursive: true, force: true });", to: "" },
    breaks: ["a bundle is what was built, and nothing that earlier commands left"],
  },
  {
    ...{ file: "infra/handlers.ts", from: "basename(source) !== typesFile", to: "true" },
    breaks: ["a bundle is what was built, and nothing that earlier commands left"],
  },
  {
    ...{ file: "infra/function.ts", from: '"nodejs24.x"', to: '"nodejs22.x"' },
    breaks: ["functions run on Node 24, with time and room for their task"],
  },
  {
    ...{ file: "infra/environment.ts", from: "packWindow:", to: "packWindows:" },
    breaks: ["the functions understand what they are told"],
  },
  {
    ...{ file: "infra/storage.ts", from: "replicaLabel(replica, bucket)", to: "`s3://${key}`" },
    breaks: ["lanes and dead letters are told by the replicas' labels"],
  },
  {
    ...{ file: "infra/fan-out.ts", from: "PAGEFERRY_SENDERS: senders,", to: 'PAGEFERRY_TOKENS: "[]",' },
    breaks: ["only the API knows tokens, only fan-out who sends"],
  },
  {
    file: "infra/environment.ts",
    from: "if (bytes > environmentBytesMax)",
    to: 'told.push(["PAD", "x".repeat(3500)]);\n    if (bytes < 0)',
    breaks: ["the environment is within what AWS takes"],
  },
  {
    ...{
      file: "infra/api.ts",
      from: '{ authorization: "none", cors: false }',
      to: '{ authorization: "none" }',
    },
    breaks: ["the API alone has a URL: streamed, without CORS, and without AWS's authorization"],
  },
  {
    ...{
      file: "infra/api.ts",
      from: "const concurrencyDefault = 20",
      to: "const concurrencyDefault = false",
    },
    breaks: ["the API alone has a URL: streamed, without CORS, and without AWS's authorization"],
  },
  {
    ...{
      file: "infra/function.ts",
      from: "dev: false,",
      to: 'dev: false, logging: { retention: "forever" },',
    },
    breaks: ["logs end after a month"],
  },
  {
    ...{ file: "sst.config.ts", from: 'protect: input.stage === "production"', to: "protect: false" },
    breaks: ["production is protected, and keeps what it has"],
  },
  {
    ...{ file: "infra/pageferry.ts", from: "getSSTLink()", to: "getLink()" },
    breaks: ["what a team needs to go on is put out, and linked"],
  },
];

export const controls: readonly Control[] = [...dataControls, ...rightsControls, ...functionControls];
