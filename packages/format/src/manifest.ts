// The restore manifest: a plan as a document, with places to fetch its objects from. Schema, both directions, and back to a plan that is
// as good as one made from a listing. See docs/format.md#manifest.

import { z } from "zod";
import { isCompanionsName } from "./companions-name.ts";
import { PageferryError } from "./errors.ts";
import { parseDocument } from "./generation-json.ts";
import { pageSizeMax, pageSizeMin } from "./limits.ts";
import { type Generation, type ObjectName, parseGeneration, parseObjectName } from "./names.ts";
import type { PlanStep, RestorePlan } from "./restore-plan.ts";
import { formatStateHash, parseStateHash, type StateHash } from "./state-hash.ts";
import { formatTxId, parseTxId, type TxId } from "./txid.ts";

/** One object to fetch. */
export interface ManifestObject {
  readonly kind: "snapshot" | "segment" | "pack";
  /** Relative to the replica root. */
  readonly name: string;
  readonly size: number;
  readonly generation: Generation;
  /** What the object holds; for a snapshot both are its transaction. */
  readonly firstTxId: TxId;
  readonly lastTxId: TxId;
  /** The state it is applied to, and up to which; for a snapshot both are its transaction. */
  readonly fromTxId: TxId;
  readonly toTxId: TxId;
  readonly stampMs: number | null;
  /** Of the whole object, 64 hex digits, where its store tells it. */
  readonly sha256?: string | undefined;
  /** Of its `data`, as its header says, 16 hex digits; where the header was read. */
  readonly crc64?: string | undefined;
  /** Where to get it; relative to the manifest's own URL. Absent: `objects/<name>` beside the manifest. */
  readonly url?: string | undefined;
  /** `presigned`: from the store itself, without a token, until the manifest expires; `proxied`: from the host, with one. */
  readonly via?: "presigned" | "proxied" | undefined;
}

/** The version of the companion files that belongs to the point: of about the same time. */
export interface ManifestCompanions {
  readonly name: string;
  readonly size: number;
  /** As a `ManifestObject`'s. */
  readonly url?: string | undefined;
  readonly via?: ManifestObject["via"];
}

/** A point that prune leaves alone for a while. */
export interface ManifestLease {
  readonly id: string;
  readonly expiresAtMs: number;
}

/** Everything that rebuilds one point, in the order of the chain: the snapshot first. */
export interface Manifest {
  readonly version: 1;
  /** Whose it is. */
  readonly database?: string | undefined;
  readonly generation: Generation;
  /** The transaction that the restored database must be at. */
  readonly txId: TxId;
  readonly stampMs: number | null;
  /** The state that it must have, where that is known. */
  readonly stateHash?: StateHash | undefined;
  readonly pageSize?: number | undefined;
  /** Bytes to fetch. */
  readonly predictedBytes: number;
  readonly predictedRequests?: number | undefined;
  readonly predictedSeconds?: number | undefined;
  readonly issuedAtMs?: number | undefined;
  /** Until when it is good: a later reader asks for another one. */
  readonly expiresAtMs?: number | undefined;
  /** Absent: no replica took one. */
  readonly lease?: ManifestLease | undefined;
  readonly objects: readonly ManifestObject[];
  /** Absent: there is none, or an older host does not know. */
  readonly companions?: ManifestCompanions | undefined;
  readonly warnings: readonly string[];
}

/** What is known of one object beyond its plan. */
export type ObjectFacts = Pick<ManifestObject, "url" | "via" | "sha256" | "crc64">;

/** What a manifest says beyond its plan. */
export interface ManifestOptions
  extends Partial<
    Pick<
      Manifest,
      | "database"
      | "stateHash"
      | "pageSize"
      | "predictedRequests"
      | "predictedSeconds"
      | "issuedAtMs"
      | "expiresAtMs"
      | "lease"
      | "companions"
    >
  > {
  readonly factsOf?: ((name: string) => ObjectFacts) | undefined;
}

