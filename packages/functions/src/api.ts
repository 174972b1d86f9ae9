// The host's HTTP API as a hono app without a port: docs/operations.md#http. It parses, asks the parts, and answers; every
// error is told by problem.ts.

import {
  type ArchiveReader,
  type DatabaseName,
  envelopeBytesMax,
  formatNeeds,
  isPageferryError,
  type Manifest,
  manifestJson,
  type Needs,
  PageferryError,
  parseDatabaseName,
  parseDuration,
  parseGeneration,
  parseTxId,
  type RestoreTarget,
} from "@pageferry/format";
import { type Context, Hono } from "hono";
import { type Authenticate, grantOfCall, guardRoutes } from "./access.ts";
import { createObjectServer, planManifest, pointsJson, timelineAnswer } from "./archive-api.ts";
import { addEventRoutes, type EventsApiOptions } from "./events-api.ts";
import type { LagHistory } from "./lag-history.ts";
import { answerInTheEnd } from "./late-answer.ts";
import type { MetricsText } from "./metrics.ts";
import { problemOf } from "./problem.ts";
import { parsedQuery } from "./query.ts";
import type { RepairReport } from "./repair.ts";
import type { RepairRequest } from "./repairer.ts";
import type { ReplayReport, ReplayRequest } from "./replay.ts";
import { chunksOf, createBodyReader, declaredLength } from "./request-body.ts";
import { covers, requireDatabase } from "./scopes.ts";
import type { Stage } from "./stage.ts";
import type { AlarmStatus, DatabaseStatus } from "./status.ts";
import { statusQuerySchema } from "./status-schema.ts";
import type { CallOptions } from "./store.ts";
import { addTimeRoutes, type TimeApiOptions } from "./time-api.ts";
import type { VerifyRequest } from "./verifier.ts";
import type { VerifyReport } from "./verify-report.ts";
import { alarmsFor, statusFor, withHistory } from "./views.ts";
import { addWaitRoutes, type WaitApiOptions } from "./wait-api.ts";

/** Names left out of one manifest: what a restore found missing on its way. */
const withoutMax = 1000;

/** How old the answer about everybody's health may be. */
const healthAgeMs = 1000;

/** A request's target is as long as names are, ten times over. */
const pathLengthMax = 16 * 1024;

export interface ApiOptions extends TimeApiOptions, WaitApiOptions, EventsApiOptions {
  /** Asked of every call but `/healthz`. */
  readonly authenticate: Authenticate;
  /** Resolves when the envelope is durable; `mayAdd` throws for a database that its sender has no right to. */
  readonly ingest: (envelope: Uint8Array, mayAdd: (database: DatabaseName) => void) => Promise<unknown>;
  readonly stage: Stage;
  /** Gives what was set aside another chance. */
  readonly replay: (request: ReplayRequest) => ReplayReport;
  readonly needs: (database: DatabaseName, call: CallOptions) => Promise<Needs>;
  readonly databases: () => Promise<readonly DatabaseName[]>;
  readonly status: (database: DatabaseName) => Promise<DatabaseStatus>;
  /** How far behind a replica was in the last hour. */
  readonly lagHistory: (database: string, replica: string) => LagHistory;
  /** A database's replicas, healthiest first. */
  readonly readers: (database: DatabaseName) => Promise<readonly ArchiveReader[]>;
  /** Keeps prune away from a point that somebody is about to restore. */
  readonly lease: (database: DatabaseName, point: Pick<Manifest, "generation" | "txId">) => Promise<void>;
  readonly repair: (database: DatabaseName, request: RepairRequest) => Promise<RepairReport>;
  readonly verify: (database: DatabaseName, request: VerifyRequest) => Promise<VerifyReport>;
  readonly alarms: () => readonly AlarmStatus[];
  /** What it is measured by; without it there is no `/metrics`. */
  readonly metrics?: () => Promise<MetricsText>;
  /** Told what nobody foresaw. */
  readonly onUnexpected: (error: unknown, where: string) => void;
}

export function createApi(options: ApiOptions): Hono {
  const app = new Hono();
  app.onError((error, context) => {
    const { method, path } = context.req;
    if (!isPageferryError(error)) options.onUnexpected(error, `${method} ${path}`);
    const isAboutRequest = method === "POST" || method === "PUT";
    const { status, headers, body } = problemOf(error, isAboutRequest);
    // What was not read of a refused body must not be taken for the next request.
    const close: Record<string, string> = isAboutRequest ? { connection: "close" } : {};
    return new Response(body, { status, headers: { ...headers, ...close } });
  });
  app.notFound((context) => {
    throw new PageferryError(
      "not-found",
      `${context.req.method} ${context.req.path.slice(0, 200)} is not part of this API`,
    );
  });
  app.use(async (context, next) => {
    if (context.req.url.length > pathLengthMax)
      throw new PageferryError("bad-request", "the URL is too long");
    await next();
  });
  guardRoutes(app, options.authenticate);
  addHealth(app, options);
  addIngest(app, options);
  addDatabases(app, options);
  addReplay(app, options);
  addArchive(app, options);
  addRepair(app, options);
  addTimeRoutes(app, options, { known: (context) => known(context, options), targetOf });
  addWaitRoutes(app, options, { known: (context) => known(context, options) });
  addEventRoutes(app, options);
  addMetrics(app, options);
  addVerify(app, options);
  return app;
}

