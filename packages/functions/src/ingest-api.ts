// The HTTP side of an agent: envelopes, large bodies, and what is missing. CONTRACTS "HTTP between agent and host" holds for both sides.

import {
  type DatabaseName,
  decodeHeartbeats,
  envelopeBytesMax,
  formatNeeds,
  type Heartbeat,
  heartbeatsBytesMax,
  type Needs,
  PageferryError,
  parseDatabaseName,
} from "@pageferry/format";
import type { Context, Hono } from "hono";
import pMap from "p-map";
import { grantOfCall } from "./access.ts";
import type { Holds } from "./holds.ts";
import {
  heartbeatsRoute,
  holdsRoute,
  ingestRoute,
  needsRoute,
  stagePlaceRoute,
  stageRoute,
} from "./ingest-schema.ts";
import { formatTime } from "./replica-state.ts";
import { chunksOf, createBodyReader, declaredLength } from "./request-body.ts";
import { requireDatabase } from "./scopes.ts";
import { addRoute } from "./serve-route.ts";
import type { StageDoor } from "./stage.ts";
import type { CallOptions } from "./store.ts";

/** Where a sender may put a body by itself: with this method and these headers, until it expires. */
export interface StagePlace {
  readonly method: "PUT";
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly expiresAtMs: number;
}

/**
 * Of one request, taken at a time. The first of a database may wait half a second for a replica that does not say whose it is: one after the
 * other, those of 500 would be given up by who sent them.
 */
const heartbeatsAtOnce = 64;

export interface IngestApiOptions {
  /** Resolves when the envelope is durable; `mayAdd` throws for a database that its sender has no right to. */
  readonly ingest: (envelope: Uint8Array, mayAdd: (database: DatabaseName) => void) => Promise<unknown>;
  readonly stage: Pick<StageDoor, "put">;
  /** Where bodies go that are too large for `stage`; without it none are. Errors: `too-large`. */
  readonly stagePlace?: (digest: string, size: number, database: DatabaseName) => Promise<StagePlace>;
  readonly needs: (database: DatabaseName, call: CallOptions) => Promise<Needs>;
  readonly holds: Holds;
}

export function addIngestRoutes(app: Hono, options: IngestApiOptions): void {
  const bodies = createBodyReader();
  addRoute(app, ingestRoute, async ({ context }) => {
    requireCbor(context);
    const grant = grantOfCall(context);
    const mayAdd = (database: DatabaseName) => requireDatabase(grant, database);
    await options.ingest(await bodies.read(context, envelopeBytesMax), mayAdd);
    return context.body(null, 202);
  });
  addRoute(app, heartbeatsRoute, async ({ context, signal }) => {
    requireCbor(context);
    const grant = grantOfCall(context);
    const mayAdd = (database: DatabaseName) => requireDatabase(grant, database);
    const heartbeats = decodeHeartbeats(await bodies.read(context, heartbeatsBytesMax));
    const refused: string[] = [];
    const take = async ({ bytes, envelope }: Heartbeat) => {
      signal.throwIfAborted();
      // Its sender asks again alone: why is told there.
      await options.ingest(bytes, mayAdd).catch(() => refused.push(envelope.database));
    };
    await pMap(heartbeats, take, { concurrency: heartbeatsAtOnce });
    return { refused };
  });
  addRoute(app, stageRoute, async ({ context, query: { database } }) => {
    const size = declaredLength(context);
    const digest = context.req.param("digest") ?? "";
    const outcome = await options.stage.put(digest, chunksOf(context), { size, database });
    return context.body(null, outcome === "stored" ? 201 : 200);
  });
  const { stagePlace } = options;
  if (stagePlace !== undefined) {
    addRoute(app, stagePlaceRoute, async ({ context, query: { database, size } }) => {
      const { expiresAtMs, ...place } = await stagePlace(context.req.param("digest") ?? "", size, database);
      return { ...place, headers: { ...place.headers }, expiresAt: formatTime(expiresAtMs) };
    });
  }
  addRoute(app, needsRoute, async ({ context, signal }) => {
    const database = parseDatabaseName(context.req.param("database") ?? "");
    const needs = await options.needs(database, { signal });
    const headers = { "content-type": "application/json", "cache-control": "no-store" };
    return new Response(Buffer.from(formatNeeds(needs)), { headers });
  });
  addRoute(app, holdsRoute, async ({ context, query: { generation, txid, stateHash }, signal }) => {
    const database = parseDatabaseName(context.req.param("database") ?? "");
    const point = { generation, txId: txid, stateHash };
    return { version: 1 as const, holds: await options.holds(database, point, { signal }) };
  });
}

function requireCbor(context: Context): void {
  const type = context.req.header("content-type")?.split(";")[0]?.trim().toLowerCase();
  if (type === "application/cbor") return;
  throw new PageferryError(
    "unsupported-media",
    `content-type is ${type?.slice(0, 100) ?? "absent"}, application/cbor is expected`,
  );
}
