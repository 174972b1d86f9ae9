// The HTTP side of what is backed up: status of databases, and the points that can be restored.

import type { DatabaseName } from "@pageferry/format";
import type { Hono } from "hono";
import { grantOfCall } from "./access.ts";
import type { ArchiveApi } from "./archive-api.ts";
import { databaseRoute, databasesRoute, pointsRoute } from "./databases-schema.ts";
import type { HostReader } from "./host-reader.ts";
import type { LagHistory } from "./lag-history.ts";
import type { Parsed } from "./parsed.ts";
import { covers } from "./scopes.ts";
import { addRoute } from "./serve-route.ts";
import type { AlarmStatus, DatabaseStatus } from "./status.ts";
import { alarmsFor, statusFor, withHistory } from "./views.ts";

export interface DatabasesApiOptions {
  readonly databases: () => Promise<readonly DatabaseName[]>;
  readonly status: (database: DatabaseName) => Promise<DatabaseStatus>;
  readonly alarms: () => readonly AlarmStatus[];
  readonly lagHistory: (database: string, replica: string) => LagHistory;
  /** A database's replicas, healthiest first. */
  readonly readers: (database: DatabaseName) => Promise<readonly HostReader[]>;
}

export function addDatabasesRoutes(
  app: Hono,
  options: DatabasesApiOptions,
  parsed: Parsed & { readonly archive: ArchiveApi },
): void {
  addRoute(app, databasesRoute, async ({ context }) => {
    const grant = grantOfCall(context);
    const names = (await options.databases()).filter((name) => covers(grant, name));
    const databases = await Promise.all(names.map(options.status));
    return {
      databases: databases.map((status) => statusFor(grant, status)),
      alarms: alarmsFor(grant, options.alarms()),
    };
  });
  addRoute(app, databaseRoute, async ({ context, query }) =>
    withHistory(
      statusFor(grantOfCall(context), await options.status(await parsed.known(context))),
      query.history ? options.lagHistory : undefined,
    ),
  );
  addRoute(app, pointsRoute, async ({ context, query, signal }) => {
    const place = await parsed.placeOf(context, query.replica);
    return query.timeline
      ? parsed.archive.timeline(place, { signal })
      : parsed.archive.points(place, { signal });
  });
}
