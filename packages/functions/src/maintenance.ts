// What a host does besides: raises the alarms that only time tells, collects what is no longer needed, prunes where the
// configuration says how. Every task is tried again at its next turn; one that fails stops no other.

import { type Config, counted } from "@pageferry/format";
import type { Alarms } from "./alarms.ts";
import type { Repairs } from "./behind.ts";
import type { Databases } from "./databases.ts";
import type { DurableQueue, LaneDepth } from "./queue.ts";
import { type ScheduledTask, startSchedule } from "./schedule.ts";
import type { Sources } from "./sources.ts";
import type { Stage } from "./stage.ts";
import type { DatabaseStatus } from "./status.ts";
import type { Target } from "./targets.ts";
import { watchGaps } from "./watch-gaps.ts";

const secondMs = 1000;
const minuteMs = 60 * secondMs;
const hourMs = 60 * minuteMs;
const dayMs = 24 * hourMs;

/** Heartbeats come every 20 s; an alarm must come within a minute of the last, looked for every 5 s. */
const silentMsDefault = 54 * secondMs;

/** A source that moves while a replica does not is told within a minute, too. */
export const lagMsDefault = 54 * secondMs;

export interface MaintenanceOptions {
  readonly queue: DurableQueue;
  readonly stage: Stage;
  readonly sources: Sources;
  readonly targets: readonly Target[];
  readonly alarms: Alarms;
  readonly databases: Databases;
  readonly repairs: Repairs;
  readonly config: Partial<
    Pick<Config, "queueRetentionMs" | "retention" | "snapshotIntervalMs" | "dataLossWindowThresholdMs">
  >;
  readonly now: () => number;
  /** In [0, 1). */
  readonly random: () => number;
}

export function startMaintenance(options: MaintenanceOptions): { stop(): Promise<void> } {
  const { sources, queue, targets } = options;
  const tasks = [
    every("notes", secondMs, () => sources.save()),
    every("alarms", 5 * secondMs, (signal) => {
      watch(options);
      watchQueue(options.queue.depths(), options);
      options.repairs.refresh();
      probeIdle(options, signal);
    }),
    every("queue", minuteMs, () => expire(options)),
    every("stage", 5 * minuteMs, async () => {
      await options.stage.collect((digests) => queue.unreferenced(digests));
      queue.tidy();
    }),
    every("replicas", hourMs, (signal) =>
      eachTarget(targets, async ({ set }) => {
        for (const replica of set.opened().values()) {
          await replica.refresh({ signal });
          await replica.writeState({ signal });
        }
      }),
    ),
  ];
  const schedule = startSchedule(tasks, options);
  return {
    async stop() {
      await schedule.stop();
      sources.save();
    },
  };
}

function every(name: string, intervalMs: number, run: ScheduledTask["run"]): ScheduledTask {
  return { name, intervalMs, run };
}

/**
 * All at once: one that hangs or fails holds up no other, and one that is left alone is passed over. Throws what the first of
 * them threw, at the end.
 */
async function eachTarget(
  targets: readonly Target[],
  work: (target: Target) => Promise<unknown>,
): Promise<void> {
  const there = targets.filter((target) => target.health().state === "closed");
  const done = await Promise.allSettled(there.map(work));
  const failed = done.find((one) => one.status === "rejected");
  if (failed !== undefined) throw failed.reason;
}

/** What the alarms that time tells are read from. */
export interface WatchedParts extends Pick<MaintenanceOptions, "alarms" | "now" | "config"> {
  readonly sources: Pick<Sources, "all">;
  readonly databases: Pick<Databases, "standing" | "gaps">;
  /** After how long without a word an agent is silent. Default 54 s. */
  readonly silentMs?: number;
}

/** Raises and clears them. */
export function watch(options: WatchedParts): void {
  const { sources, alarms, now, databases, config, silentMs = silentMsDefault } = options;
  for (const source of sources.all()) {
    const { database, lastSeenMs, host, parting } = source;
    const silent = { code: "silent", database };
    const silentForMs = now() - lastSeenMs;
    if (silentForMs < silentMs || parting !== null) alarms.clear(silent);
    else {
      const message = `nothing was heard of ${database} on ${host} for ${Math.round(silentForMs / secondMs)} s`;
      const hint = `See whether its agent runs and reaches this host. If it is to be backed up no longer: \`pageferry unregister ${database}\` where the agent is.`;
      alarms.raise({ ...silent, message, hint });
    }
    const status = databases.standing(database);
    watchLag(status, config.dataLossWindowThresholdMs || lagMsDefault, alarms);
    watchQuarantine(status, alarms);
    watchGaps(database, databases.gaps(database), alarms);
  }
}

