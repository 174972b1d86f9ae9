// What nobody foresaw, told to the host's log wherever in an answer it comes up.

import type { Context, Hono } from "hono";
import { requestIdOf } from "./request-id.ts";

/** Told an error, and what was asked for when it came. */
export type OnUnexpected = (
  error: unknown,
  where: { readonly call: string; readonly requestId: string },
) => void;

const key = "onUnexpected";

/** Lets the routes below tell. */
export function addUnexpected(app: Hono, onUnexpected: OnUnexpected): void {
  app.use(async (context, next) => {
    context.set(key as never, onUnexpected as never);
    await next();
  });
}

export function tellUnexpected(context: Context, error: unknown): void {
  const tell = context.get(key) as OnUnexpected | undefined;
  // Without the query: it may hold what is nobody's business.
  tell?.(error, { call: `${context.req.method} ${context.req.path}`, requestId: requestIdOf(context) });
}