function addHealth(app: Hono, options: ApiOptions): void {
  let asked: { readonly atMs: number; readonly states: Promise<DatabaseStatus[]> } | undefined;
  // Anybody may ask, and the answer costs a look at every database.
  const states = (): Promise<DatabaseStatus[]> => {
    if (asked === undefined || performance.now() - asked.atMs > healthAgeMs) {
      const found = options.databases().then((databases) => Promise.all(databases.map(options.status)));
      asked = { atMs: performance.now(), states: found };
    }
    return asked.states;
  };
  app.get("/healthz", async (context) => {
    const maxLag = context.req.query("maxLag");
    const maxLagMs = maxLag === undefined ? Number.POSITIVE_INFINITY : parseDuration(maxLag);
    const all = await states();
    const behind = all.filter(({ lagMs }) => lagMs !== null && lagMs > maxLagMs).length;
    const isWell = behind === 0 && !options.alarms().some(({ code }) => code === "queue");
    // Without a token it says how many, not which.
    const body = {
      status: isWell ? "ok" : "behind",
      databases: all.length,
      behind,
      alarms: options.alarms().length,
    };
    return context.json(body, isWell ? 200 : 503);
  });
}

function addIngest(app: Hono, options: ApiOptions): void {
  const bodies = createBodyReader();
  app.post("/v1/ingest", async (context) => {
    const type = context.req.header("content-type")?.split(";")[0]?.trim().toLowerCase();
    if (type !== "application/cbor") {
      throw new PageferryError(
        "bad-request",
        `content-type is ${type ?? "absent"}, application/cbor is expected`,
      );
    }
    const grant = grantOfCall(context);
    const mayAdd = (database: DatabaseName) => requireDatabase(grant, database);
    await options.ingest(await bodies.read(context, envelopeBytesMax), mayAdd);
    return context.body(null, 202);
  });
  app.put("/v1/stage/:digest", async (context) => {
    parseDatabaseName(context.req.query("database") ?? "");
    const size = declaredLength(context);
    const outcome = await options.stage.put(context.req.param("digest"), chunksOf(context), { size });
    return context.body(null, outcome === "stored" ? 201 : 200);
  });
}

function addDatabases(app: Hono, options: ApiOptions): void {
  app.get("/v1/databases", async (context) => {
    const grant = grantOfCall(context);
    const names = (await options.databases()).filter((name) => covers(grant, name));
    const databases = await Promise.all(names.map(options.status));
    return context.json({
      databases: databases.map((status) => statusFor(grant, status)),
      alarms: alarmsFor(grant, options.alarms()),
    });
  });
  app.get("/v1/databases/:database", async (context) =>
    context.json(
      withHistory(
        statusFor(grantOfCall(context), await options.status(await known(context, options))),
        parsedQuery(statusQuerySchema, context).history ? options.lagHistory : undefined,
      ),
    ),
  );
  app.get("/v1/databases/:database/needs", async (context) => {
    // A database nobody knows yet needs nothing: its agent asks before it begins.
    const needs = await options.needs(parseDatabaseName(context.req.param("database")), {
      signal: context.req.raw.signal,
    });
    return new Response(Buffer.from(formatNeeds(needs)), { headers: jsonHeaders });
  });
}

function addReplay(app: Hono, options: ApiOptions): void {
  app.post("/v1/replay", (context) => {
    const { replica, database, forks } = context.req.query();
    return context.json(
      options.replay({
        replica,
        database: database === undefined ? undefined : parseDatabaseName(database),
        hasForks: forks === "true",
      }),
    );
  });
}

const jsonHeaders = { "content-type": "application/json", "cache-control": "no-store" };