/**
 * Asks those that are left alone, and whose wait is over, whether they are back, where no message of theirs would: else they
 * were away until the next one. Waits for no answer; while one is awaited their breakers let nobody else ask.
 */
export function probeIdle(
  { targets, queue }: Pick<MaintenanceOptions, "targets" | "queue">,
  signal: AbortSignal,
): void {
  for (const { set, lane, copyLane, health, ask } of targets) {
    const { state, waitMs } = health();
    const isIdle = [lane, copyLane].every((one) => queue.load(one).messages === 0);
    if (state !== "open" || waitMs > 0 || !isIdle) continue;
    // What it answers is in its health.
    ask((until) => set.look({ signal: until }), signal).catch(() => undefined);
  }
}

function watchLag(status: Awaited<ReturnType<Databases["status"]>>, lagMsMax: number, alarms: Alarms): void {
  for (const { name, lagMs, error, txid } of status.replicas) {
    const lag = { code: "lag", database: status.name, replica: name };
    if (lagMs !== null && lagMs <= lagMsMax) alarms.clear(lag);
    else if (lagMs !== null) {
      const why = error ?? "it has not come yet";
      const message = `${name} lacks commits of ${status.name} that are ${Math.round(lagMs / secondMs)} s old; it has ${txid ?? "nothing"}: ${why}`;
      alarms.raise({ ...lag, message, hint: "`pageferry status` shows what waits." });
    }
  }
}

/** Also after a restart: what was set aside waits for somebody to decide. */
function watchQuarantine(status: DatabaseStatus, alarms: Alarms): void {
  for (const { name, quarantined } of status.replicas) {
    const alarm = { code: "quarantine", database: status.name, replica: name };
    if (quarantined === 0) alarms.clear(alarm);
    else {
      const message = `${name} holds ${counted(quarantined, "object")} of ${status.name} that ${quarantined === 1 ? "contradicts" : "contradict"} its history`;
      alarms.raise({
        ...alarm,
        message,
        hint: "Choose between the histories, then remove the copies in its quarantine.",
      });
    }
  }
}

/** Raises the alarms of what is set aside and of what waits for long, and clears those of lanes that are empty. */
export function watchQueue(
  depths: readonly LaneDepth[],
  { alarms, now, config }: Pick<MaintenanceOptions, "alarms" | "now" | "config">,
): void {
  for (const { code, database, replica } of alarms.list()) {
    const isQueues = code === "dead-letter" || code === "queue-age";
    const isThere = depths.some((depth) => depth.database === database && depth.lane === replica);
    if (isQueues && !isThere && database !== undefined && replica !== undefined) {
      alarms.clear({ code, database, replica });
    }
  }
  const retentionMs = config.queueRetentionMs ?? 14 * dayMs;
  for (const { database, lane, dead, oldestMs } of depths) {
    const letter = { code: "dead-letter", database, replica: lane };
    if (dead === 0) alarms.clear(letter);
    else {
      const message = `${counted(dead, "message")} of ${database} in ${lane} could not be delivered and ${dead === 1 ? "is" : "are"} set aside`;
      alarms.raise({
        ...letter,
        message,
        hint: "When the cause is mended, `pageferry replay` tries them again; they are kept as long as messages are.",
      });
    }
    const age = { code: "queue-age", database, replica: lane };
    if (oldestMs === undefined || now() - oldestMs < retentionMs / 2) alarms.clear(age);
    else {
      const message = `messages of ${database} wait in ${lane} for half of the time that the queue keeps them`;
      alarms.raise({ ...age, message, hint: "Mend the replica, or they are lost when that time is over." });
    }
  }
}

function expire({ queue, targets, alarms, config }: MaintenanceOptions): void {
  const lanes = new Set(targets.flatMap(({ lane, copyLane }) => [lane, copyLane]));
  const lost = queue.expire(config.queueRetentionMs ?? 14 * dayMs, (lane) => lanes.has(lane));
  if (lost === 0) return;
  const message = `${counted(lost, "message was", "messages were")} older than the queue keeps them, and ${lost === 1 ? "is" : "are"} gone`;
  alarms.raise({ code: "expired", message, hint: "A new snapshot is asked for where they left a hole." });
}
