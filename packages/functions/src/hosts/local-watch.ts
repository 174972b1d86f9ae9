// What the local host tells those who watch it: who waits for a transaction, and what happened. It ends before the server does, for their lines
// are open for as long as it goes on.

import { setImmediate } from "node:timers/promises";
import { type DatabaseName, farewellWords, type GenerationBegin, parseDatabaseName } from "@pageferry/format";
import type { Alarm } from "../alarms.ts";
import { type Changes, createChanges } from "../changes.ts";
import type { Databases } from "../databases.ts";
import { createEventLog, type EventKind, type Happening, type LoggedEvent } from "../event-log.ts";
import type { EventsApiOptions } from "../events-api.ts";
import { createLagHistories, type LagHistories } from "../lag-history.ts";
import { createOperationCounter, type OperationCounter } from "../operation-counts.ts";
import type { Parting } from "../parting.ts";
import { createUpkeep, targetName, type Upkeep, type UpkeepOptions } from "../upkeep.ts";
import { createWaiting, type WaitingOptions } from "../wait.ts";
import type { WaitApiOptions } from "../wait-api.ts";

/** What the API is given. */
interface WatchRoutes extends WaitApiOptions {
  readonly events: EventsApiOptions;
  readonly lagHistory: LagHistories["of"];
}

/** Databases whose lag is looked at without a pause. */
const sampledAtOnce = 50;

export interface Watch {
  /** Told by the parts whenever something changed. */
  readonly changes: Changes;
  /** Told of what was done with the archives. */
  readonly upkeep: Upkeep;
  /** Counts what is done with the stores. */
  readonly counts: OperationCounter;
  /** Notes how far behind each replica is; to be called once a minute. */
  sampleLag(databases: Pick<Databases, "databases" | "standing">): Promise<void>;
  heard(database: DatabaseName, begun: GenerationBegin | undefined): void;
  /** A database is no longer backed up, on purpose. */
  parted(database: DatabaseName, parting: Parting): void;
  /** An alarm was raised, or is over. */
  alarmed(alarm: Alarm, isOver: boolean): void;
  /** What the page shows of it. */
  readonly shown: {
    readonly lagHistory: LagHistories["of"];
    /** Oldest first. */
    events(): readonly LoggedEvent[];
  };
  /** What the API is given, once the parts are there. */
  routes(parts: Omit<WaitingOptions, "changes">): WatchRoutes;
  /** Ends every open line. */
  end(): void;
}

export type WatchOptions = Pick<UpkeepOptions, "now" | "notes">;

export function createWatch({ now, notes }: WatchOptions): Watch {
  const changes = createChanges();
  const closing = new AbortController();
  const events = createEventLog();
  const lags = createLagHistories();
  const listeners = new Set<() => void>();
  const happened = (happening: Happening): void => {
    events.add(happening, now());
    for (const listener of listeners) listener();
  };
  return {
    changes,
    counts: createOperationCounter(() => performance.now()),
    async sampleLag({ databases, standing }) {
      for (const [at, database] of (await databases()).entries()) {
        for (const { name, lagMs } of standing(database).replicas) lags.sample(database, name, lagMs);
        // A thousand databases must not hold up what comes in.
        if (at % sampledAtOnce === 0) await setImmediate();
      }
    },
    upkeep: createUpkeep({ now, notes, happened, onChange: changes.changed }),
    heard(database, begun) {
      changes.changed(database);
      if (begun === undefined) return;
      const message = `generation ${begun.generation} begins (${begun.reason}), sent by ${begun.host}`;
      happened({ kind: "generation", database, message });
    },
    parted(database, { reason, host }) {
      happened({
        kind: "parted",
        database,
        message: `no longer backed up, by ${farewellWords(reason, host)}`,
      });
    },
    alarmed(alarm, isOver) {
      happened(happeningOf(alarm, isOver));
      if (alarm.database !== undefined) changes.changed(parseDatabaseName(alarm.database));
    },
    shown: { lagHistory: lags.of, events: () => events.since(0) },
    routes: (parts) => ({
      ...{ closing: closing.signal, lagHistory: lags.of },
      waitFor: createWaiting({ ...parts, changes }),
      events: {
        ...{ events, changes, closing: closing.signal },
        onEvent(listener) {
          const own = (): void => listener();
          listeners.add(own);
          return () => listeners.delete(own);
        },
      },
    }),
    end: () => closing.abort(),
  };
}

/** Alarms whose beginning and end have words of their own. */
const kindOfCode: Readonly<Record<string, readonly [EventKind, EventKind]>> = {
  unavailable: ["replica-down", "replica-back"],
  "dead-letter": ["dead-letter", "cleared"],
};

function happeningOf({ code, database, replica, message }: Alarm, isOver: boolean): Happening {
  const [begins, ends] = kindOfCode[code] ?? ["alarm", "cleared"];
  // A lane is named for its replica.
  const lane = replica?.replace(/^(replica|copy):/, "");
  return {
    kind: isOver ? ends : begins,
    message: `${code}: ${message}`,
    ...(database === undefined ? {} : { database }),
    ...(lane === undefined ? {} : { replica: database === undefined ? lane : targetName(lane, database) }),
  };
}
