// What can be asked of the inside of a backup, and what is answered.

import { z } from "zod";

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

/** `GET …/inspect/ls` */
export const inspectLsQuerySchema = z.object({
  path: pathSchema,
  after: nameSchema.optional().describe("The last key of the part before: `next` of its answer."),
  prefix: nameSchema.optional().describe("Only keys that begin so."),
  limit: z.coerce.number().int().min(1).max(inspectLimitMax).default(100),
});

/** `GET …/inspect/get` */
export const inspectGetQuerySchema = z.object({ path: pathSchema, key: nameSchema });

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

/** The answer of `GET …/inspect/ls`. */
export const inspectLsSchema = z.object({
  generation: z.string(),
  txid: z.string(),
  time: z.string().nullable(),
  path: z.string(),
  entries: z.array(inspectEntrySchema),
  next: z.string().nullable().describe("To be given as `after`; null: this is the last part."),
});

export type InspectLs = z.infer<typeof inspectLsSchema>;
