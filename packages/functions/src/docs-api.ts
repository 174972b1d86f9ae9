// What the API tells of itself. Anybody may read it: it says what is in docs/operations.md#http, and nothing of this host.

import type { Hono } from "hono";
import { documentRoute, referenceRoute } from "./docs-schema.ts";
import { answerWithEtag } from "./etag.ts";
import { describeApi } from "./openapi.ts";
import { referencePage, referencePolicy } from "./reference.ts";
import { addRoute } from "./serve-route.ts";

/** Describes all routes, whether they are added before or after. */
export function addDocsRoutes(app: Hono): void {
  let made: Promise<Docs> | undefined;
  const docs = (): Promise<Docs> => {
    made ??= makeDocs(app);
    return made;
  };
  addRoute(app, documentRoute, async ({ context }) =>
    answerWithEtag(context, (await docs()).document, "application/json"),
  );
  addRoute(app, referenceRoute, async ({ context }) => {
    context.header("content-security-policy", referencePolicy);
    context.header("x-content-type-options", "nosniff");
    context.header("referrer-policy", "no-referrer");
    return answerWithEtag(context, (await docs()).page, "text/html; charset=utf-8");
  });
}

interface Docs {
  readonly document: string;
  readonly page: string;
}

/** Both are the same as long as the host runs. */
async function makeDocs(app: Hono): Promise<Docs> {
  const document = await describeApi(app);
  return { document: JSON.stringify(document), page: await referencePage(document) };
}
