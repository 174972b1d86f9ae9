// Tasks that come again and again, for as long as the host runs: never twice at a time, by a clock that nobody can set back, and told when
// they fail. The only file that knows toad-scheduler.

import { AsyncTask, SimpleIntervalJob } from "toad-scheduler";
import type { Alarms } from "./alarms.ts";
import { errorLine } from "./settle.ts";

export interface ScheduledTask {
  /** Part of its alarm's code: `maintenance-NAME`. */
  readonly name: string;
  readonly intervalMs: number;
  /** When it is carried out for the first time; default after one interval. */
  readonly firstAfterMs?: number;
  /** The signal ends with the schedule. */
  readonly run: (signal: AbortSignal) => void | Promise<void>;
}

export interface Schedule {
  /** Ends what is under way, and waits for it. */
  stop(): Promise<void>;
}

/** A longer wait than a timer can hold is cut: the task is only carried out earlier. */
const intervalMsMax = 24 * 24 * 60 * 60_000;

/** Share of a task's interval by which it is moved, so that the hosts of one bucket do not all come at the same moment. */
const jitterShare = 0.1;

export interface ScheduleOptions {
  readonly alarms: Alarms;
  /** In [0, 1). */
  readonly random: () => number;
}

/** Begins to carry tasks out. One that fails raises an alarm until it succeeds, and stops no other. */
export function startSchedule(tasks: readonly ScheduledTask[], options: ScheduleOptions): Schedule {
  const stopping = new AbortController();
  const started = tasks.map((task) => start(task, stopping.signal, options));
  return {
    async stop() {
      stopping.abort();
      await Promise.all(started.map((one) => one.stop()));
    },
  };
}

function start(
  { name, intervalMs, firstAfterMs = intervalMs, run }: ScheduledTask,
  signal: AbortSignal,
  { alarms, random }: ScheduleOptions,
): Schedule {
  const code = `maintenance-${name}`;
  let running: Promise<void> = Promise.resolve();
  const turn = async (): Promise<void> => {
    try {
      await run(signal);
      alarms.clear({ code });
    } catch (error) {
      // What was ended by the end of the host has not failed.
      if (signal.aborted) return;
      const message = `${name}: ${errorLine(error)}`;
      alarms.raise({ code, message, hint: "It is tried again at its next turn." });
    }
  };
  const task = new AsyncTask(name, () => {
    running = signal.aborted ? Promise.resolve() : turn();
    return running;
  });
  const milliseconds = Math.min(intervalMs, intervalMsMax);
  const job = new SimpleIntervalJob({ milliseconds, runImmediately: true }, task, { preventOverrun: true });
  const waitMs = Math.min(firstAfterMs + random() * jitterShare * intervalMs, intervalMsMax);
  const first = setTimeout(() => job.start(), waitMs);
  return {
    async stop() {
      clearTimeout(first);
      job.stop();
      await running;
    },
  };
}
