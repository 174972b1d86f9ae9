// The routes that tell how databases stand and what can be restored: what they take and answer.

import { z } from "zod";
import { countJson, flag, generationJson, replicaSchema, route, timeJson, txIdJson } from "./route.ts";

const alarmSchema = z
  .object({
    code: z.string(),
    database: z.string().optional(),
    replica: z.string().optional(),
    message: z.string(),
    hint: z.string(),
    since: timeJson,
  })
  .meta({ id: "Alarm", description: "Something that somebody must look at." });

/** What a verification says of a replica: verdicts.ts. */
export const verdictSchema = z.enum(["FOUND", "LATE", "LOST", "CORRUPT", "FORK"]).meta({
  description:
    "FOUND: restored, checked and equal everywhere. LATE: sound, but behind. LOST: something cannot be reached. CORRUPT: something does not hold. FORK: another state of the same transaction.",
});

const lagJson = z.number().min(0).nullable();

/** A range of transactions that is missing: after `from`, up to `to`. */
const gapSchema = z.object({ from: txIdJson, to: txIdJson });

const doneSchema = z.object({ time: timeJson, objects: countJson, bytes: z.number() }).nullable();

const historySchema = z
  .object({ everyMs: countJson, lagMs: z.array(z.number().nullable()) })
  .meta({ description: "Its lag in the last hour, oldest first." });

/** What stands and happens in one replica, beyond what can be restored. */
const replicaFigures = {
  lagTransactions: z.number().min(0).nullable().meta({ description: "How many transactions it lacks." }),
  ...{ gaps: z.array(gapSchema), gapCount: countJson },
  lanes: z.array(
    z.object({
      ...{ name: z.string(), waiting: countJson, bytes: countJson, deadLetters: countJson },
      oldest: timeJson.nullable(),
    }),
  ),
  snapshot: z.object({ txid: txIdJson, time: timeJson, bytes: countJson }).nullable(),
  files: z.object({ versions: countJson, time: timeJson }).nullable().optional().meta({
    description: "Versions of its companion files, and when the newest was read; null: it has none.",
  }),
  ...{ compaction: doneSchema, prune: doneSchema, repair: doneSchema },
  storage: z
    .object({
      ...{ objects: countJson, bytes: countJson, amplification: z.number().nullable() },
      kinds: z.record(z.string(), z.object({ objects: countJson, bytes: countJson })),
    })
    .nullable(),
  month: z
    .object({ requests: countJson, usd: z.number().nullable() })
    .nullable()
    .meta({ description: "What 730 hours cost if it goes on so; null until an hour was counted." }),
  restore: z
    .object({ ms: countJson, bytes: countJson, objects: countJson })
    .nullable()
    .meta({ description: "What a restore of the newest point takes, about." }),
  history: historySchema.optional(),
};

const replicaStatusSchema = z
  .object({
    ...replicaFigures,
    name: z.string(),
    txid: txIdJson.nullable().meta({ description: "The newest transaction that can be restored from it." }),
    time: timeJson.nullable(),
    lagMs: lagJson.meta({
      description: "The age of the oldest commit that it lacks; 0: none; null: unknown.",
    }),
    waiting: countJson.meta({ description: "Messages in its lanes." }),
    waitingBytes: countJson,
    deadLetters: countJson,
    quarantined: countJson,
    breaker: z.enum(["closed", "open", "half-open"]),
    failures: countJson,
    error: z.string().nullable(),
    needsRepair: z.boolean(),
    verified: z
      .object({ verdict: verdictSchema, generation: generationJson, txid: txIdJson, time: timeJson })
      .nullable()
      .meta({ description: "The newest point that was verified in it last." }),
  })
  .meta({ id: "ReplicaStatus", description: "How a database stands in one replica." });

const parentSchema = z.object({ generation: generationJson, txid: txIdJson });

const generationStatusSchema = z
  .object({
    generation: generationJson,
    parent: parentSchema.nullable().meta({ description: "The point that it goes on from." }),
    reason: z.string().nullable(),
    epoch: countJson,
    host: z.string().nullable().meta({ description: "The machine that wrote it." }),
    begun: timeJson.nullable().meta({ description: "When the first of it was received." }),
    txid: txIdJson.nullable().meta({ description: "The newest of it that some replica can restore." }),
  })
  .meta({ id: "History", description: "One writer's unbroken history of a database." });

