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

const hexJson = (digits: number) => z.string().regex(new RegExp(`^[0-9a-f]{${digits}}$`));

const manifestObjectSchema = z.object({
  kind: z.enum(["snapshot", "segment", "pack"]),
  name: z.string(),
  size: countJson,
  generation: generationJson,
  ...{ firstTxId: txIdJson, lastTxId: txIdJson, fromTxId: txIdJson, toTxId: txIdJson },
  stampMs: countJson.nullable(),
  ...{ sha256: hexJson(64).optional(), crc64: hexJson(16).optional() },
  url: z.string(),
  via: z.enum(["presigned", "proxied"]),
});

const manifestSchema = z
  .object({
    version: z.literal(1),
    database: z.string(),
    ...{ generation: generationJson, txId: txIdJson, stampMs: countJson.nullable() },
    stateHash: hexJson(32).optional(),
    pageSize: z.int().optional(),
    ...{ predictedBytes: countJson, predictedRequests: countJson, predictedSeconds: z.number().min(0) },
    ...{ issuedAtMs: countJson, expiresAtMs: countJson },
    lease: z.object({ id: z.string(), expiresAtMs: countJson }).optional(),
    objects: z.array(manifestObjectSchema),
    companions: z
      .object({ name: z.string(), size: countJson, url: z.string(), via: z.enum(["presigned", "proxied"]) })
      .optional()
      .meta({ description: "The companion files of about the same time; absent: there are none." }),
    warnings: z.array(z.string()),
    signature: z
      .object({ algorithm: z.literal("ed25519"), keyId: hexJson(16), value: z.string() })
      .optional()
      .meta({ description: "Over the canonical JSON of the rest." }),
  })
  .meta({
    id: "Manifest",
    description: "Everything that rebuilds one point, in order: docs/format.md#manifest.",
  });

const restoreQuerySchema = z.strictObject({
  ...targetShape,
  replica: replicaSchema,
  acknowledge: z
    .string()
    .max(64)
    .optional()
    .meta({
      description:
        "The words that the problem `unacknowledged` asks for, where an old file of the application does harm in its place.",
      examples: ["loss of funds"],
    }),
});

export const manifestRoute = route({
  ...{ method: "get", path: "/v1/databases/:database/manifest", tag: "restore" },
  summary: "The objects that rebuild one point",
  description: "In order, the snapshot first. Prune leaves them alone for a while.",
  query: restoreQuerySchema.extend({
    urls: z.enum(["auto", "presigned", "proxied"]).default("auto").meta({
      description:
        "`presigned`: from the store itself wherever it gives such URLs; `auto`: where the healthiest replica does.",
    }),
    without: withoutSchema,
  }),
  answers: { 200: manifestSchema },
  errors: ["not-found", "unacknowledged", "gap", "fork", "corrupt", "unsupported-version"],
});

const bytes = { type: "application/octet-stream" };

export const objectRoute = route({
  ...{ method: "get", path: "/v1/databases/:database/objects/:name{.+}", tag: "restore" },
  summary: "An object, or a range of it",
  query: z.strictObject({ replica: replicaSchema }),
  answers: {
    200: { ...bytes, description: "The object." },
    206: { ...bytes, description: "The range of it." },
    416: { description: "There are no such bytes; `content-range` tells how many there are." },
  },
  errors: ["not-found", "corrupt"],
});

export const restoreRoute = route({
  ...{ method: "get", path: "/v1/databases/:database/restore", tag: "restore" },
  summary: "The database itself, or a range of it",
  description:
    "Put together and checked before its first byte is sent. Headers tell its length, transaction, generation, time and state hash.",
  query: restoreQuerySchema,
  answers: {
    200: { ...bytes, description: "The database." },
    206: { ...bytes, description: "The range of it." },
  },
  errors: [
    ...["not-found", "unacknowledged", "gap", "fork", "corrupt", "unsupported-version"],
    ...["too-large", "disk-full"],
  ] as const,
});

export const manifestKeyRoute = route({
  ...{ method: "get", path: "/v1/manifest-key", tag: "restore" },
  summary: "The public half of the key that manifests are signed with",
  answers: {
    200: z.object({
      algorithm: z.literal("ed25519"),
      keyId: hexJson(16),
      publicKey: z.string().meta({ description: "Base64 of its 32 bytes." }),
    }),
  },
});