function addArchive(app: Hono, options: ApiOptions): void {
  const objects = createObjectServer();
  app.get("/v1/databases/:database/points", async (context) => {
    const { signal } = context.req.raw;
    const answer = context.req.query("timeline") === "true" ? timelineAnswer : pointsJson;
    return context.json(await answer(await readersOf(context, options), { signal }));
  });
  app.get("/v1/databases/:database/manifest", async (context) => {
    const { signal } = context.req.raw;
    const without = new Set((context.req.queries("without") ?? []).slice(0, withoutMax));
    const manifest = await planManifest(await readersOf(context, options), targetOf(context), {
      signal,
      without,
    });
    await options.lease(await known(context, options), manifest);
    return context.json(manifestJson(manifest));
  });
  app.get("/v1/databases/:database/objects/:name{.+}", async (context) => {
    const range = rangeOf(context.req.header("range"));
    const { signal } = context.req.raw;
    const chunks = await objects.open(await readersOf(context, options), context.req.param("name"), {
      ...range,
      signal,
    });
    const body = chunks instanceof ReadableStream ? chunks : ReadableStream.from(chunks);
    const headers = {
      "content-type": "application/octet-stream",
      "cache-control": "no-store",
      "accept-ranges": "bytes",
    };
    if (range === undefined) return new Response(body as ReadableStream, { headers });
    const last = range.offset + range.length - 1;
    const partial = {
      "content-range": `bytes ${range.offset}-${last}/*`,
      "content-length": String(range.length),
    };
    return new Response(body as ReadableStream, { status: 206, headers: { ...headers, ...partial } });
  });
}

function addRepair(app: Hono, options: ApiOptions): void {
  app.post("/v1/databases/:database/repair", async (context) => {
    const { replica, verify, dryRun } = context.req.query();
    const { signal } = context.req.raw;
    const request = { replica, verify: verify === "true", dryRun: dryRun === "true", signal };
    return answerInTheEnd(options.repair(await known(context, options), request), signal);
  });
}

function addMetrics(app: Hono, { metrics }: ApiOptions): void {
  if (metrics === undefined) return;
  app.get("/metrics", async () => {
    const { contentType, body } = await metrics();
    return new Response(body, { headers: { "content-type": contentType, "cache-control": "no-store" } });
  });
}

function addVerify(app: Hono, options: ApiOptions): void {
  app.post("/v1/databases/:database/verify", async (context) => {
    const { replica, chain, full } = context.req.query();
    const { signal } = context.req.raw;
    const depth = chain === "true" ? "chain" : full === "true" ? "full" : "drill";
    return answerInTheEnd(options.verify(await known(context, options), { replica, depth, signal }), signal);
  });
}

/** The database in the path, which must be one that is backed up here. */
async function known(context: Context, options: ApiOptions): Promise<DatabaseName> {
  const database = parseDatabaseName(context.req.param("database") ?? "");
  const databases = await options.databases();
  if (databases.includes(database)) return database;
  const grant = grantOfCall(context);
  const names = databases
    .filter((name) => covers(grant, name))
    .slice(0, 20)
    .join(", ");
  throw new PageferryError("not-found", `database ${database} is not backed up here`, {
    hint: names === "" ? "No database is backed up here yet." : `There are ${names}.`,
  });
}

async function readersOf(context: Context, options: ApiOptions): Promise<readonly ArchiveReader[]> {
  const readers = await options.readers(await known(context, options));
  const wanted = context.req.query("replica");
  if (wanted === undefined) return readers;
  const found = readers.filter(({ name }) => name === wanted || name.startsWith(`${wanted}/`));
  if (found.length > 0) return found;
  throw new PageferryError("not-found", `replica ${wanted.slice(0, 200)} is not configured`, {
    hint: `There are ${readers.map(({ name }) => name).join(", ")}.`,
  });
}

function targetOf(context: Context): RestoreTarget {
  const { txid, timestamp, generation } = context.req.query();
  const timestampMs = timestamp === undefined ? undefined : Date.parse(timestamp);
  if (timestampMs !== undefined && !Number.isFinite(timestampMs)) {
    throw new PageferryError(
      "bad-request",
      `timestamp ${JSON.stringify(timestamp?.slice(0, 40))} is not RFC 3339`,
    );
  }
  return {
    ...(txid === undefined ? {} : { txId: parseTxId(txid) }),
    ...(timestampMs === undefined ? {} : { timestampMs }),
    ...(generation === undefined ? {} : { generation: parseGeneration(generation) }),
  };
}

/** `bytes=FIRST-LAST`; a restore knows where the things it wants end. */
function rangeOf(
  header: string | undefined,
): { readonly offset: number; readonly length: number } | undefined {
  if (header === undefined) return undefined;
  const [, first, last] = /^bytes=(\d{1,15})-(\d{1,15})$/.exec(header.trim()) ?? [];
  const [offset, end] = [Number(first), Number(last)];
  if (first === undefined || last === undefined || end < offset) {
    throw new PageferryError(
      "bad-request",
      `range ${JSON.stringify(header.slice(0, 40))} is not bytes=FIRST-LAST`,
    );
  }
  return { offset, length: end - offset + 1 };
}
