// What can be asked of the inside of a backup, and what is answered.

import { z } from "zod";
import { replicaSchema, route, targetShape } from "./route.ts";

/** A request's whole target is at most 16 KiB long. */
const textMax = 16 * 1024;

/** Entries of one answer. */
const inspectLimitMax = 1000;

const pathSchema = z
  .string()
  .max(textMax)
  .default("")
  .describe("Names of buckets from the root on, slashes between them; each is text, or hex: and its bytes.");

const nameSchema = z.string().min(1).max(textMax);

/** What lies under one key. */
const inspectEntrySchema = z.discriminatedUnion("kind", [
  z.object({ key: z.string(), kind: z.literal("key"), bytes: z.number() }),
  z.object({
    key: z.string(),
    kind: z.literal("bucket"),
    root: z.number().nullable().describe("The root page; null: the bucket lies inside of its parent's page."),
    sequence: z.string().describe("The bucket's own counter, decimal."),
  }),
]);

/** A part of a bucket. */
const inspectLsSchema = z
  .object({
    generation: z.string(),
    txid: z.string(),
    time: z.string().nullable(),
    path: z.string(),
    entries: z.array(inspectEntrySchema),
    next: z.string().nullable().describe("To be given as `after`; null: this is the last part."),
  })
  .meta({ id: "InspectLs", description: "A part of a bucket, in the order of its keys." });

export type InspectLs = z.infer<typeof inspectLsSchema>;

const pointShape = { ...targetShape, replica: replicaSchema };

const errors = ["not-found", "gap", "fork", "corrupt", "too-large", "unsupported-version"] as const;

export const inspectLsRoute = route({
  ...{ method: "get", path: "/v1/databases/:database/inspect/ls", tag: "restore" },
  summary: "What lies in a bucket at a point",
  description:
    "Read by ranges out of the archive. Off unless the configuration says `inspect: true`; every use is logged.",
  query: z.strictObject({
    ...{ ...pointShape, path: pathSchema },
    after: nameSchema.optional().describe("The last key of the part before: `next` of its answer."),
    prefix: nameSchema.optional().describe("Only keys that begin so."),
    limit: z.coerce
      .number()
      .int()
      .min(1)
      .max(inspectLimitMax)
      .default(100)
      .describe("Entries of the answer."),
  }),
  answers: { 200: inspectLsSchema },
  errors,
});

export const inspectGetRoute = route({
  ...{ method: "get", path: "/v1/databases/:database/inspect/get", tag: "restore" },
  summary: "One value at a point, or a range of it",
  description: "Off unless the configuration says `inspect: true`; every use is logged.",
  query: z.strictObject({
    ...pointShape,
    path: pathSchema,
    key: nameSchema.describe("The key, as `ls` writes it."),
  }),
  answers: {
    200: { type: "application/octet-stream", description: "The value." },
    206: { type: "application/octet-stream", description: "The range of it." },
    416: { description: "There are no such bytes; `content-range` tells how many there are." },
  },
  errors,
});
