// What the functions are told, in environment variables. AWS takes 4 KiB of all of a function's together, and would say so only
// once everything else is deployed: it is counted here.

import type { Deployment } from "./deployment.ts";
import { ingestRetentionSeconds, type Queues, windowSeconds } from "./queue.ts";
import type { Storage } from "./storage.ts";

const environmentBytesMax = 4096;

export type Variables = Readonly<Record<string, $util.Input<string>>>;

/** What every function is told. */
export function commonVariables({ args }: Deployment, storage: Storage, queues: Queues): Variables {
  const secrets = Object.entries(args.secrets ?? {}).map(([name, secret]) => [name, secret.value] as const);
  return {
    ...Object.fromEntries(secrets),
    PAGEFERRY_CONFIG: $jsonStringify({
      databases: args.databases.map((database) =>
        database.includes(".") ? { name: database, path: database } : database,
      ),
      replicas: storage.replicas.map((place) => place.entry),
      packWindow: `${windowSeconds}s`,
      queueRetention: `${ingestRetentionSeconds / 3600}h`,
      ...args.settings,
    }),
    PAGEFERRY_DEPLOY_STAGE: $app.stage,
    PAGEFERRY_STAGE_BUCKET: storage.stage.name,
    PAGEFERRY_QUEUE_URL: queues.ingest.url,
    PAGEFERRY_LANES: laneUrls(queues),
    PAGEFERRY_DEAD_LETTERS: deadLetterUrls(queues),
  };
}

/** `{label: URL}` of every lane. */
function laneUrls({ lanes }: Queues): $util.Output<string> {
  return urlsByLabel(lanes.map(({ place, queue }) => [place.label, queue.url]));
}

/** `{label: URL}` of every queue's dead letters. */
function deadLetterUrls({ ingestDead, lanes }: Queues): $util.Output<string> {
  return urlsByLabel([
    [$output("ingest"), ingestDead.url],
    ...lanes.map(({ place, dead }) => [place.label, dead.url] as const),
  ]);
}

function urlsByLabel(
  pairs: readonly (readonly [label: $util.Output<string>, url: $util.Output<string>])[],
): $util.Output<string> {
  return $output(pairs.map(([label, url]) => $output([label, url]))).apply((entries) =>
    JSON.stringify(Object.fromEntries(entries)),
  );
}

/** Leaves out what is empty, and refuses what AWS would. */
export function checkedVariables(
  functionName: string,
  variables: Variables,
): $util.Output<Record<string, string>> {
  return $output(variables).apply((given) => {
    const told = Object.entries(given).filter(([, value]) => value !== "");
    const bytes = [...told, ...addedBySst()].reduce((sum, pair) => sum + Buffer.byteLength(pair.join("")), 0);
    if (bytes > environmentBytesMax) {
      throw new Error(
        `Pageferry ${functionName}: its environment is ${bytes} bytes, and AWS takes ${environmentBytesMax}: ` +
          "fewer tokens (one for all databases instead of one each), or one deployment for fewer databases",
      );
    }
    return Object.fromEntries(told);
  });
}

function addedBySst(): readonly (readonly [name: string, value: string])[] {
  return [
    ["SST_RESOURCE_App", JSON.stringify({ name: $app.name, stage: $app.stage })],
    ["SST_KEY", "base64 of the 32 bytes of a key is 44 chars."],
    ["SST_KEY_FILE", "resource.enc"],
  ];
}
