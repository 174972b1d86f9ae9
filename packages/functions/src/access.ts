// Who may call what: one table of routes, and a guard before all of them. A route that is in no table is refused, whoever asks.

import type { IncomingMessage, ServerResponse } from "node:http";
import { PageferryError } from "@pageferry/format";
import type { Context, Hono } from "hono";
import { matchedRoutes } from "hono/route";
import { type AtOnce, createAtOnce } from "./at-once.ts";
import { grantOfSession, notSignedIn } from "./page/door.ts";
import type { Sessions } from "./page/sessions.ts";
import { type Grant, requireDatabase, type Scope } from "./scopes.ts";

interface Rule {
  /** One of these is enough. */
  readonly scopes: readonly Scope[];
  /**
   * Where the database stands that the token must be for: in the path; in the query, which only a token for all may leave out; `inside`: the
   * route asks `grantOfCall` itself; `all`: only tokens for all databases may call it.
   */
  readonly database: "path" | "query" | "inside" | "all";
  readonly atOnce?: keyof typeof atOnceBounds;
  /** For people: it comes with a session, and who has none is led to sign in. */
  readonly isPage?: true;
}

/** Planning holds the list of an archive in memory, which may be some hundred MB; a stream holds little, and a restore may open 64. */
const atOnceBounds = {
  plans: { perHost: 8, perToken: 4 },
  streams: { perHost: 256, perToken: 128 },
  databases: { perHost: 32, perToken: 16 },
  /** Each may fetch and decode an object of some hundred MB, where an archive was never compacted. */
  inspections: { perHost: 4, perToken: 2 },
  // They hold a line, and next to nothing else.
  waits: { perHost: 128, perToken: 64 },
  listeners: { perHost: 128, perToken: 64 },
};

/** How long a person waits before it is better to say why. */
const turnMsMax = 5000;

/** Beyond the time of an answer, until its line is taken to be gone. */
const lineGraceMs = 60_000;

const database = "/v1/databases/:database";
const operate: Rule = { scopes: ["operate"], database: "path" };

/** Without a token. What the API is, is no secret: it is the same in every host. */
const openRoutes: ReadonlySet<string> = new Set([
  ...["GET /healthz", "GET /openapi.json", "GET /docs/api"],
  ...["GET /sign-in", "POST /sign-in", "POST /sign-out", "GET /assets/:name"],
]);

/** Every other route, as it is declared. Who may restore may also see what there is to restore. */
const rules: Readonly<Record<string, Rule>> = {
  "POST /v1/ingest": { scopes: ["ingest"], database: "inside" },
  "POST /v1/heartbeats": { scopes: ["ingest"], database: "inside" },
  "PUT /v1/stage/:digest": { scopes: ["ingest"], database: "query" },
  "GET /v1/stage/:digest/place": { scopes: ["ingest"], database: "query" },
  [`GET ${database}/needs`]: { scopes: ["needs"], database: "path" },
  [`GET ${database}/holds`]: { scopes: ["needs"], database: "path", atOnce: "plans" },
  "GET /v1/databases": { scopes: ["read"], database: "inside" },
  [`GET ${database}`]: { scopes: ["read", "restore"], database: "path" },
  [`GET ${database}/points`]: { scopes: ["read", "restore"], database: "path", atOnce: "plans" },
  [`GET ${database}/wait`]: { scopes: ["read", "restore"], database: "path", atOnce: "waits" },
  "GET /v1/events": { scopes: ["read"], database: "inside" },
  "GET /v1/events/stream": { scopes: ["read"], database: "inside", atOnce: "listeners" },
  "GET /metrics": { scopes: ["read"], database: "all" },
  [`GET ${database}/manifest`]: { scopes: ["restore"], database: "path", atOnce: "plans" },
  [`GET ${database}/objects/:name{.+}`]: { scopes: ["restore"], database: "path", atOnce: "streams" },
  [`GET ${database}/files`]: { scopes: ["restore"], database: "path", atOnce: "plans" },
  "GET /v1/manifest-key": { scopes: ["read", "restore"], database: "inside" },
  [`GET ${database}/restore`]: { scopes: ["restore"], database: "path", atOnce: "databases" },
  [`GET ${database}/inspect/ls`]: { scopes: ["inspect"], database: "path", atOnce: "inspections" },
  [`GET ${database}/inspect/get`]: { scopes: ["inspect"], database: "path", atOnce: "inspections" },
  [`POST ${database}/repair`]: operate,
  [`POST ${database}/verify`]: operate,
  [`POST ${database}/compact`]: operate,
  [`POST ${database}/prune`]: operate,
  [`GET ${database}/pins`]: { scopes: ["read", "restore"], database: "path" },
  [`POST ${database}/pins`]: operate,
  [`DELETE ${database}/pins`]: operate,
  "POST /v1/replay": { scopes: ["operate"], database: "query" },
  "GET /": { scopes: ["read", "restore"], database: "inside", isPage: true },
  "GET /db/:database": { scopes: ["read", "restore"], database: "path", isPage: true },
  "GET /db/:database/restore": { scopes: ["restore"], database: "path", isPage: true },
  "POST /db/:database/restore": { scopes: ["restore"], database: "path", isPage: true },
  "GET /db/:database/inspect": {
    ...{ scopes: ["inspect"], database: "path" },
    ...{ atOnce: "inspections", isPage: true },
  },
  "POST /db/:database/pin": { ...operate, isPage: true },
  "POST /db/:database/unpin": { ...operate, isPage: true },
};