const txIdSchema = z
  .string()
  .regex(/^[0-9a-f]{16}$/)
  .transform(parseTxId);
const generationSchema = z
  .string()
  .regex(/^[0-9a-f]{16}$/)
  .transform(parseGeneration);
const stampSchema = z.int().min(0).nullable();
const hexSchema = (digits: number) => z.string().regex(new RegExp(`^[0-9a-f]{${digits}}$`));

const objectSchema = z.object({
  kind: z.enum(["snapshot", "segment", "pack"]),
  name: z.string().min(1).max(1024),
  size: z.int().min(0),
  generation: generationSchema,
  firstTxId: txIdSchema,
  lastTxId: txIdSchema,
  fromTxId: txIdSchema,
  toTxId: txIdSchema,
  stampMs: stampSchema,
  sha256: hexSchema(64).optional(),
  crc64: hexSchema(16).optional(),
  url: z.string().max(8192).optional(),
  via: z.enum(["presigned", "proxied"]).optional(),
});

/** A manifest as JSON: transaction ids are 16 hex digits, the state hash 32. Unknown keys are ignored. */
const manifestSchema = z.object({
  version: z.literal(1),
  database: z.string().min(1).max(64).optional(),
  generation: generationSchema,
  txId: txIdSchema,
  stampMs: stampSchema,
  stateHash: hexSchema(32).transform(parseStateHash).optional(),
  pageSize: z.int().min(pageSizeMin).max(pageSizeMax).optional(),
  predictedBytes: z.int().min(0),
  predictedRequests: z.int().min(0).optional(),
  predictedSeconds: z.number().min(0).optional(),
  issuedAtMs: z.int().min(0).optional(),
  expiresAtMs: z.int().min(0).optional(),
  lease: z.object({ id: z.string().min(1).max(64), expiresAtMs: z.int().min(0) }).optional(),
  objects: z.array(objectSchema).min(1).max(1_000_000),
  companions: z
    .object({
      name: z.string().refine(isCompanionsName),
      size: z.int().min(0),
      url: z.string().max(8192).optional(),
      via: z.enum(["presigned", "proxied"]).optional(),
    })
    .optional(),
  warnings: z.array(z.string()).default([]),
});

/** Writes a plan down as a manifest. */
export function manifestOf(plan: RestorePlan, options: ManifestOptions = {}): Manifest {
  const { snapshot } = plan;
  const { factsOf = () => ({}), database, stateHash, pageSize, ...more } = options;
  const base: ManifestObject = {
    kind: "snapshot",
    name: snapshot.name,
    size: snapshot.size,
    generation: snapshot.generation,
    firstTxId: snapshot.txId,
    lastTxId: snapshot.txId,
    fromTxId: snapshot.txId,
    toTxId: snapshot.txId,
    stampMs: snapshot.stampMs,
    ...factsOf(snapshot.name),
  };
  const steps = plan.steps.map((step): ManifestObject => {
    const { kind, name, size, generation, lastTxId, stampMs } = step;
    const firstTxId = (step.parentTxId + 1n) as TxId;
    return {
      kind,
      name,
      size,
      generation,
      firstTxId,
      lastTxId,
      fromTxId: step.from,
      toTxId: step.to,
      stampMs,
      ...factsOf(name),
    };
  });
  return {
    version: 1,
    ...(database === undefined ? {} : { database }),
    generation: plan.generation,
    txId: plan.txId,
    stampMs: plan.stampMs,
    ...(stateHash === undefined ? {} : { stateHash }),
    ...(pageSize === undefined ? {} : { pageSize }),
    predictedBytes: plan.bytes,
    ...more,
    objects: [base, ...steps],
    warnings: plan.warnings,
  };
}

