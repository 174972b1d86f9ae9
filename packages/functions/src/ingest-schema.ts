// The routes between an agent and its host: what they take and answer. CONTRACTS of both are in docs/format.md.

import { parseDatabaseName, parseGeneration, parseStateHash, parseTxId } from "@pageferry/format";
import { z } from "zod";
import { countJson, databaseText, parsedBy, route, txIdJson } from "./route.ts";

export const ingestRoute = route({
  ...{ method: "post", path: "/v1/ingest", tag: "agent" },
  summary: "Take an envelope",
  description:
    "202: it is on disk, fsynced. 429 and 503, with Retry-After: again later. Any other error: stop.",
  body: { type: "application/cbor", description: "An envelope, at most 32 MiB: docs/format.md#envelope." },
  answers: { 202: { description: "It is durable." } },
  errors: ["bad-name", "corrupt", "unsupported-version", "too-large", "conflict", "fork", "disk-full"],
});

export const heartbeatsRoute = route({
  ...{ method: "post", path: "/v1/heartbeats", tag: "agent" },
  summary: "Take the heartbeats of many databases",
  description:
    "Of those that are not taken the agent sends the envelope alone, and is then told why. An agent asks only where it has many databases.",
  body: {
    type: "application/cbor",
    description: "At most 1,000 envelopes without items, 1 MiB: docs/format.md#envelope.",
  },
  answers: {
    200: z.object({
      refused: z
        .array(z.string())
        .meta({ description: "Databases whose envelope was not taken; all others were." }),
    }),
  },
  errors: ["corrupt", "unsupported-version", "too-large"],
});

export const stageRoute = route({
  ...{ method: "put", path: "/v1/stage/:digest", tag: "agent" },
  summary: "Take a large body, which an envelope will name by its digest",
  query: z.strictObject({
    database: parsedBy(parseDatabaseName, databaseText).meta({
      description: "The database that it is for.",
    }),
  }),
  body: { type: "application/octet-stream", description: "The body, of the digest in the path." },
  answers: { 201: { description: "It is durable." }, 200: { description: "It was there already." } },
  errors: ["bad-name", "corrupt", "too-large", "disk-full"],
});

/** Where a sender may put a body by itself. */
const stagePlaceSchema = z
  .object({
    method: z.literal("PUT"),
    url: z.url().meta({
      description: "Takes this body and no other, once, until it expires. It is itself a credential.",
    }),
    headers: z.record(z.string(), z.string()).meta({ description: "To be sent with it, as they are." }),
    expiresAt: z.string(),
  })
  .meta({ id: "StagePlace", description: "Where a body goes that is too large for the host itself." });

export const stagePlaceRoute = route({
  ...{ method: "get", path: "/v1/stage/:digest/place", tag: "agent" },
  summary: "Where a body can be put that is too large for the host itself",
  description: "Of hosts whose stage is a bucket. The bucket answers 412 for a body that is there already.",
  query: z.strictObject({
    database: parsedBy(parseDatabaseName, databaseText).meta({ description: "The database that it is for." }),
    size: z.coerce.number().int().min(0).meta({ description: "Its length in bytes." }),
  }),
  answers: { 200: stagePlaceSchema },
  errors: ["bad-name", "too-large"],
});

const needsSchema = z
  .object({
    version: z.literal(1),
    newestEpoch: countJson,
    buildsSnapshots: z.boolean().optional(),
    generations: z.record(
      z.string(),
      z.object({
        storedTxId: txIdJson.nullable(),
        missing: z.array(z.array(txIdJson).length(2)),
        snapshot: z.boolean(),
      }),
    ),
  })
  .meta({
    id: "Needs",
    description: "What the host has of each generation, and what it misses: docs/format.md#needs.",
    examples: [
      {
        ...{ version: 1, newestEpoch: 1 },
        generations: { "9f86d081884c7d65": { storedTxId: "00000000000004d2", missing: [], snapshot: false } },
      },
    ],
  });

export const needsRoute = route({
  ...{ method: "get", path: "/v1/databases/:database/needs", tag: "agent" },
  summary: "What the host misses",
  description: "A database that nobody knows yet needs nothing: its agent asks before it begins.",
  answers: { 200: needsSchema },
  errors: ["bad-name"],
});

const holdsSchema = z.object({ version: z.literal(1), holds: z.boolean() }).meta({
  id: "Holds",
  description: "Whether a generation may begin at a point.",
  examples: [{ version: 1, holds: true }],
});

export const holdsRoute = route({
  ...{ method: "get", path: "/v1/databases/:database/holds", tag: "agent" },
  summary: "Whether a generation may begin at a point that the replicas hold",
  description:
    "True where each replica can restore the point, alone and in this very state, and the host makes the generation's first snapshot of it. An agent whose file was restored then sends only what is committed after it.",
  query: z.strictObject({
    generation: parsedBy(parseGeneration, { pattern: "^[0-9a-f]{16}$", example: "9f86d081884c7d65" }).meta({
      description: "The point's generation: 16 hex digits.",
    }),
    txid: parsedBy(parseTxId, { pattern: "^[0-9a-f]{16}$", example: "00000000000004d2" }).meta({
      description: "Its transaction: 16 hex digits.",
    }),
    stateHash: z
      .string()
      .regex(/^[0-9a-f]{32}$/, "32 lower-case hex digits are expected")
      .meta({
        description: "The state hash that it must have: 32 hex digits.",
        examples: ["9f86d081884c7d659a2feaa0c55ad015"],
      })
      .transform(parseStateHash),
  }),
  answers: { 200: holdsSchema },
  errors: ["bad-name"],
});
