// A word for each request, which its answer, its problem and the host's log share. Who asks may choose it, so that it is theirs, too.

import { randomBytes } from "node:crypto";
import type { Context, Hono } from "hono";

export const requestIdHeader = "x-request-id";

const key = "requestId";

export function newRequestId(): string {
  return randomBytes(9).toString("base64url");
}

/** Gives each request its id, and echoes it in each answer. What is no id is replaced, not refused: it is nothing that a call could fail by. */
export function addRequestIds(app: Hono): void {
  app.use(async (context, next) => {
    const given = context.req.header(requestIdHeader);
    const id =
      given !== undefined && /^[A-Za-z0-9._-]{1,64}$/.test(given)
        ? given
        : randomBytes(9).toString("base64url");
    context.set(key as never, id as never);
    await next();
    context.header(requestIdHeader, id);
  });
}

export function requestIdOf(context: Context): string {
  return (context.get(key) as string | undefined) ?? "";
}
