// Work on many databases in invocations that end: who waited longest comes first, whatever became of the last try, so that one that takes too
// long holds up no other for ever.

import { setTimeout as sleep } from "node:timers/promises";
import type { DatabaseName } from "@pageferry/format";
import { z } from "zod";
import type { ObjectNotes } from "../../object-notes.ts";
import { errorLine } from "../../settle.ts";
import type { Telemetry } from "./telemetry.ts";

/** What their notes begin with. */
export const turnNotes = "turns/";

/** What is under way for so long is noted as tried: it may end with the invocation. */
const notedMs = 10_000;

/** Left of an invocation to end what is under way, and to note it: a tenth, and at most this. */
const marginMsMax = 30_000;

/** What a schedule, or somebody by hand, sends. */
const eventSchema = z.object({ database: z.string().optional() });

const triedSchema = z.record(z.string(), z.number());

/** What an invocation did. */
export interface TurnsReport {
  readonly done: readonly DatabaseName[];
  /** With why. */
  readonly failed: readonly { readonly database: DatabaseName; readonly why: string }[];
  /** Not begun, or ended by the time: first at the next invocation. */
  readonly left: readonly DatabaseName[];
}

export interface TurnsOptions {
  /** Of the function: `compact`. */
  readonly task: string;
  readonly notes: ObjectNotes;
  readonly telemetry: Telemetry;
  readonly now: () => number;
  readonly remainingMs: () => number;
  /** Throws for one that failed. */
  readonly work: (database: DatabaseName, signal: AbortSignal) => Promise<void>;
}

/** The database that an event names; `undefined`: all. An event of another form names none. */
export function databaseIn(event: unknown): string | undefined {
  return eventSchema.safeParse(event).data?.database;
}

/** Those that were never tried, then those whose last try is longest ago. */
export function inTurn(
  databases: readonly DatabaseName[],
  triedMs: ReadonlyMap<string, number>,
): DatabaseName[] {
  return databases.toSorted((a, b) => (triedMs.get(a) ?? 0) - (triedMs.get(b) ?? 0));
}

/** Works on one database after the other until the time is over. What fails is in the report and an alarm; it stops no other. */
export async function takeTurns(
  databases: readonly DatabaseName[],
  options: TurnsOptions,
): Promise<TurnsReport> {
  const { task, notes, telemetry, now, remainingMs, work } = options;
  const note = turnNotes + task;
  const triedMs = parseTried(notes.notes(note).get(note));
  const budgetMs = remainingMs() - Math.min(marginMsMax, remainingMs() / 10);
  const signal = AbortSignal.timeout(Math.max(1, Math.floor(budgetMs)));
  const [done, left]: DatabaseName[][] = [[], []];
  const failed: { database: DatabaseName; why: string }[] = [];
  for (const database of inTurn(databases, triedMs)) {
    if (signal.aborted) {
      left?.push(database);
      continue;
    }
    triedMs.set(database, now());
    notes.setNote(note, JSON.stringify(Object.fromEntries(triedMs)));
    const over = new AbortController();
    const noting = sleep(notedMs, undefined, { signal: over.signal, ref: false }).then(() => notes.save());
    noting.catch(() => undefined);
    try {
      await work(database, signal);
      done?.push(database);
      telemetry.alarms.clear({ code: `maintenance-${task}`, database });
    } catch (error) {
      if (signal.aborted) left?.push(database);
      else {
        failed.push({ database, why: errorLine(error) });
        raise(options, database, error);
      }
    } finally {
      over.abort();
    }
  }
  await notes.save();
  telemetry.log.info({ task, done: done?.length, failed, left }, "turns are over");
  return { done: done ?? [], failed, left: left ?? [] };
}

function raise({ task, telemetry }: TurnsOptions, database: DatabaseName, error: unknown): void {
  telemetry.alarms.raise({
    ...{ code: `maintenance-${task}`, database },
    message: `${task} of ${database}: ${errorLine(error)}`,
    hint: "It is tried again at its next turn.",
  });
}

function parseTried(text: string | undefined): Map<string, number> {
  try {
    return new Map(Object.entries(triedSchema.parse(JSON.parse(text ?? "{}"))));
  } catch {
    return new Map();
  }
}
