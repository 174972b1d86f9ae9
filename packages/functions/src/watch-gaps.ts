// A hole in the history that outlived its settle time: told as an alarm for as long as it is there. The agent fills it, from
// its shadow or with a new snapshot, when it hears of it.

import { counted, type DatabaseName, formatTxId, type GenerationNeeds } from "@pageferry/format";
import type { Alarms } from "./alarms.ts";

/** Holes of one generation: where it has no base at all, that is one. */
export function gapCount(needs: GenerationNeeds | undefined): number {
  return needs === undefined ? 0 : needs.missing.length + (needs.snapshot ? 1 : 0);
}

/** Raises `gap` for a database, or clears it; what is not known now changes nothing. */
export function watchGaps(database: DatabaseName, needs: GenerationNeeds | undefined, alarms: Alarms): void {
  if (needs === undefined) return;
  const alarm = { code: "gap", database };
  if (gapCount(needs) === 0) alarms.clear(alarm);
  else {
    alarms.raise({
      ...alarm,
      message: `no replica ${wordsOf(needs)} of ${database}`,
      hint: "The agent sends it again, or a new snapshot, within minutes; see whether it runs. Points in between are lost with it.",
    });
  }
}

function wordsOf({ missing, snapshot }: GenerationNeeds): string {
  const [first] = missing;
  if (first === undefined) return snapshot ? "has a snapshot to begin from" : "lacks anything";
  const [from, to] = first;
  const more =
    missing.length > 1 ? ` and ${counted(missing.length - 1, "more stretch", "more stretches")}` : "";
  return `has the transactions after ${formatTxId(from)} up to ${formatTxId(to)}${more}`;
}
