// The whole deployment as one component, for a team's own sst.config.ts. One file beside this one per concern.

import { type AgentAccess, createAgents, sendersJson } from "./agents.ts";
import { createAlarms } from "./alarms.ts";
import { createApi } from "./api.ts";
import type { PageferryArgs } from "./args.ts";
import { checkArgs } from "./checks.ts";
import type { Deployment } from "./deployment.ts";
import { commonVariables } from "./environment.ts";
import { createFanOut } from "./fan-out.ts";
import { createLanes } from "./lanes.ts";
import { createQueues } from "./queue.ts";
import { createSchedules } from "./schedules.ts";
import { createSecrets } from "./secrets.ts";
import { createStorage } from "./storage.ts";

export type { AgentAccess } from "./agents.ts";
export type {
  Agent,
  AgentIdentity,
  Concurrency,
  PageferryArgs,
  Schedule,
  Schedules,
  Settings,
} from "./args.ts";
export type { NatsReplica, Replica, S3Replica, SftpReplica } from "./replicas.ts";

/**
 * Continuous backup of bolt databases: queue, functions, schedules, buckets, API, and an identity for every host that sends.
 *
 * ```ts
 * const backup = new Pageferry("Backup", {
 *   databases: ["orders"],
 *   replicas: { main: { type: "s3" } },
 *   agents: { web: { databases: ["orders"], identity: { type: "instance-role" } } },
 * });
 * ```
 */
export class Pageferry extends $util.ComponentResource {
  /** The URL of the queue: an agent's `queue`. */
  readonly queue: $util.Output<string>;
  /** The URL of the API: an agent's `api`, and where restores come from. */
  readonly api: $util.Output<string>;
  /** The bucket of staged bodies: an agent's `staging`, as `s3://<name>`. */
  readonly stageBucket: $util.Output<string>;
  /** The buckets of replicas on AWS, by the replica's name. */
  readonly replicaBuckets: Readonly<Record<string, $util.Output<string>>>;
  /** What each agent is set up with. */
  readonly agents: Readonly<Record<string, AgentAccess>>;

  constructor(name: string, args: PageferryArgs, options: $util.ComponentResourceOptions = {}) {
    super("pageferry:aws:Pageferry", name, {}, options);
    checkArgs(name, args);
    const child = { parent: this };
    const deployment: Deployment = {
      ...{ name, args, child },
      kept: { ...child, retainOnDelete: args.deleteWithStage !== true },
    };
    const storage = createStorage(deployment);
    const queues = createQueues(deployment, storage.replicas);
    const variables = commonVariables(deployment, storage, queues);
    const shared = { storage, queues, variables };
    const api = createApi(deployment, { ...shared, secrets: createSecrets(deployment) });
    const agents = createAgents(deployment, storage, queues);
    // The API has asked for a token that is for the database.
    const senders = sendersJson([{ uniqueId: api.nodes.role.uniqueId, databases: "*" }, ...agents.senders]);
    const fanOut = createFanOut(deployment, { ...shared, senders });
    const lanes = createLanes(deployment, shared);
    const scheduled = createSchedules(deployment, shared);
    createAlarms(deployment, queues, { Api: api, FanOut: fanOut, ...lanes, ...scheduled });

    this.queue = queues.ingest.url;
    this.api = api.url;
    this.stageBucket = storage.stage.name;
    this.replicaBuckets = Object.fromEntries(
      storage.replicas.flatMap(({ key, bucketName }) =>
        bucketName === undefined ? [] : [[key, bucketName]],
      ),
    );
    this.agents = agents.access;
    this.registerOutputs({ queue: this.queue, api: this.api, stageBucket: this.stageBucket });
  }

  /** What `link: [backup]` tells another resource: addresses, and no rights. */
  getSSTLink(): {
    readonly properties: Readonly<Record<"queue" | "api" | "stageBucket", $util.Output<string>>>;
  } {
    return { properties: { queue: this.queue, api: this.api, stageBucket: this.stageBucket } };
  }
}
