// The HTTP side of what mends and proves: repair, verify and replay.

import type { DatabaseName } from "@pageferry/format";
import type { Hono } from "hono";
import type { Parsed } from "./parsed.ts";
import type { RepairReport } from "./repair.ts";
import { repairRoute, replayRoute, verifyRoute } from "./repair-schema.ts";
import type { RepairRequest } from "./repairer.ts";
import type { ReplayReport, ReplayRequest } from "./replay.ts";
import { addRoute } from "./serve-route.ts";
import type { VerifyRequest } from "./verifier.ts";
import type { VerifyReport } from "./verify-report.ts";

export interface RepairApiOptions {
  readonly repair: (database: DatabaseName, request: RepairRequest) => Promise<RepairReport>;
  readonly verify: (database: DatabaseName, request: VerifyRequest) => Promise<VerifyReport>;
  /** Gives what was set aside another chance. */
  readonly replay: (request: ReplayRequest) => ReplayReport | Promise<ReplayReport>;
}

export function addRepairRoutes(app: Hono, options: RepairApiOptions, { known }: Parsed): void {
  addRoute(app, repairRoute, async ({ context, query, signal }) => {
    const database = await known(context);
    return { inTheEnd: options.repair(database, { ...query, signal }) };
  });
  addRoute(app, verifyRoute, async ({ context, query: { replica, chain, full }, signal }) => {
    const database = await known(context);
    const depth = chain ? "chain" : full ? "full" : "drill";
    return { inTheEnd: options.verify(database, { replica, depth, signal }) };
  });
  addRoute(app, replayRoute, ({ query: { replica, database, forks } }) =>
    options.replay({ replica, database, hasForks: forks }),
  );
}
