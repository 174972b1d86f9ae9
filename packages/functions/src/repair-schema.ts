// The routes of repair, verify and replay: what they take and answer.

import { parseDatabaseName } from "@pageferry/format";
import { z } from "zod";
import { verdictSchema } from "./databases-schema.ts";
import {
  countJson,
  databaseText,
  flag,
  generationJson,
  parsedBy,
  replicaSchema,
  route,
  timeJson,
  txIdJson,
} from "./route.ts";

const replicaRepairSchema = z.object({
  replica: z.string(),
  copied: countJson.meta({
    description: "Objects that it lacked and has now; with `dryRun`, that it lacks.",
  }),
  bytes: countJson,
  healed: countJson,
  checked: countJson.nullable(),
  broken: z.array(z.string()),
  failed: z.array(z.object({ object: z.string(), why: z.string() })),
  failures: countJson,
  error: z.string().nullable(),
});

const repairReportSchema = z
  .object({
    ...{ database: z.string(), dryRun: z.boolean(), points: countJson },
    isWhole: z
      .boolean()
      .meta({ description: "Whether every replica that was asked for can restore every point now." }),
    unlisted: z.array(z.string()),
    replicas: z.array(replicaRepairSchema),
  })
  .meta({ id: "RepairReport", description: "What a repair did." });

export const repairRoute = route({
  ...{ method: "post", path: "/v1/databases/:database/repair", tag: "work" },
  summary: "Bring to each replica what another one has",
  query: z.strictObject({
    replica: replicaSchema,
    verify: flag("`true`: reads every object, and heals broken ones."),
    dryRun: flag("`true`: only says what it would do."),
  }),
  answers: { 200: repairReportSchema },
  isLate: true,
  errors: ["not-found"],
});

const verifiedPointSchema = z.object({
  ...{ generation: generationJson, txid: txIdJson, time: timeJson.nullable(), verdict: verdictSchema },
  ...{ stateHash: z.string().nullable(), logicalHash: z.string().nullable() },
  ...{ pages: countJson.nullable(), bytes: countJson, ms: z.number().min(0) },
  mode: z.enum(["restore", "objects"]),
});

const replicaVerdictSchema = z.object({
  ...{ replica: z.string(), verdict: verdictSchema.nullable() },
  newest: z.object({ generation: generationJson, txid: txIdJson, time: timeJson.nullable() }).nullable(),
  points: z.array(verifiedPointSchema),
  problems: z.array(z.object({ verdict: verdictSchema, object: z.string().nullable(), why: z.string() })),
  ...{ problemCount: countJson, restorable: countJson, lost: countJson },
  lostRanges: z.array(
    z.object({ generation: generationJson, from: txIdJson, to: txIdJson, points: countJson }),
  ),
  ...{ objects: countJson.nullable(), bytesRead: countJson, error: z.string().nullable() },
  warnings: z.array(z.string()),
});

const pointOfReplica = { replica: z.string(), generation: generationJson, txid: txIdJson };

const verifyCursorSchema = z.object({
  points: z.array(z.object(pointOfReplica)),
  objects: z.record(z.string(), z.string()),
  verdicts: z.record(z.string(), verdictSchema),
  hashes: z.array(
    z.object({ ...pointOfReplica, stateHash: z.string().nullable(), logicalHash: z.string().nullable() }),
  ),
});

const verifyReportSchema = z
  .object({
    ...{ database: z.string(), depth: z.enum(["chain", "drill", "full"]) },
    isSound: z.boolean().meta({ description: "Whether all was verified, and every verdict is FOUND." }),
    replicas: z.array(replicaVerdictSchema),
    unlisted: z.array(z.string()),
    next: verifyCursorSchema.nullable(),
  })
  .meta({ id: "VerifyReport", description: "How the replicas of a database stand." });

export const verifyRoute = route({
  ...{ method: "post", path: "/v1/databases/:database/verify", tag: "work" },
  summary: "Restore from each replica into scratch, and check what comes of it",
  query: z.strictObject({
    replica: replicaSchema,
    chain: flag("`true`: only headers."),
    full: flag("`true`: also reads every object to its end."),
  }),
  answers: { 200: verifyReportSchema },
  isLate: true,
  errors: ["not-found"],
});

const replayReportSchema = z
  .object({
    replayed: z.array(z.object({ replica: z.string(), messages: countJson })),
    forks: countJson.meta({ description: "Generations that are taken again." }),
  })
  .meta({
    id: "ReplayReport",
    description: "How many messages go back into their lanes.",
    examples: [{ replayed: [{ replica: "file:///mnt/backup", messages: 3 }], forks: 0 }],
  });

export const replayRoute = route({
  ...{ method: "post", path: "/v1/replay", tag: "work" },
  summary: "Give another chance to what was set aside",
  description: "Doing it twice is harmless. Without `database` it needs a token for all databases.",
  query: z.strictObject({
    replica: replicaSchema,
    database: parsedBy(parseDatabaseName, databaseText)
      .optional()
      .meta({ description: "Only the messages of this database." }),
    forks: flag("`true`: also takes envelopes again of generations that were refused as forked."),
  }),
  answers: { 200: replayReportSchema },
  errors: ["not-found"],
});
