// The page that people look at, at `/`: the routes, and what each shows. It asks the same parts as the API, and what a session may do is what
// its token may.

import { setTimeout as sleep } from "node:timers/promises";
import {
  type DatabaseName,
  isAcknowledged,
  type Profile,
  parseDatabaseName,
  parseGeneration,
  parseTxId,
} from "@pageferry/format";
import type { Context, Hono } from "hono";
import { type Authenticate, grantOfCall } from "../access.ts";
import type { ArchiveApi } from "../archive-api.ts";
import { type AtOnce, createAtOnce } from "../at-once.ts";
import type { HostReader } from "../host-reader.ts";
import type { Looks } from "../inspect-looks.ts";
import type { LagHistory } from "../lag-history.ts";
import { covers, type Grant } from "../scopes.ts";
import type { AlarmStatus, DatabaseStatus } from "../status.ts";
import type { TimeApiOptions } from "../time-api.ts";
import { alarmsFor, statusFor } from "../views.ts";
import { type ArchiveViews, createArchiveViews } from "./archive-view.ts";
import { answerAsset } from "./assets.ts";
import { originOf } from "./cookie.ts";
import { databaseMain } from "./database-page.ts";
import { createFormReader, type FormReader } from "./form.ts";
import { inspectPage } from "./inspect-route.ts";
import { documentOf, pathOf, type View } from "./layout.ts";
import { overviewMain, type RecentEvent, shownOf } from "./overview.ts";
import {
  acknowledgeFormSchema,
  overviewQuerySchema,
  parseAs,
  pinFormSchema,
  targetIn,
  windowIn,
} from "./page-schema.ts";
import { restoreMain } from "./restore-page.ts";
import { type Caution, judgeAll, standingOf, verdictOf } from "./safety.ts";
import type { Sessions } from "./sessions.ts";
import { addSignIn } from "./sign-in-routes.ts";

/** How long a page waits for replicas that nobody has looked at yet. */
const freshWaitMs = 150;

/** Archives that are listed for pages at a time: each may be some hundred MB in memory. */
const listingsAtOnce = { perHost: 6, perToken: 4 };

/** What the page needs besides what the API has. */
export interface PageOptions {
  readonly sessions: Sessions;
  /** The status without waiting. */
  readonly standing: (database: DatabaseName) => DatabaseStatus;
  readonly profileOf: (database: DatabaseName) => Profile;
  /** How far behind a replica may be. */
  readonly lagMsMax: number;
  /** What keeps all from being safe though nothing fails. */
  readonly caution?: (() => Caution | undefined) | undefined;
  /** Per replica, where somebody keeps it. */
  readonly history?: ((database: DatabaseName) => Readonly<Record<string, LagHistory>>) | undefined;
  /** Newest first. */
  readonly events?: (() => readonly RecentEvent[]) | undefined;
  readonly now: () => number;
}

/** What the API's options have that the page uses. */
export interface PageApiOptions extends Pick<TimeApiOptions, "pins"> {
  readonly page?: PageOptions | undefined;
  readonly authenticate: Authenticate;
  readonly databases: () => Promise<readonly DatabaseName[]>;
  readonly status: (database: DatabaseName) => Promise<DatabaseStatus>;
  readonly readers: (database: DatabaseName) => Promise<readonly HostReader[]>;
  readonly alarms: () => readonly AlarmStatus[];
}

/** What the rest of the API knows of a request. */
interface Parsed {
  /** The database in the path; throws `not-found` for one that is not backed up here. */
  readonly known: (context: Context) => Promise<DatabaseName>;
  readonly archive: Pick<ArchiveApi, "plan">;
  readonly looks: Looks;
}

interface Parts extends PageApiOptions, Pick<Parsed, "known" | "looks"> {
  readonly page: PageOptions;
  readonly views: ArchiveViews;
  readonly atOnce: AtOnce;
  readonly forms: FormReader;
  readonly hasStream: () => boolean;
}

export function addPageRoutes(app: Hono, options: PageApiOptions, { known, archive, looks }: Parsed): void {
  const { page } = options;
  if (page === undefined) return;
  const parts: Parts = {
    ...{ ...options, page, known, looks, forms: createFormReader() },
    views: createArchiveViews(options.readers, archive),
    atOnce: createAtOnce("looks into archives", listingsAtOnce),
    hasStream: () => app.routes.some(({ path }) => path === "/v1/databases/:database/restore"),
  };
  app.get(
    "/assets/:name",
    ({ req, notFound }) => answerAsset(req.path, req.header("if-none-match")) ?? notFound(),
  );
  addSignIn(app, { ...parts, ...page });
  app.get("/", (context) => overviewPage(context, parts));
  app.get("/db/:database", (context) => databasePage(context, parts));
  app.get("/db/:database/restore", (context) => restorePage(context, parts, undefined));
  app.post("/db/:database/restore", async (context) => {
    const { acknowledge } = parseAs(acknowledgeFormSchema, await parts.forms.read(context));
    return restorePage(context, parts, acknowledge);
  });
  app.get("/db/:database/inspect", async (context) => {
    const seen = await inspectPage(context, parts);
    if ("location" in seen) return context.body(null, 303, { location: seen.location });
    const answer = pageOf(seen.view, seen.status);
    // What it holds is secret, and what was asked stands beside it: squeezed, its length would tell of both.
    answer.headers.set("cache-control", "no-store, no-transform");
    return answer;
  });
  app.post("/db/:database/pin", (context) => changePin(context, parts, "add"));
  app.post("/db/:database/unpin", (context) => changePin(context, parts, "remove"));
}

