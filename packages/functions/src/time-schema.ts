// The routes of time: what they take and answer.

import { z } from "zod";
import {
  countJson,
  durationSchema,
  flag,
  generationJson,
  replicaSchema,
  route,
  targetShape,
  txIdJson,
} from "./route.ts";

const failureSchema = z.object({ replica: z.string(), why: z.string() });

const mergedSchema = z.object({
  ...{ name: z.string(), level: countJson, sources: countJson, bytesIn: countJson, bytesOut: countJson },
});

const snapshotBuildSchema = z.object({
  ...{ replica: z.string(), name: z.string(), due: z.string(), bytes: countJson, ms: z.number().min(0) },
  failure: z.string().nullable(),
});

const compactRowSchema = z.object({
  ...{ replica: z.string(), dryRun: z.boolean(), merged: z.array(mergedSchema) },
  left: z.array(z.object({ name: z.string(), why: z.string() })),
  ...{ isPartial: z.boolean(), bytesIn: countJson, bytesOut: countJson },
  snapshots: z.array(snapshotBuildSchema),
});

const compactReportSchema = z
  .object({ database: z.string(), replicas: z.array(compactRowSchema), failures: z.array(failureSchema) })
  .meta({ id: "CompactReport", description: "Windows that were merged, and snapshots that were built." });

export const compactRoute = route({
  ...{ method: "post", path: "/v1/databases/:database/compact", tag: "work" },
  summary: "Merge what is due, and build the snapshots that are due",
  query: z.strictObject({ replica: replicaSchema, dryRun: flag("`true`: only says what it would do.") }),
  answers: { 200: compactReportSchema },
  isLate: true,
  errors: ["not-found"],
});

const keptSchema = z.object({
  ...{ generation: generationJson, txid: txIdJson, stampMs: countJson.nullable(), receivedMs: countJson },
  reasons: z.array(z.string()),
});

const pruneRowSchema = z.object({
  ...{ replica: z.string(), dryRun: z.boolean() },
  planned: z.array(z.object({ name: z.string(), size: countJson, why: z.string() })),
  ...{ marked: countJson, removed: z.array(z.string()), bytesFreed: countJson },
  retained: z.array(z.object({ name: z.string(), reason: z.enum(["locked", "delete-marker"]) })),
  waitsUntilMs: z.number().nullable(),
  kept: z.array(keptSchema),
  notes: z.array(z.string()),
});

const pruneReportSchema = z
  .object({ database: z.string(), replicas: z.array(pruneRowSchema), failures: z.array(failureSchema) })
  .meta({ id: "PruneReport", description: "What retention lets go, and what it keeps." });

export const pruneRoute = route({
  ...{ method: "post", path: "/v1/databases/:database/prune", tag: "work" },
  summary: "Say what retention lets go; with `confirm=true`, let it go",
  query: z.strictObject({
    replica: replicaSchema,
    confirm: flag("`true`: marks it, and deletes what was marked for `grace`."),
    grace: durationSchema("15m").optional().meta({
      description: "How long it is marked before it goes; 15 minutes unless told.",
    }),
  }),
  answers: { 200: pruneReportSchema },
  isLate: true,
  errors: ["not-found"],
});

const pinSchema = z.object({
  ...{ generation: generationJson, txid: txIdJson, createdAtMs: countJson.nullable() },
  ...{ note: z.string().nullable(), replicas: z.array(z.string()) },
});

const pinsSchema = z
  .object({ pins: z.array(pinSchema) })
  .meta({ id: "Pins", description: "What is pinned, and in which replicas." });

const pinReportSchema = z
  .object({
    ...{ database: z.string(), generation: generationJson, txid: txIdJson },
    replicas: z.array(z.string()).meta({ description: "Those that know it now." }),
    failures: z.array(failureSchema),
  })
  .meta({ id: "PinReport", description: "The point, and the replicas that know it now." });

const pins = {
  path: "/v1/databases/:database/pins",
  tag: "databases",
  errors: ["not-found", "gap", "fork", "corrupt"],
} as const;

export const pinsRoute = route({
  ...{ ...pins, method: "get" },
  summary: "What is pinned",
  answers: { 200: pinsSchema },
});

export const pinRoute = route({
  ...{ ...pins, method: "post" },
  summary: "Keep a point, whatever retention says",
  query: z.strictObject({
    ...targetShape,
    note: z.string().max(200).optional().meta({ description: "Why, for those who find it." }),
  }),
  answers: { 201: pinReportSchema },
});

export const unpinRoute = route({
  ...{ ...pins, method: "delete" },
  summary: "Let a pinned point go",
  query: z.strictObject(targetShape),
  answers: { 200: pinReportSchema },
});
