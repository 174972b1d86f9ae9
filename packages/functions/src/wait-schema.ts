// What `…/wait` takes and answers.

import { parseDuration, parseGeneration, parseTxId } from "@pageferry/format";
import { z } from "zod";
import { waitMsMax } from "./wait.ts";

/** More replicas than anybody has. */
const replicasMax = 64;

export const waitQuerySchema = z.object({
  txid: z
    .string()
    .max(16)
    .transform((text) => parseTxId(text))
    .optional()
    .meta({ description: "16 hex digits, or a shorter decimal. Default: the newest that was captured." }),
  generation: z
    .string()
    .max(16)
    .transform((text) => parseGeneration(text))
    .optional()
    .meta({ description: "The history that txid belongs to. Default: the current one." }),
  replicas: z
    .string()
    .regex(/^[1-9]\d?$/)
    .transform(Number)
    .refine((count) => count <= replicasMax)
    .optional()
    .meta({ description: "How many replicas must have it. Default: all." }),
  timeout: z
    .string()
    .max(32)
    .default("30s")
    .transform((text) => parseDuration(text))
    .refine((ms) => ms <= waitMsMax, { message: "at most 5m" })
    .meta({ description: "How long to wait, such as 30s; at most 5m." }),
});

export const waitSchema = z.strictObject({
  database: z.string(),
  generation: z.string().nullable(),
  txid: z.string().nullable(),
  wanted: z.number(),
  isReached: z.boolean(),
  waitedMs: z.number(),
  replicas: z.array(
    z.strictObject({
      name: z.string(),
      hasIt: z.boolean(),
      txid: z.string().nullable(),
      lagMs: z.number().nullable(),
    }),
  ),
});
