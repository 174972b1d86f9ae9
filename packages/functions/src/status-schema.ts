// What the status of databases looks like to those who ask for it. docs/operations.md#status says what each figure means.

import { z } from "zod";

export const statusQuerySchema = z.object({
  history: z
    .enum(["true", "false"])
    .optional()
    .transform((word) => word === "true")
    .meta({ description: "With each replica's lag in the last hour, a sample a minute." }),
});

const textSchema = z.string().nullable();
const countSchema = z.number().int().nonnegative();
const numberSchema = z.number().nullable();

const gapSchema = z.strictObject({ from: z.string(), to: z.string() });
const tallySchema = z.strictObject({ objects: countSchema, bytes: countSchema });
const doneSchema = z.strictObject({ time: z.string(), objects: countSchema, bytes: z.number() }).nullable();

const laneSchema = z.strictObject({
  ...{ name: z.string(), waiting: countSchema, bytes: countSchema, deadLetters: countSchema },
  oldest: textSchema,
});

const storageSchema = z.strictObject({
  ...{ objects: countSchema, bytes: countSchema, amplification: numberSchema },
  kinds: z.record(z.string(), tallySchema),
});

const verifiedSchema = z.strictObject({
  verdict: z.enum(["FOUND", "LATE", "LOST", "CORRUPT", "FORK"]),
  ...{ generation: z.string(), txid: z.string(), time: z.string() },
});

const replicaStatusSchema = z.strictObject({
  ...{
    name: z.string(),
    txid: textSchema,
    time: textSchema,
    lagMs: numberSchema,
    lagTransactions: numberSchema,
  },
  ...{ gaps: z.array(gapSchema), gapCount: countSchema },
  ...{
    waiting: countSchema,
    waitingBytes: countSchema,
    deadLetters: countSchema,
    lanes: z.array(laneSchema),
  },
  ...{ quarantined: countSchema, breaker: z.enum(["closed", "open", "half-open"]), failures: countSchema },
  ...{ error: textSchema, needsRepair: z.boolean(), verified: verifiedSchema.nullable() },
  snapshot: z.strictObject({ txid: z.string(), time: z.string(), bytes: countSchema }).nullable(),
  ...{ compaction: doneSchema, prune: doneSchema, repair: doneSchema, storage: storageSchema.nullable() },
  month: z.strictObject({ requests: countSchema, usd: numberSchema }).nullable(),
  restore: z.strictObject({ ms: countSchema, bytes: countSchema, objects: countSchema }).nullable(),
  history: z.strictObject({ everyMs: countSchema, lagMs: z.array(numberSchema) }).optional(),
});

const alarmSchema = z.strictObject({
  ...{ code: z.string(), database: z.string().optional(), replica: z.string().optional() },
  ...{ message: z.string(), hint: z.string(), since: z.string() },
});

export const databaseStatusSchema = z.strictObject({
  ...{ name: z.string(), generation: textSchema, host: textSchema, epoch: numberSchema },
  ...{ txid: textSchema, time: textSchema, queued: textSchema, lastHeard: textSchema },
  ...{ lagMs: numberSchema, lagTransactions: numberSchema },
  ...{ gaps: z.array(gapSchema), gapCount: numberSchema, waiting: countSchema },
  ...{ replicas: z.array(replicaStatusSchema), alarms: z.array(alarmSchema) },
});

export const databaseListSchema = z.strictObject({
  ...{ databases: z.array(databaseStatusSchema), alarms: z.array(alarmSchema) },
});
