// The API: restores, status, and ingest for hosts without an AWS identity.

import type { Deployment } from "./deployment.ts";
import type { Variables } from "./environment.ts";
import { createFunction } from "./function.ts";
import { canConsume, canCount, canKeepNotes, canPut, canReadReplicas, canSend, within } from "./grants.ts";
import type { Queues } from "./queue.ts";
import type { Secrets } from "./secrets.ts";
import type { Storage } from "./storage.ts";

/** A restore is streamed for as long as a function may run. */
const timeoutSeconds = 15 * 60;
const diskMiB = 10_240;
/** Everybody can call it; what answers them costs no more than this many at once. */
const concurrencyDefault = 20;

export interface ApiOptions {
  readonly storage: Storage;
  readonly queues: Queues;
  readonly secrets: Secrets;
  readonly variables: Variables;
}

export function createApi(deployment: Deployment, options: ApiOptions): sst.aws.Function {
  const { storage, queues, secrets, variables } = options;
  const concurrency = deployment.args.concurrency?.api ?? concurrencyDefault;
  const deadLetters = [queues.ingestDead, ...queues.lanes.map(({ dead }) => dead)];
  const lanes = queues.lanes.map(({ queue }) => queue);
  return createFunction(deployment, "Api", {
    handler: "api",
    description: "pageferry: restore, status, ingest",
    ...{ timeoutSeconds, memoryMiB: 1024, diskMiB, streaming: true },
    ...(concurrency === false ? {} : { concurrency }),
    url: urlOf(deployment),
    variables: {
      ...variables,
      PAGEFERRY_TOKENS: secrets.tokens.value,
      PAGEFERRY_MANIFEST_KEY: secrets.manifestKey.value,
    },
    grants: [
      ...canKeepNotes(storage),
      ...canReadReplicas(storage.replicas),
      ...canPut(within(storage.replicas, ["leases/*", "pins/*"])),
      // Bodies that come over HTTPS are staged as those of hosts that stage themselves.
      ...canPut([$interpolate`${storage.stage.arn}/stage/*`]),
      // Dead letters are moved back to where they came from.
      ...canSend([queues.ingest, ...lanes]),
      ...canConsume(deadLetters),
      ...canCount([queues.ingest, ...lanes]),
    ],
  });
}

/**
 * AWS checks nobody: whoever restores has a pageferry token and no AWS identity, and the API itself refuses every request without
 * one that is known, has not ended, and is for that call and database. No page of another site may call it: no CORS.
 */
function urlOf({ args, name, child }: Deployment): NonNullable<sst.aws.FunctionArgs["url"]> {
  if (args.domain === undefined) return { authorization: "none", cors: false };
  const instance = new sst.aws.Router(`${name}Router`, { domain: args.domain }, child);
  return { cors: false, router: { instance, readTimeout: "60 seconds" } };
}
