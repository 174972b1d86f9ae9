// The host's HTTP API as a hono app without a port: docs/operations.md#http. Each group of routes is a file of its own, and each route a
// value (route.ts); here is what all of them share. Every error is told by problem.ts.

import { isPageferryError, PageferryError } from "@pageferry/format";
import { Hono } from "hono";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import { type Authenticate, guardRoutes } from "./access.ts";
import { createArchiveApi } from "./archive-api.ts";
import { createArchives } from "./archives.ts";
import { addCompanionRoutes } from "./companions-api.ts";
import { addDatabasesRoutes, type DatabasesApiOptions } from "./databases-api.ts";
import { addDocsRoutes } from "./docs-api.ts";
import { addDownloadRoutes, type DownloadApiOptions } from "./download-api.ts";
import { addEventRoutes, type EventsApiOptions } from "./events-api.ts";
import { addHealthRoutes, type HealthApiOptions } from "./health-api.ts";
import { addIngestRoutes, type IngestApiOptions } from "./ingest-api.ts";
import { addInspectRoutes } from "./inspect-api.ts";
import { createLooks, type InspectOptions } from "./inspect-looks.ts";
import { addManifestRoutes, type ManifestApiOptions } from "./manifest-api.ts";
import { methodsAt } from "./methods.ts";
import { createObjectServer } from "./object-server.ts";
import { openDoor } from "./page/door.ts";
import { addPageRoutes, type PageApiOptions } from "./page/page-api.ts";
import { createParsed } from "./parsed.ts";
import { requirePlainBody } from "./plain-body.ts";
import { problemOf } from "./problem.ts";
import { addRepairRoutes, type RepairApiOptions } from "./repair-api.ts";
import { addRequestIds, requestIdOf } from "./request-id.ts";
import { addTimeRoutes, type TimeApiOptions } from "./time-api.ts";
import { addUnexpected, type OnUnexpected, tellUnexpected } from "./unexpected.ts";
import { addWaitRoutes, type WaitApiOptions } from "./wait-api.ts";

/** A request's target is as long as names are, ten times over. */
const pathLengthMax = 16 * 1024;

export interface ApiOptions
  extends HealthApiOptions,
    IngestApiOptions,
    DatabasesApiOptions,
    ManifestApiOptions,
    DownloadApiOptions,
    RepairApiOptions,
    TimeApiOptions,
    WaitApiOptions,
    InspectOptions,
    Pick<PageApiOptions, "page"> {
  /** Asked of every call but `/healthz` and the reference. */
  readonly authenticate: Authenticate;
  /** Without it there are no events. */
  readonly events?: EventsApiOptions;
  /** Told what nobody foresaw. */
  readonly onUnexpected: OnUnexpected;
}

export function createApi(options: ApiOptions): Hono {
  const app = new Hono();
  app.onError((error, context) => {
    const { method } = context.req;
    if (!isPageferryError(error)) tellUnexpected(context, error);
    const isAboutRequest = method === "POST" || method === "PUT";
    const requestId = requestIdOf(context);
    const { status, headers, body } = problemOf(error, { isAboutRequest, requestId });
    // What was not read of a refused body must not be taken for the next request.
    const close: Record<string, string> = isAboutRequest ? { connection: "close" } : {};
    return context.body(body, status as ContentfulStatusCode, { ...headers, ...close });
  });
  app.notFound((context) => {
    const { method, path } = context.req;
    const call = `${method} ${path.slice(0, 200)}`;
    const methods = methodsAt(app, path);
    // What the router does not take by the method that is there is no object either, such as a name with a line break.
    if (methods.length === 0 || methods.includes(method))
      throw new PageferryError("not-found", `${call} is not part of this API`);
    context.header("allow", methods.join(", "));
    throw new PageferryError("wrong-method", `${call} is not part of this API`);
  });
  addRequestIds(app);
  addUnexpected(app, options.onUnexpected);
  app.use(async (context, next) => {
    if (context.req.url.length > pathLengthMax)
      throw new PageferryError("bad-request", "the URL is too long");
    await next();
  });
  if (options.page !== undefined) openDoor(app, options.page.now);
  guardRoutes(app, options.authenticate, options.page?.sessions);
  app.use(requirePlainBody);
  const parsed = createParsed(options);
  addHealthRoutes(app, options);
  addIngestRoutes(app, options);
  const archive = createArchiveApi({ archives: createArchives(), now: options.now ?? Date.now });
  const archived = { ...parsed, archive, objects: createObjectServer() };
  addDatabasesRoutes(app, options, archived);
  addManifestRoutes(app, options, archived);
  addCompanionRoutes(app, archived);
  addDownloadRoutes(app, options, archived);
  addRepairRoutes(app, options, parsed);
  addTimeRoutes(app, options, parsed);
  addWaitRoutes(app, options, parsed);
  addEventRoutes(app, options.events);
  const looks = createLooks(options);
  addInspectRoutes(app, looks, parsed);
  addDocsRoutes(app);
  addPageRoutes(app, options, { ...archived, looks });
  return app;
}
