// The routes of a restore: what they take and answer.

import { z } from "zod";
import { countJson, generationJson, replicaSchema, route, targetShape, txIdJson } from "./route.ts";

/** Names left out of one manifest: what a restore found missing on its way. */
const withoutMax = 1000;

const withoutSchema = z
  .preprocess(
    (given) => (typeof given === "string" ? [given] : given),
    z.array(z.string().max(1024)).max(withoutMax),
  )
  .optional()
  .meta({
    ...{ type: "array", items: { type: "string", maxLength: 1024 }, maxItems: withoutMax },
    description: "Names of objects to do without, each in a parameter of its own.",
  });

const manifestObjectSchema = z.object({
  kind: z.enum(["snapshot", "segment", "pack"]),
  name: z.string(),
  size: countJson,
  generation: generationJson,
  ...{ firstTxId: txIdJson, lastTxId: txIdJson, fromTxId: txIdJson, toTxId: txIdJson },
  stampMs: countJson.nullable(),
  url: z.string().optional(),
});

const manifestSchema = z
  .object({
    version: z.literal(1),
    ...{ generation: generationJson, txId: txIdJson, stampMs: countJson.nullable() },
    stateHash: z
      .string()
      .regex(/^[0-9a-f]{32}$/)
      .optional(),
    pageSize: z.int().optional(),
    predictedBytes: countJson,
    objects: z.array(manifestObjectSchema),
    warnings: z.array(z.string()),
  })
  .meta({
    id: "Manifest",
    description: "Everything that rebuilds one point, in order: docs/format.md#manifest.",
  });

export const manifestRoute = route({
  ...{ method: "get", path: "/v1/databases/:database/manifest", tag: "restore" },
  summary: "The objects that rebuild one point",
  description: "In order, the snapshot first. Prune leaves them alone for a while.",
  query: z.strictObject({ ...targetShape, replica: replicaSchema, without: withoutSchema }),
  answers: { 200: manifestSchema },
  errors: ["not-found", "gap", "fork", "corrupt", "unsupported-version"],
});

const bytes = { type: "application/octet-stream" };

export const objectRoute = route({
  ...{ method: "get", path: "/v1/databases/:database/objects/:name{.+}", tag: "restore" },
  summary: "An object, or a range of it",
  query: z.strictObject({ replica: replicaSchema }),
  answers: {
    200: { ...bytes, description: "The object." },
    206: { ...bytes, description: "The range of it." },
  },
  errors: ["not-found", "corrupt"],
});
