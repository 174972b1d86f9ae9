// The page's door: which addresses are pages, what browsers are told to forbid, who comes in with a session, and how errors look there.

import { isPageferryError, PageferryError } from "@pageferry/format";
import type { Context, Hono } from "hono";
import { type Problem, problemOf } from "../problem.ts";
import { requestIdOf } from "../request-id.ts";
import type { Grant } from "../scopes.ts";
import { sessionIn } from "./cookie.ts";
import { foreign } from "./form.ts";
import { documentOf, pathOf } from "./layout.ts";
import { mayChange, mayRead } from "./same-origin.ts";
import type { Sessions } from "./sessions.ts";
import { problemMain } from "./sign-in.ts";
import { squeezed } from "./squeeze.ts";

/** Nothing but what we serve ourselves, and nothing inline. */
const policy = [
  "default-src 'none'",
  ...[
    "style-src 'self'",
    "script-src 'self'",
    "img-src 'self' data:",
    "connect-src 'self'",
    "form-action 'self'",
  ],
  ...["frame-ancestors 'none'", "base-uri 'none'"],
].join("; ");

const securityHeaders: Readonly<Record<string, string>> = {
  "content-security-policy": policy,
  "x-content-type-options": "nosniff",
  // Without any, browsers would not say where a form of ours comes from.
  "referrer-policy": "same-origin",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
};

const pagePath = /^\/(?:$|(?:db|sign-in|sign-out|assets)(?:\/|$))/;

/** Puts before all routes what pages have in common. Errors of theirs are told in words, and who is not signed in is led there. */
export function openDoor(app: Hono, now: () => number): void {
  app.use(async (context, next) => {
    await next();
    if (!pagePath.test(context.req.path)) return;
    if (context.error !== undefined) context.res = errorPage(context, context.error, now());
    for (const [name, value] of Object.entries(securityHeaders)) context.res.headers.set(name, value);
    if (!context.res.headers.has("cache-control")) context.res.headers.set("cache-control", "no-store");
    const { res } = context;
    // What is set in place of another answer is given that one's headers, too.
    context.res = undefined;
    context.res = await squeezed(res, context.req.header("accept-encoding"));
  });
}

function errorPage(context: Context, error: Error, nowMs: number): Response {
  const { req } = context;
  const isAboutRequest = req.method === "POST";
  const { status, headers, body }: Problem = problemOf(error, {
    isAboutRequest,
    requestId: requestIdOf(context),
  });
  if (isPageferryError(error, "unauthorized")) {
    const to = req.method === "GET" ? `?${new URLSearchParams({ to: pathAndSearch(req.url) })}` : "";
    const isRoot = pathAndSearch(req.url) === "/";
    return new Response(null, { status: 303, headers: { location: `/sign-in${isRoot ? "" : to}` } });
  }
  const { title, detail, hint } = JSON.parse(body) as Readonly<Record<"title" | "detail" | "hint", string>>;
  const text = documentOf({
    title: `${title} · pageferry`,
    main: problemMain({ title, detail, hint, back: backFrom(req.path) }),
    nowMs,
  });
  const retry = headers["retry-after"];
  return new Response(text, {
    status,
    headers: {
      "content-type": "text/html; charset=utf-8",
      ...(retry === undefined ? {} : { "retry-after": retry }),
      // What was not read of a refused form must not be taken for the next request.
      ...(req.method === "POST" ? { connection: "close" } : {}),
    },
  });
}

/** From what is below a database's page to that page, and from anywhere else to the overview. */
function backFrom(path: string): { readonly href: string; readonly text: string } {
  const [, database] = /^\/db\/([A-Za-z0-9._-]+)\/./.exec(path) ?? [];
  return database === undefined
    ? { href: "/", text: "To the overview" }
    : { href: pathOf(database), text: `Back to ${database}` };
}

function pathAndSearch(url: string): string {
  const { pathname, search } = new URL(url);
  return `${pathname}${search}`;
}

/**
 * Who comes with a session. To read it counts for every route, so that pages may link to what the API serves; to change it counts for
 * pages alone, and only from a page of ours. `undefined`: there is none.
 */
export async function grantOfSession(
  { req }: Context,
  sessions: Pick<Sessions, "find">,
  isPage: boolean,
): Promise<Grant | undefined> {
  const isRead = req.method === "GET" || req.method === "HEAD";
  const id = isRead || isPage ? sessionIn(req.raw) : undefined;
  const grant = id === undefined ? undefined : await sessions.find(id);
  if (grant === undefined) return undefined;
  const { headers } = req.raw;
  // A link from elsewhere brings no cookie: it is kept to this site. This is for browsers that do not know of that.
  if (isRead ? !mayRead(headers) : !mayChange(headers)) throw foreign();
  return grant;
}

/** Told to who opens a page without a session. It is no failed guess. */
export function notSignedIn(): PageferryError {
  return new PageferryError("unauthorized", "nobody is signed in", { hint: "Sign in at /sign-in." });
}
