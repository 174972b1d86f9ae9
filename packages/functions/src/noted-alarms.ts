// Alarms that outlive a process, for functions: each is a note, so that one raises what another clears, and somebody is told once.

import { z } from "zod";
import type { Alarm, Alarms, AlarmsOptions } from "./alarms.ts";
import type { Notes } from "./notes.ts";

/** What an alarm's notes begin with. */
export const alarmNotes = "alarm/";

const alarmSchema = z.object({
  ...{ code: z.string(), database: z.string().optional(), replica: z.string().optional() },
  ...{ message: z.string(), hint: z.string(), sinceMs: z.number() },
});

type Place = Pick<Alarm, "code"> & Partial<Pick<Alarm, "database" | "replica">>;

export interface NotedAlarmsOptions extends AlarmsOptions {
  readonly notes: Notes;
}

/** Alarms over notes. What others raised is known after the notes were read again. */
export function createNotedAlarms({ notes, now, onRaised, onCleared }: NotedAlarmsOptions): Alarms {
  const nameOf = ({ code, database = "", replica = "" }: Place) =>
    `${alarmNotes}${code}/${database}/${replica}`;
  const find = (place: Place): Alarm | undefined => {
    const name = nameOf(place);
    return parseAlarm(notes.notes(name).get(name));
  };
  return {
    raise(alarm) {
      const before = find(alarm);
      const raised = { ...alarm, sinceMs: before?.sinceMs ?? now() };
      const isSame = before?.message === alarm.message && before.hint === alarm.hint;
      if (!isSame) notes.setNote(nameOf(alarm), JSON.stringify(raised));
      if (before === undefined) onRaised?.(raised);
    },
    clear(place) {
      const before = find(place);
      if (before === undefined) return;
      notes.dropNote(nameOf(place));
      onCleared?.(before);
    },
    list: (database) =>
      [...notes.notes(alarmNotes).values()]
        .flatMap((value) => parseAlarm(value) ?? [])
        .filter((alarm) => database === undefined || alarm.database === database),
  };
}

/** A note that cannot be read is none: whoever finds the same again raises it anew. */
function parseAlarm(value: string | undefined): Alarm | undefined {
  if (value === undefined) return undefined;
  try {
    const { database, replica, ...alarm } = alarmSchema.parse(JSON.parse(value));
    return {
      ...alarm,
      ...(database !== undefined && { database }),
      ...(replica !== undefined && { replica }),
    };
  } catch {
    return undefined;
  }
}