async function overviewPage(context: Context, parts: Parts): Promise<Response> {
  const { page, databases, alarms } = parts;
  const grant = grantOfCall(context);
  const asked = parseAs(overviewQuerySchema, context.req.query());
  const names = (await databases()).filter((name) => covers(grant, name));
  const judge = () =>
    judgeAll(
      names.map((name) => statusFor(grant, page.standing(name))),
      { nowMs: page.now(), lagMsMax: page.lagMsMax },
    );
  let judged = judge();
  const shown = shownOf(judged, asked).shown.map(({ status }) => status);
  if (await awaitUnknown(shown, parts)) judged = judge();
  const seen = alarmsFor(grant, alarms());
  const main = overviewMain({
    ...{ judged, asked, alarms: seen, nowMs: page.now(), lagMsMax: page.lagMsMax },
    verdict: verdictOf(
      judged,
      seen.filter(({ database }) => database === undefined),
      page.caution?.(),
    ),
    mayRestore: grant.scopes.has("restore"),
    events: (page.events?.() ?? []).filter(({ database }) => maySee(grant, database)),
    histories: new Map(shown.map(({ name }) => [name, page.history?.(parseDatabaseName(name)) ?? {}])),
  });
  return pageOf({ title: "pageferry", main, nowMs: page.now(), grant });
}

/** What is of no database is for those who may see all. */
function maySee(grant: Grant, database: string | undefined): boolean {
  return grant.databases === "*" || (database !== undefined && covers(grant, database));
}

/** Waits a little for replicas that were not listed yet; whether there were any. */
async function awaitUnknown(statuses: readonly DatabaseStatus[], { status }: Parts): Promise<boolean> {
  const unknown = statuses.filter(({ replicas }) => replicas.some(({ lagMs }) => lagMs === null));
  if (unknown.length === 0) return false;
  const asked = unknown.map(({ name }) => status(parseDatabaseName(name)));
  await Promise.race([Promise.allSettled(asked), sleep(freshWaitMs, undefined, { ref: false })]);
  return true;
}

async function databasePage(context: Context, parts: Parts): Promise<Response> {
  const { page, views, pins, known, looks } = parts;
  const grant = grantOfCall(context);
  const database = await known(context);
  const { signal } = context.req.raw;
  await awaitUnknown([page.standing(database)], parts);
  const status = statusFor(grant, page.standing(database));
  const isLive = context.req.header("pageferry-part") === "live";
  const look = () =>
    Promise.all([views.of(database, status.replicas, { signal }), pins.list(database, { signal })]);
  const [archive, pinned] = isLive ? [undefined, []] : await withSlot(grant, parts, look);
  const options = { nowMs: page.now(), lagMsMax: page.lagMsMax };
  const main = databaseMain({
    ...{ archive, pins: pinned, ...options, window: windowIn(context.req.query()) },
    judged: { status, standing: standingOf(status, options) },
    history: page.history?.(database) ?? {},
    profile: page.profileOf(database),
    mayRestore: grant.scopes.has("restore"),
    mayInspect: looks.isOn && grant.scopes.has("inspect"),
    mayOperate: grant.scopes.has("operate"),
  });
  const trail = [{ text: "All", href: "/" }, { text: database }];
  return pageOf({ title: `${database} · pageferry`, main, nowMs: page.now(), grant, trail });
}

async function restorePage(context: Context, parts: Parts, typed: string | undefined): Promise<Response> {
  const { page, views, known, hasStream, looks } = parts;
  const grant = grantOfCall(context);
  const database = await known(context);
  const asked = targetIn(context.req.query());
  const { signal } = context.req.raw;
  const { replicas } = page.standing(database);
  const manifest = await withSlot(grant, parts, () => views.plan(database, replicas, asked, { signal }));
  const profile = page.profileOf(database);
  const main = restoreMain({
    ...{ database, asked, manifest, profile, typed, nowMs: page.now() },
    origin: originOf(context.req.raw),
    canStream: hasStream(),
    mayInspect: looks.isOn && grant.scopes.has("inspect"),
    mayOperate: grant.scopes.has("operate"),
  });
  const trail = [{ text: "All", href: "/" }, { text: database, href: pathOf(database) }, { text: "Restore" }];
  const isWrong = typed !== undefined && !isAcknowledged(profile, typed);
  return pageOf(
    { title: `Restore ${database} · pageferry`, main, nowMs: page.now(), grant, trail },
    isWrong ? 422 : 200,
  );
}

async function changePin(
  context: Context,
  { pins, forms, known }: Parts,
  change: "add" | "remove",
): Promise<Response> {
  const form = parseAs(pinFormSchema, await forms.read(context));
  const database = await known(context);
  const target = { txId: parseTxId(form.txid), generation: parseGeneration(form.generation) };
  const { signal } = context.req.raw;
  const note = form.note === undefined || form.note === "" ? {} : { note: form.note };
  if (change === "add") await pins.add(database, target, { signal, ...note });
  else await pins.remove(database, target, { signal });
  return context.body(null, 303, { location: `${pathOf(database)}#pins-title` });
}

async function withSlot<Value>({ id }: Grant, { atOnce }: Parts, look: () => Promise<Value>): Promise<Value> {
  const end = atOnce.begin(id);
  try {
    return await look();
  } finally {
    end();
  }
}

function pageOf(view: View, status = 200): Response {
  return new Response(documentOf(view), { status, headers: { "content-type": "text/html; charset=utf-8" } });
}
