// What the API tells of itself. Anybody may read it: it says what is in docs/operations.md#http, and nothing of this host.

import type { Hono } from "hono";
import { documentRoute } from "./docs-schema.ts";
import { answerWithEtag } from "./etag.ts";
import { describeApi } from "./openapi.ts";
import { addRoute } from "./serve-route.ts";

/** Describes all routes, whether they are added before or after. */
export function addDocsRoutes(app: Hono): void {
  let text: Promise<string> | undefined;
  addRoute(app, documentRoute, async ({ context }) => {
    text ??= describeApi(app).then((document) => JSON.stringify(document));
    return answerWithEtag(context, await text, "application/json");
  });
}
