// The HTTP side of a manifest: docs/operations.md#restore-over-http.

import {
  type DatabaseName,
  manifestJson,
  manifestOf,
  PageferryError,
  predictRestore,
  type RestorePlan,
  type RestoreTarget,
} from "@pageferry/format";
import type { Context, Hono } from "hono";
import type { z } from "zod";
import type { ArchiveApi, ArchivePlace, PlannedPoint } from "./archive-api.ts";
import type { ManifestSigner } from "./manifest-key.ts";
import { placesOf } from "./manifest-places.ts";
import { manifestQuerySchema } from "./manifest-schema.ts";
import type { ObjectServer } from "./object-server.ts";

/** How long a manifest is good where no replica took a lease. */
const validMs = 60 * 60_000;

/** A point that prune leaves alone until then. */
export interface Lease {
  readonly id: string;
  readonly expiresAtMs: number;
}

export interface ManifestApiOptions {
  /** Keeps prune away from a point that somebody is about to restore; `undefined`: no replica took it. */
  readonly lease: (
    database: DatabaseName,
    point: Pick<RestorePlan, "generation" | "txId">,
  ) => Promise<Lease | undefined>;
  readonly now?: () => number;
  /** Without it manifests are not signed. */
  readonly signer?: ManifestSigner;
}

/** What the rest of the API knows of a request about an archive. */
export interface ArchiveParsed {
  /** The database in the path, and the replicas in the query. */
  readonly placeOf: (context: Context) => Promise<ArchivePlace & { readonly database: DatabaseName }>;
  readonly targetOf: (context: Context) => RestoreTarget;
  readonly archive: ArchiveApi;
  readonly objects: ObjectServer;
}

export function addManifestRoutes(app: Hono, options: ManifestApiOptions, parsed: ArchiveParsed): void {
  app.get("/v1/databases/:database/manifest", (context) => answerManifest(context, options, parsed));
  const { signer } = options;
  if (signer === undefined) return;
  const { publicKey, keyId } = signer;
  app.get("/v1/manifest-key", (context) => context.json({ algorithm: "ed25519", keyId, publicKey }));
}

async function answerManifest(
  context: Context,
  { lease, signer, now = Date.now }: ManifestApiOptions,
  { placeOf, targetOf, archive, objects }: ArchiveParsed,
): Promise<Response> {
  const { signal } = context.req.raw;
  const place = await placeOf(context);
  const { urls, without, replica } = parsedQuery(context, manifestQuerySchema);
  const { plan, ends } = await archive.plan(place, targetOf(context), { signal, without: new Set(without) });
  const issuedAtMs = now();
  const leased = await lease(place.database, plan);
  const expiresAtMs = leased?.expiresAtMs ?? issuedAtMs + validMs;
  const expiresSeconds = Math.max(1, Math.floor((expiresAtMs - issuedAtMs) / 1000));
  const { readers } = place;
  const places = await placesOf(plan, { readers, replica, expiresSeconds, kind: urls });
  const sizes = [plan.snapshot, ...plan.steps].map(({ size }) => size);
  const { requests, seconds } = predictRestore(sizes, objects.speedOf(readers, readers[0]?.name ?? ""));
  const manifest = manifestOf(plan, {
    ...{ database: place.database, issuedAtMs, expiresAtMs, lease: leased },
    ...{ predictedRequests: requests, predictedSeconds: seconds },
    ...{ stateHash: ends.stateHash, pageSize: ends.pageSize },
    factsOf: (name) => ({ ...places.get(name), ...checksumOf(name, ends) }),
  });
  const json = manifestJson(manifest);
  return context.json(signer === undefined ? json : signer.sign(json), 200, { "cache-control": "no-store" });
}

/** Parses what a schema says of a query. Errors: `bad-request`, naming the parameter. */
export function parsedQuery<Query>(context: Context, schema: z.ZodType<Query>): Query {
  const without = context.req.queries("without") ?? [];
  const found = schema.safeParse({ ...context.req.query(), without });
  if (found.success) return found.data;
  const [issue] = found.error.issues;
  throw new PageferryError("bad-request", `${issue?.path.join(".")}: ${issue?.message}`, {
    cause: found.error,
  });
}

function checksumOf(name: string, { crc64 }: PlannedPoint["ends"]): { readonly crc64?: string } {
  const checksum = crc64?.get(name);
  return checksum === undefined ? {} : { crc64: checksum.toString(16).padStart(16, "0") };
}