/** The manifest as a JSON value, ready for `JSON.stringify`. */
export function manifestJson(manifest: Manifest): Record<string, unknown> {
  const { stateHash } = manifest;
  return {
    ...manifest,
    txId: formatTxId(manifest.txId),
    ...(stateHash === undefined ? {} : { stateHash: formatStateHash(stateHash) }),
    objects: manifest.objects.map((object) => ({
      ...object,
      firstTxId: formatTxId(object.firstTxId),
      lastTxId: formatTxId(object.lastTxId),
      fromTxId: formatTxId(object.fromTxId),
      toTxId: formatTxId(object.toTxId),
    })),
  };
}

/** Reads a manifest; `corrupt`, or `unsupported-version` for a later one. Whether it is a chain, `planOf` asks. */
export function parseManifest(bytes: Uint8Array): Manifest {
  return parseDocument(bytes, manifestSchema, "manifest");
}

/**
 * The plan that a manifest holds. A manifest comes from elsewhere, so its chain is checked: names say what the objects say, the snapshot
 * is first, each step begins where the one before it ends, the last ends at the manifest's transaction. Otherwise `corrupt`.
 */
export function planOf(manifest: Manifest): RestorePlan {
  const [first, ...rest] = manifest.objects;
  if (first === undefined || first.kind !== "snapshot") throw broken("does not begin with a snapshot");
  for (const object of manifest.objects) checkObject(object);
  let reached = first.lastTxId;
  const steps = rest.map((object): PlanStep => {
    const parentTxId = (object.firstTxId - 1n) as TxId;
    const { fromTxId, toTxId, kind } = object;
    const isStep = kind !== "snapshot" && fromTxId === reached && fromTxId >= parentTxId && toTxId > fromTxId;
    if (!isStep || toTxId > object.lastTxId || (kind === "segment" && toTxId !== object.lastTxId)) {
      throw broken(`${object.name} does not lead on from ${formatTxId(reached)} to ${formatTxId(toTxId)}`);
    }
    reached = toTxId;
    const { name, size, generation, lastTxId, stampMs } = object;
    return { kind, name, size, generation, parentTxId, lastTxId, from: fromTxId, to: toTxId, stampMs };
  });
  const last = manifest.objects.at(-1);
  if (reached !== manifest.txId || last?.generation !== manifest.generation) {
    throw broken(
      `ends at ${formatTxId(reached)} of ${last?.generation}, not at ${formatTxId(manifest.txId)} of ${manifest.generation}`,
    );
  }
  return {
    generation: manifest.generation,
    txId: manifest.txId,
    stampMs: manifest.stampMs,
    ...(manifest.stateHash === undefined ? {} : { stateHash: manifest.stateHash }),
    snapshot: {
      kind: "snapshot",
      name: first.name,
      size: first.size,
      generation: first.generation,
      txId: first.lastTxId,
      stampMs: first.stampMs ?? 0,
    },
    steps,
    bytes: manifest.objects.reduce((sum, object) => sum + object.size, 0),
    warnings: manifest.warnings,
  };
}

function checkObject(object: ManifestObject): void {
  const name = parseObjectName(object.name);
  if (name?.kind !== object.kind || name.generation !== object.generation) {
    throw broken(
      `${JSON.stringify(object.name.slice(0, 120))} is no ${object.kind} of generation ${object.generation}`,
    );
  }
  const [first, last] = txIdsOf(name);
  if (first !== object.firstTxId || last !== object.lastTxId) {
    throw broken(
      `${object.name} is not of ${formatTxId(object.firstTxId)} to ${formatTxId(object.lastTxId)}`,
    );
  }
}

function txIdsOf(name: ObjectName): readonly [TxId | undefined, TxId | undefined] {
  if (name.kind === "snapshot") return [name.txId, name.txId];
  return name.kind === "segment" || name.kind === "pack"
    ? [name.firstTxId, name.lastTxId]
    : [undefined, undefined];
}

function broken(what: string): PageferryError {
  return new PageferryError("corrupt", `manifest: ${what}`);
}
