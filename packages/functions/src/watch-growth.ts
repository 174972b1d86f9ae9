// Counts every hour what each database takes in each replica, and raises an alarm when that jumps.

import type { Alarms } from "./alarms.ts";
import { addSample, detectJump, type GrowthSample } from "./growth.ts";
import type { Notes } from "./notes.ts";
import type { Replica } from "./replica.ts";
import type { ScheduledTask } from "./schedule.ts";
import type { Target } from "./targets.ts";

const hourMs = 3_600_000;

/** Samples are hourly. */
const soonMs = 50 * 60_000;

export interface GrowthWatchOptions {
  readonly targets: readonly Target[];
  readonly alarms: Alarms;
  readonly now: () => number;
  /** Keeps samples over restarts. */
  readonly notes: Pick<Notes, "notes" | "setNote">;
}

export function growthTask(options: GrowthWatchOptions): ScheduledTask {
  return {
    name: "growth",
    intervalMs: hourMs,
    firstAfterMs: 60_000,
    run() {
      for (const { set } of options.targets) {
        for (const replica of set.opened().values()) growthOf(replica, options);
      }
    },
  };
}

/** Counts one database in one replica, once an hour however often it is called. */
export function growthOf(
  replica: Replica,
  { alarms, now, notes }: Omit<GrowthWatchOptions, "targets">,
): void {
  const sample = sampleOf(replica, now());
  if (sample === undefined) return;
  const note = `growth/${replica.name}`;
  const before = samplesIn(notes.notes(note).get(note));
  const sinceMs = sample.atMs - (before.at(-1)?.atMs ?? Number.NEGATIVE_INFINITY);
  // Somebody counted a moment ago, also another process.
  if (sinceMs >= 0 && sinceMs < soonMs) return;
  const samples = addSample(before, sample);
  notes.setNote(note, JSON.stringify(samples));
  const jump = detectJump(samples);
  const alarm = { code: "growth", replica: replica.name };
  if (jump === undefined) {
    alarms.clear(alarm);
    return;
  }
  const message = `${replica.name}: ${jump.message}`;
  const hint =
    "Look at its agents with `pageferry status`; retention keeps the good points, by the time of receipt.";
  alarms.raise({ ...alarm, message, hint });
}

/** Undefined where it was not listed yet, or is too large to be counted. */
function sampleOf(replica: Replica, atMs: number): GrowthSample | undefined {
  const holdings = replica.holdingsNow();
  if (holdings?.objects === undefined) return undefined;
  let bytes = 0;
  let newest = "";
  for (const [name, size] of holdings.objects) {
    bytes += size;
    if (name.includes("/snapshots/") && name.slice(name.indexOf("/")) > newest.slice(newest.indexOf("/")))
      newest = name;
  }
  const snapshotBytes = holdings.objects.get(newest) ?? 0;
  return { atMs, generations: holdings.generations.size, bytes, snapshotBytes };
}

function samplesIn(text: string | undefined): GrowthSample[] {
  try {
    const value: unknown = JSON.parse(text ?? "[]");
    return Array.isArray(value) ? (value as GrowthSample[]) : [];
  } catch {
    return [];
  }
}
