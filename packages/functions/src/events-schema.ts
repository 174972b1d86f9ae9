// What `/v1/events` takes and answers.

import { parseDatabaseName } from "@pageferry/format";
import { z } from "zod";
import { eventKinds } from "./event-log.ts";
import { countJson, parsedBy, route, timeJson } from "./route.ts";

const idSchema = z
  .string()
  .regex(/^\d{1,15}$/)
  .transform(Number);

const eventsQuerySchema = z.strictObject({
  database: parsedBy(parseDatabaseName, {
    pattern: "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
    example: "app",
  })
    .optional()
    .meta({ description: "Only of this database." }),
  since: idSchema
    .optional()
    .meta({ description: "Only those after the event of this id, as Last-Event-ID says for a stream." }),
});

const eventSchema = z.object({
  ...{ id: countJson, at: timeJson },
  ...{ database: z.string().optional(), replica: z.string().optional() },
  ...{ kind: z.enum(eventKinds), message: z.string() },
});

export const eventsSchema = z
  .object({ events: z.array(eventSchema) })
  .meta({ id: "Events", description: "What happened, ids ascending." });

export const eventsRoute = route({
  ...{ method: "get", path: "/v1/events", tag: "databases" },
  summary: "What happened lately",
  description: "Of the databases that the token is for; in memory, since the host's start.",
  query: eventsQuerySchema,
  answers: { 200: eventsSchema },
});

export const eventStreamRoute = route({
  ...{ method: "get", path: "/v1/events/stream", tag: "databases" },
  summary: "What happens, as server-sent events",
  description:
    "Each is named by its kind; `status` (data: a database) says that its status is another one. A line ends after ten minutes.",
  query: eventsQuerySchema,
  answers: { 200: { type: "text/event-stream", description: "The events, as they come." } },
});
