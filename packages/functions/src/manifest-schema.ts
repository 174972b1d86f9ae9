// What the routes of a restore are asked, and what they answer, as schemas: parsed with them, and described by them.

import { z } from "zod";

/** Names left out of one manifest: what a restore found missing on its way. */
const withoutMax = 1000;

const hexSchema = (digits: number) => z.string().regex(new RegExp(`^[0-9a-f]{${digits}}$`));

/** Which point, and of which replica. */
export const restoreQuerySchema = z.object({
  txid: z.string().max(32).optional().describe("16 hex digits, or a decimal of at most 15"),
  timestamp: z.string().max(64).optional().describe("RFC 3339: the newest point that is not later"),
  generation: z.string().max(32).optional().describe("16 hex digits; default: the newest, and its ancestors"),
  replica: z.string().max(1024).optional().describe("only from this replica"),
});

/** The same, and how its objects are to be fetched. */
export const manifestQuerySchema = restoreQuerySchema.extend({
  urls: z
    .enum(["auto", "presigned", "proxied"])
    .default("auto")
    .describe(
      "presigned: from the store itself wherever it gives such URLs; auto: where the healthiest replica does",
    ),
  without: z
    .array(z.string().max(1024))
    .max(withoutMax)
    .default([])
    .describe("names of objects to plan around, each in a parameter of its own"),
});

/** A manifest: docs/format.md#manifest. */
export const manifestSchema = z.object({
  version: z.literal(1),
  database: z.string(),
  generation: hexSchema(16),
  txId: hexSchema(16),
  stampMs: z.int().nullable(),
  stateHash: hexSchema(32).optional(),
  pageSize: z.int().optional(),
  predictedBytes: z.int(),
  predictedRequests: z.int(),
  predictedSeconds: z.number(),
  issuedAtMs: z.int(),
  expiresAtMs: z.int(),
  lease: z.object({ id: z.string(), expiresAtMs: z.int() }).optional(),
  objects: z.array(
    z.object({
      kind: z.enum(["snapshot", "segment", "pack"]),
      name: z.string(),
      size: z.int(),
      generation: hexSchema(16),
      firstTxId: hexSchema(16),
      lastTxId: hexSchema(16),
      fromTxId: hexSchema(16),
      toTxId: hexSchema(16),
      stampMs: z.int().nullable(),
      sha256: hexSchema(64).optional(),
      crc64: hexSchema(16).optional(),
      url: z.string(),
      via: z.enum(["presigned", "proxied"]),
    }),
  ),
  warnings: z.array(z.string()),
  signature: z
    .object({ algorithm: z.literal("ed25519"), keyId: hexSchema(16), value: z.string() })
    .optional()
    .describe("over the canonical JSON of the rest"),
});

/** The public half of the key that manifests are signed with. */
export const manifestKeySchema = z.object({
  algorithm: z.literal("ed25519"),
  keyId: hexSchema(16),
  publicKey: z.string().describe("base64 of its 32 bytes"),
});