/** How one database stands. */
const databaseStatusSchema = z
  .object({
    name: z.string(),
    generation: generationJson.nullable(),
    host: z.string().nullable(),
    epoch: countJson.nullable(),
    generations: z
      .array(generationStatusSchema)
      .meta({ description: "All that its replicas hold, newest first, at most 32." }),
    generationCount: countJson,
    txid: txIdJson.nullable().meta({ description: "What its agent has seen." }),
    time: timeJson.nullable(),
    lastHeard: timeJson.nullable(),
    parted: z
      .object({ since: timeJson, by: z.string(), reason: z.string() })
      .nullable()
      .optional()
      .meta({ description: "Since when, and by whom, it is no longer backed up, on purpose; null: it is." }),
    lagMs: lagJson.meta({ description: "The data-loss window: the worst replica's lag; null: unknown." }),
    queued: txIdJson.nullable().meta({ description: "The newest that is durable in this host's queue." }),
    lagTransactions: z.number().min(0).nullable(),
    ...{ gaps: z.array(gapSchema), gapCount: countJson.nullable() },
    waiting: countJson.meta({ description: "Messages that no replica was offered yet." }),
    replicas: z.array(replicaStatusSchema),
    alarms: z.array(alarmSchema),
  })
  .meta({ id: "DatabaseStatus", description: "How one database stands." });

/** How all of them stand. */
const databasesSchema = z
  .object({ databases: z.array(databaseStatusSchema), alarms: z.array(alarmSchema) })
  .meta({ id: "Databases", description: "How the databases stand that the token is for." });

const pointSchema = z
  .object({
    generation: generationJson,
    txid: txIdJson,
    time: timeJson.nullable().meta({ description: "Of the commit, by the agent's clock." }),
    received: timeJson.nullable().meta({ description: "When the host took it." }),
    kind: z.enum(["snapshot", "segment", "pack"]),
    object: z.string(),
    bytes: countJson,
  })
  .meta({ id: "Point", description: "A point that can be restored." });

const warningsJson = z.array(z.string()).meta({ description: "Replicas that could not be listed." });

const endSchema = z.object({ txid: txIdJson, time: timeJson.nullable(), received: timeJson.nullable() });

const stretchSchema = z.object({
  ...{ from: endSchema, to: endSchema, points: countJson, snapshots: countJson, bytes: countJson },
  granularity: z
    .object({ word: z.string(), ms: z.number().min(0).nullable(), txIds: z.number().min(0).nullable() })
    .meta({ description: "How far points lie apart: in a word, in time, in transactions." }),
  follows: z.boolean().meta({ description: "Whether it goes on where the one before it ends." }),
});

const holeSchema = z.object({
  ...{ after: txIdJson.nullable(), before: txIdJson.nullable() },
  missing: z.object({ from: txIdJson, to: txIdJson }),
  unreachable: countJson,
});

/** Every point, newest first. */
const pointsSchema = z
  .object({ points: z.array(pointSchema), warnings: warningsJson })
  .meta({ id: "Points", description: "Every point that can be restored, newest first." });

/** From when to when, how finely, and what is missing. */
const timelineSchema = z
  .object({
    points: countJson,
    generations: z.array(
      z.object({
        ...{ generation: generationJson, parent: parentSchema.nullable(), epoch: countJson.nullable() },
        ...{ points: countJson, bytes: countJson },
        ...{ stretches: z.array(stretchSchema), holes: z.array(holeSchema) },
      }),
    ),
    newest: z.array(pointSchema),
    replicas: z.array(
      z.object({
        ...{ name: z.string(), points: countJson, lacking: countJson },
        ranges: z.array(
          z.object({ generation: generationJson, from: txIdJson, to: txIdJson, points: countJson }),
        ),
      }),
    ),
    warnings: warningsJson,
  })
  .meta({ id: "Timeline", description: "From when to when, how finely, and what is missing where." });

export const databasesRoute = route({
  ...{ method: "get", path: "/v1/databases", tag: "databases" },
  summary: "How every database stands",
  description: "Those that the token is for, per replica, and the alarms that it may see.",
  answers: { 200: databasesSchema },
  isPolled: true,
});

export const databaseRoute = route({
  ...{ method: "get", path: "/v1/databases/:database", tag: "databases" },
  summary: "How one database stands",
  query: z.strictObject({ history: flag("With each replica's lag in the last hour, a sample a minute.") }),
  answers: { 200: databaseStatusSchema },
  errors: ["not-found"],
  isPolled: true,
});

export const pointsRoute = route({
  ...{ method: "get", path: "/v1/databases/:database/points", tag: "databases" },
  summary: "What can be restored",
  query: z.strictObject({
    replica: replicaSchema,
    timeline: flag("`true`: from when to when, how finely and what is missing, and the newest 20 points."),
  }),
  answers: { 200: z.union([pointsSchema, timelineSchema]) },
  errors: ["not-found", "corrupt"],
  isPolled: true,
});
