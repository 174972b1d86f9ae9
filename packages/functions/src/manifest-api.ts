// The HTTP side of a manifest: docs/operations.md#restore-over-http.

import {
  type DatabaseName,
  manifestJson,
  manifestOf,
  predictRestore,
  type RestorePlan,
} from "@pageferry/format";
import type { Hono } from "hono";
import { type AcknowledgeOptions, requireAcknowledged } from "./acknowledged.ts";
import type { ArchiveApi, PlannedPoint } from "./archive-api.ts";
import type { ManifestSigner } from "./manifest-key.ts";
import { placesOf } from "./manifest-places.ts";
import { manifestKeyRoute, manifestRoute } from "./manifest-schema.ts";
import type { ObjectServer } from "./object-server.ts";
import type { Parsed } from "./parsed.ts";
import { targetOf } from "./route.ts";
import { addRoute, type Call } from "./serve-route.ts";

/** How long a manifest is good where no replica took a lease. */
const validMs = 60 * 60_000;

/** A point that prune leaves alone until then. */
export interface Lease {
  readonly id: string;
  readonly expiresAtMs: number;
}

export interface ManifestApiOptions extends AcknowledgeOptions {
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
export interface ArchiveParsed extends Pick<Parsed, "placeOf"> {
  readonly archive: ArchiveApi;
  readonly objects: ObjectServer;
}

export function addManifestRoutes(app: Hono, options: ManifestApiOptions, parsed: ArchiveParsed): void {
  addRoute(app, manifestRoute, (call) => answerManifest(call, options, parsed));
  const { signer } = options;
  if (signer === undefined) return;
  const { publicKey, keyId } = signer;
  addRoute(app, manifestKeyRoute, () => ({ algorithm: "ed25519" as const, keyId, publicKey }));
}

async function answerManifest(
  { context, query, signal }: Call<typeof manifestRoute>,
  { lease, signer, now = Date.now, profileOf }: ManifestApiOptions,
  { placeOf, archive, objects }: ArchiveParsed,
): Promise<Response> {
  const { urls, replica } = query;
  const place = await placeOf(context, replica);
  requireAcknowledged(place.database, query.acknowledge, { profileOf });
  const without = new Set(query.without ?? []);
  const target = targetOf(query);
  const { plan, ends } = await archive.plan(place, target, { signal, without });
  const { generation, heir = generation, txId } = plan;
  const wanted = { generation: heir, txId, notAfterMs: target.timestampMs };
  const besides = await archive.companions(place, wanted, { signal });
  const issuedAtMs = now();
  const leased = await lease(place.database, plan);
  const expiresAtMs = leased?.expiresAtMs ?? issuedAtMs + validMs;
  const expiresSeconds = Math.max(1, Math.floor((expiresAtMs - issuedAtMs) / 1000));
  const { readers } = place;
  const places = await placesOf(plan, { readers, replica, expiresSeconds, kind: urls, besides });
  const work = { bytes: plan.bytes, objects: 1 + plan.steps.length };
  const seconds = predictRestore(work, objects.speedOf(readers, readers[0]?.name ?? ""));
  const manifest = manifestOf(plan, {
    ...{ database: place.database, issuedAtMs, expiresAtMs, lease: leased },
    ...{ predictedRequests: work.objects, predictedSeconds: seconds },
    ...{ stateHash: ends.stateHash, pageSize: ends.pageSize },
    ...(besides && { companions: { name: besides.name, size: besides.size, ...places.get(besides.name) } }),
    factsOf: (name) => ({ ...places.get(name), ...checksumOf(name, ends) }),
  });
  const json = manifestJson(manifest);
  return context.json(signer === undefined ? json : signer.sign(json), 200, { "cache-control": "no-store" });
}

function checksumOf(name: string, { crc64 }: PlannedPoint["ends"]): { readonly crc64?: string } {
  const checksum = crc64?.get(name);
  return checksum === undefined ? {} : { crc64: checksum.toString(16).padStart(16, "0") };
}
