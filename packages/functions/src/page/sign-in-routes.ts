// Signing in with a token or a printed code, and out again.

import { isPageferryError, PageferryError } from "@pageferry/format";
import type { Context, Hono } from "hono";
import { type Authenticate, addressOf } from "../access.ts";
import { problemOf } from "../problem.ts";
import { requestIdOf } from "../request-id.ts";
import type { Grant } from "../scopes.ts";
import { cookieHeader, isEncrypted, sessionIn } from "./cookie.ts";
import type { FormReader } from "./form.ts";
import { documentOf } from "./layout.ts";
import { parseAs, pathIn, signInFormSchema } from "./page-schema.ts";
import { type Sessions, sessionLifeMs } from "./sessions.ts";
import { type SignInView, signInMain } from "./sign-in.ts";

interface SignInOptions {
  readonly authenticate: Authenticate;
  readonly sessions: Sessions;
  readonly forms: FormReader;
  readonly now: () => number;
}

export function addSignIn(app: Hono, options: SignInOptions): void {
  const { sessions, forms, now } = options;
  app.get("/sign-in", (context) => {
    const { to, code } = parseAs(signInFormSchema, context.req.query());
    return signInPage(context, { to: pathIn(to), code }, now());
  });
  app.post("/sign-in", async (context) => {
    const form = parseAs(signInFormSchema, await forms.read(context));
    const to = pathIn(form.to);
    try {
      const id = sessions.begin(mayLook(await grantOfForm(form, context, options)));
      const cookie = cookieHeader(context.req.raw, id, sessionLifeMs / 1000);
      return context.body(null, 303, { location: to, "set-cookie": cookie });
    } catch (error) {
      if (!isPageferryError(error)) throw error;
      const { status, headers, body } = problemOf(error, {
        isAboutRequest: true,
        requestId: requestIdOf(context),
      });
      const failure = JSON.parse(body) as { readonly detail: string; readonly hint: string };
      const answer = signInPage(context, { to, failure }, now(), status);
      const retry = headers["retry-after"];
      if (retry !== undefined) answer.headers.set("retry-after", retry);
      return answer;
    }
  });
  app.post("/sign-out", async (context) => {
    await forms.read(context);
    const id = sessionIn(context.req.raw);
    if (id !== undefined) sessions.end(id);
    return context.body(null, 303, {
      location: "/sign-in",
      "set-cookie": cookieHeader(context.req.raw, "", 0),
    });
  });
}

async function grantOfForm(
  { token, code }: { readonly token?: string | undefined; readonly code?: string | undefined },
  context: Context,
  { authenticate, sessions }: SignInOptions,
): Promise<Grant> {
  const address = addressOf(context);
  if (code === undefined) {
    const given = token?.trim() ?? "";
    // Told in this page's words; it counts as the API counts it.
    return authenticate(given === "" ? undefined : `Bearer ${given}`, address).catch((error: unknown) => {
      if (!isPageferryError(error, "unauthorized")) throw error;
      throw new PageferryError("unauthorized", "that is no token of this host", {
        cause: error,
        hint: "It may have been revoked, or have expired. `pageferry token create` makes one at the host.",
      });
    });
  }
  const grant = await sessions.redeem(code);
  if (grant !== undefined) return grant;
  await authenticate(undefined, address).catch((error: unknown) => {
    if (!isPageferryError(error, "unauthorized")) throw error;
  });
  throw new PageferryError("unauthorized", "that link was used already, or is older than ten minutes", {
    hint: "Sign in with a token; the host's own is in the file `token` of its data directory.",
  });
}

/** A token that cannot look would find every page closed. */
function mayLook(grant: Grant): Grant {
  if (grant.scopes.has("read") || grant.scopes.has("restore")) return grant;
  throw new PageferryError("forbidden", "this token may not look: it lacks the scope read or restore", {
    hint: "Make another at the host: `pageferry token create --scopes read,restore`.",
  });
}

function signInPage(
  { req }: Context,
  view: Pick<SignInView, "to" | "code" | "failure">,
  nowMs: number,
  status = 200,
): Response {
  const { hostname } = new URL(req.url);
  const main = signInMain({
    ...view,
    isEncrypted: isEncrypted(req.url, req.raw.headers),
    isLoopback: hostname === "localhost" || hostname === "[::1]" || /^127\./.test(hostname),
  });
  return new Response(documentOf({ title: "Sign in · pageferry", main, nowMs }), {
    status,
    headers: { "content-type": "text/html; charset=utf-8" },
  });
}
