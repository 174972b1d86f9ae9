// The whole of who may do what, as a table to read: every role of this repository's own deployment, every action, every resource.
// `main` and `vault` are the replicas' buckets, `stage` that of staged bodies, the others queues.

import { allOf, type Graph, oneOf, type Statement } from "./graph.ts";

export type Rights = Readonly<Record<string, readonly string[]>>;

const list = ["stage", "main", "vault"];
const notes = ["stage/stage/*", "stage/state/*"];
const read = { "s3:ListBucket": list, "s3:GetObject": [...notes, "main/*", "vault/*"] };

/** To store is three actions: the upload, and how it is given up or taken up again. */
function put(resources: readonly string[]): Rights {
  return {
    "s3:PutObject": resources,
    "s3:AbortMultipartUpload": resources,
    "s3:ListMultipartUploadParts": resources,
  };
}

function consume(queues: readonly string[]): Rights {
  return {
    "sqs:ReceiveMessage": queues,
    "sqs:ChangeMessageVisibility": queues,
    "sqs:DeleteMessage": queues,
    "sqs:GetQueueAttributes": queues,
  };
}

const queues = ["ingest", "ingestDead", "mainLane", "mainLaneDead", "vaultLane", "vaultLaneDead"];
const count = { "sqs:GetQueueAttributes": queues };

function lane(replica: string): Rights {
  return {
    "s3:ListBucket": ["stage", replica],
    "s3:GetObject": [...notes, `${replica}/*`],
    ...put(["stage/state/*", `${replica}/*`]),
    ...consume([`${replica}Lane`]),
    "sqs:SendMessage": [`${replica}Lane`, `${replica}LaneDead`],
  };
}

export const expectedRights: Readonly<Record<string, Rights>> = {
  BackupFanOut: {
    ...read,
    ...put(["stage/state/*", "main/*", "vault/*"]),
    ...consume(["ingest"]),
    "sqs:SendMessage": ["mainLane", "mainLaneDead", "vaultLane", "vaultLaneDead", "ingestDead"],
  },
  BackupMainLaneConsumer: lane("main"),
  BackupVaultLaneConsumer: lane("vault"),
  BackupCompact: { ...read, ...count, ...put(["stage/state/*", "main/*", "vault/*"]) },
  BackupPrune: {
    ...read,
    ...count,
    ...put([
      "stage/state/*",
      ...["main", "vault"].flatMap((replica) =>
        ["marks/*", "leases/*", "_state.json"].map((key) => `${replica}/*/${key}`),
      ),
    ]),
    "s3:DeleteObject": ["main/*", "vault/*"],
  },
  BackupVerify: { ...read, ...count, ...put(["stage/state/*", "main/*/evidence/*", "vault/*/evidence/*"]) },
  BackupRepair: { ...read, ...count, ...put(["stage/state/*", "main/*", "vault/*"]) },
  BackupApi: {
    ...read,
    ...put([
      "stage/state/*",
      ...["main", "vault"].flatMap((replica) => ["leases/*", "pins/*"].map((key) => `${replica}/*/${key}`)),
      "stage/stage/*",
    ]),
    ...consume(["ingestDead", "mainLaneDead", "vaultLaneDead"]),
    "sqs:GetQueueAttributes": queues,
    "sqs:SendMessage": ["ingest", "mainLane", "vaultLane"],
  },
};

/** Statements as a table: actions, each with its resources by their words. */
export function rightsTable(graph: Graph, statements: readonly Statement[]): Rights {
  const words = wordsOf(graph);
  const table: Record<string, string[]> = {};
  for (const { Effect, Action, Resource, Condition } of statements) {
    const resources = Resource.map((arn) => inWords(arn, words));
    const which =
      Effect === "Allow" && Condition === undefined ? "" : `${Effect} ${JSON.stringify(Condition)} `;
    for (const action of Action)
      table[`${which}${action}`] = [...(table[`${which}${action}`] ?? []), ...resources];
  }
  return table;
}

type Words = readonly (readonly [arn: string, word: string])[];

function wordsOf(graph: Graph): Words {
  const bucketWords = { BackupStage: "stage", BackupMainReplica: "main", BackupVaultReplica: "vault" };
  const buckets = Object.entries(bucketWords).map(
    ([name, word]) => [`arn:aws:s3:::${oneOf(graph, "bucket", name).inputs.bucket}`, word] as const,
  );
  const queues = allOf(graph, "queue").map(({ name, inputs }) => {
    const word = name.replace(/^Backup/, "").replace(/Queue$/, "");
    return [`:${inputs.name}`, `${word.charAt(0).toLowerCase()}${word.slice(1)}`] as const;
  });
  return [...buckets, ...queues];
}

function inWords(arn: string, words: Words): string {
  for (const [known, word] of words) {
    if (known.startsWith(":") && arn.startsWith("arn:aws:sqs:") && arn.endsWith(known)) return word;
    if (arn === known) return word;
    if (arn.startsWith(`${known}/`)) return `${word}${arn.slice(known.length)}`;
  }
  return arn;
}
