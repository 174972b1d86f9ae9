// What `…/wait` takes and answers.

import { parseGeneration, parseTxId } from "@pageferry/format";
import { z } from "zod";
import { countJson, durationSchema, generationJson, parsedBy, route, txIdJson } from "./route.ts";
import { waitMsMax } from "./wait.ts";

/** More replicas than anybody has. */
const replicasMax = 64;

const waitQuerySchema = z.strictObject({
  txid: parsedBy(parseTxId, { pattern: "^([0-9a-fA-F]{16}|[0-9]{1,15})$", example: "00000000000004d2" })
    .optional()
    .meta({ description: "16 hex digits, or a shorter decimal. Default: the newest that was captured." }),
  generation: parsedBy(parseGeneration, { pattern: "^[0-9a-f]{16}$", example: "9f86d081884c7d65" })
    .optional()
    .meta({ description: "The history that txid belongs to. Default: the current one." }),
  replicas: z.coerce
    .number()
    .int()
    .min(1)
    .max(replicasMax)
    .optional()
    .meta({ description: "How many replicas must have it. Default: all." }),
  timeout: durationSchema("30s")
    .refine((ms) => ms <= waitMsMax, { message: "at most 5m" })
    .default(30_000)
    .meta({ description: "How long to wait, such as 30s; at most 5m." }),
  listedWithin: durationSchema("0s").optional().meta({
    description:
      "A replica counts only once it was listed, so long before the call at most: `0s` lists each anew. Default: what is remembered of it counts.",
  }),
});

/** How far it is. */
export const waitSchema = z
  .object({
    database: z.string(),
    ...{ generation: generationJson.nullable(), txid: txIdJson.nullable() },
    ...{ wanted: countJson, isReached: z.boolean(), waitedMs: countJson },
    replicas: z.array(
      z.object({
        ...{ name: z.string(), hasIt: z.boolean(), txid: txIdJson.nullable() },
        lagMs: z.number().min(0).nullable(),
        listedAgoMs: countJson.nullable().optional().meta({
          description: "How old its listing is; what was stored since is added to it. Null: none yet.",
        }),
      }),
    ),
  })
  .meta({ id: "Wait", description: "Which replicas have what is waited for." });

export const waitRoute = route({
  ...{ method: "get", path: "/v1/databases/:database/wait", tag: "databases" },
  summary: "Waits until replicas can restore a transaction",
  description:
    "It forces nothing, and asks no replica but with `listedWithin`. 504 has the state so far in `state`.",
  query: waitQuerySchema,
  answers: { 200: waitSchema },
  errors: ["not-found", "timeout"],
});
