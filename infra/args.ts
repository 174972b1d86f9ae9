// What a team says of its deployment. Everything that is not said has a default that loses nothing.

import type { Replica } from "./replicas.ts";

/**
 * Who a host that sends is. In this order of preference: a role of the machine it runs on; short-lived credentials for a
 * certificate (Roles Anywhere) or a token of another provider (OIDC); a pageferry token over HTTPS, without an AWS identity;
 * a static key, which is a password that lies about.
 */
export type AgentIdentity =
  | { readonly type: "instance-role" }
  /** A role that is there, such as an ECS task's: it is given the policy. */
  | { readonly type: "existing-role"; readonly role: string }
  | { readonly type: "roles-anywhere"; readonly trustAnchor: string; readonly commonName: string }
  | {
      readonly type: "oidc";
      /** The ARN of the identity provider in IAM. */
      readonly provider: string;
      readonly audience: string;
      readonly subject: string;
    }
  /** Made with `pageferry token create --scopes agent --record`, and kept in the secret `<name>Tokens`. */
  | { readonly type: "token" }
  | { readonly type: "static-key" };

/** A host that sends. */
export interface Agent {
  /** The databases that it may add to: names of the deployment's `databases`. */
  readonly databases: readonly string[];
  readonly identity: AgentIdentity;
}

/** `rate(1 hour)`, `cron(0 3 * * ? *)`, or `false` for never. */
export type Schedule = `rate(${string})` | `cron(${string})` | false;

/** When what is not asked for runs. */
export interface Schedules {
  /** Merges old segments, builds snapshots, and looks for gaps, growth and silent agents. Default `rate(5 minutes)`. */
  readonly compact?: Schedule;
  /** Deletes what no kept point needs. Default `rate(1 hour)`. */
  readonly prune?: Schedule;
  /** Restores the newest and a random point, and keeps the evidence. Default `rate(1 day)`. */
  readonly verify?: Schedule;
  /** Copies what one replica has and another lacks. Default `rate(6 hours)`. */
  readonly repair?: Schedule;
}

/** Keys of docs/operations.md that a deployment may set; their meaning and defaults are there. */
export interface Settings {
  readonly snapshotInterval?: string;
  readonly retention?: Readonly<Record<string, string | number>>;
  readonly compaction?: { readonly levels: readonly string[] } | "off";
  readonly verifyInterval?: string;
  readonly dataLossWindowThreshold?: string;
  readonly granularity?: "interval" | "transaction";
  readonly storageBytesMax?: string | number;
  readonly inspect?: boolean;
  readonly alarms?: Readonly<Record<string, unknown>>;
}

/** How many of a function run at once: a flood costs no more than this. */
export interface Concurrency {
  /** Default 10. At least 2, as AWS wants it. */
  readonly fanOut?: number;
  /** Of each lane. Default 2. */
  readonly lane?: number;
  /** Reserved for the API. Default 20; `false` reserves none, for accounts whose limit is too small to reserve from. */
  readonly api?: number | false;
}

/** The deployment. */
export interface PageferryArgs {
  /** The names of the databases, as the agents call them. */
  readonly databases: readonly string[];
  /** By a short name of letters and digits, which resources are called by: renaming one makes it another replica. */
  readonly replicas: Readonly<Record<string, Replica>>;
  /** By a short name of letters and digits. */
  readonly agents?: Readonly<Record<string, Agent>>;
  readonly schedules?: Schedules;
  /** What `${NAME}` in a replica stands for: `{ NATS_PASSWORD: new sst.Secret("NatsPassword") }`. */
  readonly secrets?: Readonly<Record<string, sst.Secret>>;
  readonly settings?: Settings;
  readonly concurrency?: Concurrency;
  /** Where the API is reached, through CloudFront. Without: at the URL that AWS gives the function. */
  readonly domain?: sst.aws.RouterArgs["domain"];
  /** Needed for replicas in a private network; it must have a way out to SQS and S3. */
  readonly vpc?: sst.aws.FunctionArgs["vpc"];
  /** An SNS topic that alarms are sent to. Without: they are only shown. */
  readonly alarmTopic?: $util.Input<string>;
  /** Where the functions' bundles are, relative to the root of the app. Default: those of this package. */
  readonly handlers?: string;
  /** `true`: `sst remove` deletes queues with what they hold, and buckets once they are empty. Default `false`, in every stage. */
  readonly deleteWithStage?: boolean;
}
