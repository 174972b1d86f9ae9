// What backs up must not take the processor from what it backs up, where both want all of it.

import { readdirSync } from "node:fs";
import { getPriority, setPriority } from "node:os";

/** A third of what a process without a word about it gets, where there is not enough for both. A unit's `Nice` says more, and stays. */
const niceness = 5;

/** Lowers the priority of this process, all its threads and those to come. What may not be lowered, or is lower, stays. */
export function giveWay(): void {
  for (const id of threads()) {
    try {
      if (getPriority(id) < niceness) setPriority(id, niceness);
    } catch {
      // A thread that has ended meanwhile, or a system that does not let us: it is only politeness.
    }
  }
}

/** On Linux a priority is each thread's own. 0: this process. */
function threads(): readonly number[] {
  try {
    return readdirSync("/proc/self/task").map(Number);
  } catch {
    return [0];
  }
}