/** What a route asks of a token. Throws for a route that nobody may call: it must not be described, either. */
export function accessOf(route: string): "open" | Pick<Rule, "scopes" | "database"> {
  if (openRoutes.has(route)) return "open";
  const rule = Object.hasOwn(rules, route) ? rules[route] : undefined;
  if (rule === undefined) throw new Error(`${route} stands in no table of access.ts`);
  return rule;
}

/** Tells who calls, from the Authorization header and the address it comes from. Throws `unauthorized` or `too-many`. */
export type Authenticate = (header: string | undefined, address: string) => Promise<Grant>;

const grantKey = "grant";

/** Puts the guard before all routes that are declared after it. `sessions` are those of the page, where there is one. */
export function guardRoutes(app: Hono, authenticate: Authenticate, sessions?: Pick<Sessions, "find">): void {
  const grantOf = async (context: Context, isPage: boolean): Promise<Grant> => {
    const header = context.req.header("authorization");
    if (header === undefined && sessions !== undefined) {
      const grant = await grantOfSession(context, sessions, isPage);
      if (grant !== undefined) return grant;
      if (isPage) throw notSignedIn();
    }
    return authenticate(header, addressOf(context));
  };
  app.use(async (context, next) => {
    const routes = matchedRoutes(context)
      .filter(({ method }) => method !== "ALL")
      .map(({ method, path }) => `${method} ${path}`);
    const isOpen = routes.length > 0 && routes.every((route) => openRoutes.has(route));
    if (!isOpen) {
      const isPage = routes.some((route) => Object.hasOwn(rules, route) && rules[route]?.isPage === true);
      context.set(grantKey as never, (await grantOf(context, isPage)) as never);
      if (!routes.every((route) => Object.hasOwn(rules, route)))
        throw new PageferryError("forbidden", "nobody may call this: no scope is set for it");
    }
    await next();
  });
  const atOnce = {
    plans: createAtOnce("plans of restores", atOnceBounds.plans),
    streams: createAtOnce("objects", atOnceBounds.streams),
    databases: createAtOnce("databases", atOnceBounds.databases),
    inspections: createAtOnce("looks inside", atOnceBounds.inspections),
    waits: createAtOnce("waits", atOnceBounds.waits),
    listeners: createAtOnce("streams of events", atOnceBounds.listeners),
  };
  for (const [route, rule] of Object.entries(rules)) {
    const [method = "", path = ""] = route.split(" ");
    app.on(method, path, async (context, next) => {
      decide(rule, grantOfCall(context), context);
      if (rule.atOnce === undefined) await next();
      else await within(atOnce[rule.atOnce], context, rule, next);
    });
  }
}

/** What the caller may do. */
export function grantOfCall(context: Context): Grant {
  const grant = context.get(grantKey) as Grant | undefined;
  if (grant === undefined) throw new PageferryError("unauthorized", "nobody was asked who calls");
  return grant;
}

function decide({ scopes, database: where }: Rule, grant: Grant, { req }: Context): void {
  if (!scopes.some((scope) => grant.scopes.has(scope)))
    throw new PageferryError("forbidden", `this token lacks the scope ${scopes.join(" or ")}`);
  if (where === "inside" || grant.databases === "*") return;
  const name =
    where === "path" ? req.param("database") : where === "query" ? req.query("database") : undefined;
  if (name === undefined) {
    const hint = where === "query" ? { hint: "Name one with `database`." } : {};
    throw new PageferryError("forbidden", "this token is not for all databases", hint);
  }
  requireDatabase(grant, name);
}

/** Counts a call as under way until its answer is sent, or its line is gone. Who looks at a page, in three tabs at once, waits for a turn. */
async function within(
  atOnce: AtOnce,
  context: Context,
  rule: Rule,
  next: () => Promise<void>,
): Promise<void> {
  const { id } = grantOfCall(context);
  const { signal } = context.req.raw;
  const end = rule.isPage === true ? await atOnce.beginSoon(id, turnMsMax, signal) : atOnce.begin(id);
  const { outgoing } = nodeOf(context);
  // Without Node's server nobody tells when an answer was sent.
  if (outgoing !== undefined && !outgoing.closed) outgoing.once("close", end);
  try {
    await next();
  } finally {
    if (outgoing === undefined || outgoing.closed) end();
  }
}

/** Keeps a call's line open, though nothing moves on it, for somewhat longer than its answer may take. */
export function keepLineFor(context: Context, ms: number): void {
  nodeOf(context).outgoing?.setTimeout(ms + lineGraceMs);
}

/** Behind a proxy it is the proxy's; a function is told it with the request. Elsewhere all calls count as one address. */
export function addressOf(context: Context): string {
  const { address } = (context.env ?? {}) as { readonly address?: string };
  return address ?? nodeOf(context).incoming?.socket.remoteAddress ?? "";
}

function nodeOf(context: Context): {
  readonly incoming?: IncomingMessage;
  readonly outgoing?: ServerResponse;
} {
  return (context.env ?? {}) as { readonly incoming?: IncomingMessage; readonly outgoing?: ServerResponse };
}
