// What the host tells of itself.

import { z } from "zod";
import { countJson, durationSchema, route } from "./route.ts";

const healthSchema = z
  .object({
    status: z.enum(["ok", "behind"]),
    databases: countJson,
    behind: countJson.meta({ description: "Databases whose data-loss window is longer than `maxLag`." }),
    alarms: countJson,
  })
  .meta({
    id: "Health",
    description: "How many databases there are, and how many are behind. It names none.",
    examples: [{ status: "ok", databases: 3, behind: 0, alarms: 0 }],
  });

export const healthRoute = route({
  ...{ method: "get", path: "/healthz", tag: "host" },
  summary: "Whether it is well",
  // Those who ask in an interval add parameters of their own.
  query: z.object({
    maxLag: durationSchema("5m")
      .optional()
      .meta({ description: "A longer data-loss window than this is not well." }),
  }),
  answers: { 200: healthSchema, 503: healthSchema },
});

export const metricsRoute = route({
  ...{ method: "get", path: "/metrics", tag: "host" },
  summary: "What it is measured by",
  description: "For tokens for all databases.",
  answers: {
    200: { description: "OpenMetrics: docs/monitoring.md#metrics.", type: "application/openmetrics-text" },
  },
});
