// A call every minute for each database that is healthy: a service that hears none tells somebody, also when this host is gone.

import { type DatabaseConfig, type DatabaseName, databaseInUrl } from "@pageferry/format";
import { ailmentOf } from "./healthy.ts";
import { createOutbound, type OutboundOptions } from "./outbound.ts";
import { errorLine } from "./settle.ts";
import { slots } from "./slots.ts";
import type { DatabaseStatus } from "./status.ts";

/** Calls at a time: a thousand databases are told of within seconds, and a service that hangs holds up these few. */
const callsAtATime = 16;

export interface HeartbeatsOptions extends OutboundOptions {
  /** Databases with a URL of their own. */
  readonly own: readonly Pick<DatabaseConfig, "name" | "heartbeat">[];
  /** For all others, with `{database}` in it. */
  readonly pattern?: string | undefined;
  readonly databases: () => Promise<readonly DatabaseName[]>;
  readonly standing: (database: DatabaseName) => DatabaseStatus;
  readonly lagMsMax: number;
  readonly now: () => number;
  readonly onTold?: (result: "sent" | "failed") => void;
  /** Told when the calls of a database begin to fail, with its name and what happened. */
  readonly onFailure?: (database: string, message: string) => void;
}

export interface Heartbeats {
  /** One turn: to be called every minute. Never throws for what an answer says; the service notices the silence. */
  beat(signal: AbortSignal): Promise<void>;
}

export function createHeartbeats(options: HeartbeatsOptions): Heartbeats {
  const { databases, standing, now, lagMsMax, onTold, onFailure } = options;
  const outbound = createOutbound(options);
  const failing = new Set<string>();
  const own = new Map(options.own.map(({ name, heartbeat }) => [name, heartbeat]));
  const urlOf = (database: string) =>
    own.get(database) ?? options.pattern?.replaceAll(databaseInUrl, encodeURIComponent(database));
  const beat = async (database: DatabaseName, signal: AbortSignal): Promise<void> => {
    const url = urlOf(database);
    if (url === undefined || ailmentOf(standing(database), { nowMs: now(), lagMsMax }) !== undefined) return;
    try {
      await outbound.call({ url, method: "GET", signal });
      failing.delete(database);
      onTold?.("sent");
    } catch (error) {
      if (signal.aborted) return;
      onTold?.("failed");
      if (!failing.has(database)) onFailure?.(database, errorLine(error));
      failing.add(database);
    }
  };
  return {
    async beat(signal) {
      const line = slots(callsAtATime);
      await Promise.all(
        (await databases()).map((database) =>
          line.run(async () => !signal.aborted && beat(database, signal)),
        ),
      );
    },
  };
}
