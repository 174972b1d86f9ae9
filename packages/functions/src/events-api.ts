// The HTTP side of what happened: a list, and a stream of server-sent events that also tells whose status is another one.

import type { DatabaseName } from "@pageferry/format";
import type { Context, Hono } from "hono";
import { type SSEStreamingApi, streamSSE } from "hono/streaming";
import { grantOfCall } from "./access.ts";
import type { Changes } from "./changes.ts";
import type { EventLog, LoggedEvent } from "./event-log.ts";
import { eventStreamRoute, eventsRoute } from "./events-schema.ts";
import { formatTime } from "./replica-state.ts";
import { covers, type Grant, requireDatabase } from "./scopes.ts";
import { addRoute } from "./serve-route.ts";
import { createWaiters } from "./waiters.ts";

/** Events of one answer; who asks with `since` gets the next ones with the last id. */
const answeredMax = 1000;

/** A silent line is taken for a dead one by some proxies after half a minute. */
const commentMs = 15_000;

/** How often it is told that a database's status is another one. */
const statusMs = 1000;

/** A line ends after this, and the browser comes again: a token that was revoked hears nothing more. */
const lineMs = 10 * 60_000;

/** How soon a browser comes again. */
const retryMs = 3000;

export interface EventsApiOptions {
  readonly events: Pick<EventLog, "since">;
  readonly changes: Pick<Changes, "listen">;
  /** Calls its argument whenever something happened; the answer ends that. */
  readonly onEvent: (listener: () => void) => () => void;
  /** Ends with the host. */
  readonly closing: AbortSignal;
}

type Sees = (database: string | undefined) => boolean;

/** Without a log of events there are no such routes: where each call may come to another process, nobody hears of all. */
export function addEventRoutes(app: Hono, options: EventsApiOptions | undefined): void {
  if (options === undefined) return;
  addRoute(app, eventsRoute, ({ context, query }) => {
    const { database, since } = query;
    const sees = seenBy(grantOfCall(context), database);
    const all = options.events.since(since ?? 0).filter((event) => sees(event.database));
    const some = since === undefined ? all.slice(-answeredMax) : all.slice(0, answeredMax);
    return { events: some.map(eventJson) };
  });
  addRoute(app, eventStreamRoute, ({ context, query, signal: hungUp }) => {
    const { database, since } = query;
    const sees = seenBy(grantOfCall(context), database);
    const fromId = lastEventId(context) ?? since ?? options.events.since(0).at(-1)?.id ?? 0;
    return streamSSE(context, (stream) => tell(stream, { ...options, sees, fromId, hungUp }));
  });
}

/** What may be seen of the whole host: with a token for all, and no database named. As with alarms, whose words may name anything. */
function seenBy(grant: Grant, wanted: DatabaseName | undefined): Sees {
  if (wanted !== undefined) requireDatabase(grant, wanted);
  return (database) => {
    if (database === undefined) return grant.databases === "*" && wanted === undefined;
    return covers(grant, database) && (wanted === undefined || wanted === database);
  };
}

interface Telling extends EventsApiOptions {
  readonly sees: Sees;
  readonly fromId: number;
  readonly hungUp: AbortSignal;
}

/** Writes until somebody ends it. What comes faster than the line takes it waits in the log, which is bounded, and in a set of names. */
async function tell(stream: SSEStreamingApi, telling: Telling): Promise<void> {
  const { events, sees, closing, hungUp } = telling;
  const over = AbortSignal.any([closing, hungUp]);
  const waiters = createWaiters();
  const changed = new Set<DatabaseName>();
  const wake = (): void => waiters.wake("line");
  const ends = [
    telling.onEvent(wake),
    telling.changes.listen((database) => {
      if (!sees(database)) return;
      if (changed.size === 0) wake();
      changed.add(database);
    }),
  ];
  stream.onAbort(wake);
  const endMs = performance.now() + lineMs;
  let [lastId, nextStatusMs] = [telling.fromId, 0];
  try {
    await stream.write(`retry: ${retryMs}\n\n`);
    while (!over.aborted && !stream.aborted && performance.now() < endMs) {
      for (const event of events.since(lastId)) {
        lastId = event.id;
        if (!sees(event.database)) continue;
        await stream.writeSSE({
          id: String(event.id),
          event: event.kind,
          data: JSON.stringify(eventJson(event)),
        });
      }
      if (changed.size > 0 && performance.now() >= nextStatusMs) {
        const names = [...changed];
        changed.clear();
        nextStatusMs = performance.now() + statusMs;
        for (const data of names) await stream.writeSSE({ event: "status", data });
      }
      if (events.since(lastId).length > 0) continue;
      const waitMs = changed.size > 0 ? nextStatusMs - performance.now() : commentMs;
      const beganMs = performance.now();
      await waiters.wait("line", waitMs, over);
      if (performance.now() - beganMs >= commentMs - 100) await stream.write(": still here\n\n");
    }
  } finally {
    for (const end of ends) end();
  }
}

function lastEventId({ req }: Context): number | undefined {
  const id = req.header("last-event-id");
  return id !== undefined && /^\d{1,15}$/.test(id) ? Number(id) : undefined;
}

function eventJson({ atMs, id, database, replica, kind, message }: LoggedEvent) {
  return {
    id,
    at: formatTime(atMs),
    ...(database === undefined ? {} : { database }),
    ...(replica === undefined ? {} : { replica }),
    ...{ kind, message },
  };
}
