// The route of companion files: what it takes and answers.

import { z } from "zod";
import { countJson, generationJson, replicaSchema, route, timeJson, txIdJson } from "./route.ts";

const versionSchema = z.object({
  name: z.string().meta({ description: "The object's, for `objects/…`." }),
  ...{ generation: generationJson, txid: txIdJson, time: timeJson, bytes: countJson },
});

export const companionsRoute = route({
  ...{ method: "get", path: "/v1/databases/:database/files", tag: "restore" },
  summary: "The versions of companion files",
  description: "Newest first. Each is one object, and holds all files as they were found then.",
  query: z.strictObject({ replica: replicaSchema }),
  answers: {
    200: z
      .object({ versions: z.array(versionSchema) })
      .meta({ id: "CompanionVersions", description: "docs/format.md#companions" }),
  },
  errors: ["not-found"],
});
