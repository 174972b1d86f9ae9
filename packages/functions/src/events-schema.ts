// What `/v1/events` takes and answers.

import { parseDatabaseName } from "@pageferry/format";
import { z } from "zod";
import { eventKinds } from "./event-log.ts";

const databaseSchema = z
  .string()
  .max(255)
  .transform((text) => parseDatabaseName(text))
  .optional()
  .meta({ description: "Only of this database." });

const idSchema = z
  .string()
  .regex(/^\d{1,15}$/, { message: "the id of an event" })
  .transform(Number);

export const eventsQuerySchema = z.object({
  database: databaseSchema,
  since: idSchema.optional().meta({ description: "Only those after the event of this id." }),
});

export const eventStreamQuerySchema = z.object({
  database: databaseSchema,
  since: idSchema.optional().meta({ description: "As Last-Event-ID, for those who cannot send that." }),
});

const eventSchema = z.strictObject({
  id: z.number(),
  at: z.string(),
  database: z.string().optional(),
  replica: z.string().optional(),
  kind: z.enum(eventKinds),
  message: z.string(),
});

export const eventsSchema = z.strictObject({ events: z.array(eventSchema) });
