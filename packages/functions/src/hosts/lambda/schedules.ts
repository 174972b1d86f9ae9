// What the functions do that come by a schedule: each looks after the databases of a deployment, one after the other, for as long as it may.

import { randomUUID } from "node:crypto";
import { counted, type DatabaseName, PageferryError, parseDatabaseName } from "@pageferry/format";
import type { Context } from "aws-lambda";
import { watch } from "../../maintenance.ts";
import { createRepairer } from "../../repairer.ts";
import { sweepScratch } from "../../scratch.ts";
import { createTimekeeper, type Timekeeper } from "../../timekeeper.ts";
import { growthOf } from "../../watch-growth.ts";
import { opened } from "./container.ts";
import { openStanding, type Standing } from "./standing.ts";
import { databaseIn, type TurnsReport, takeTurns, turnNotes } from "./turns.ts";
import { createVerifyTurn, verifyNotes } from "./verify-turn.ts";

/** What was heard is noted once a minute, after windows of some seconds; sooner an agent's silence may be ours. */
const silentMs = 4 * 60_000;

/** Does a task's work on one database. Throws where it failed. */
export type Turn = (database: DatabaseName, signal: AbortSignal, remainingMs: () => number) => Promise<void>;

export interface Task {
  readonly name: string;
  /** Of notes that only it wants. */
  readonly prefixes?: readonly string[];
  open(standing: Standing): Turn;
  /** When all had their turn. */
  readonly after?: (standing: Standing) => void;
}

/** Merges windows and builds snapshots, and looks how databases stand: it comes most often, and has just listed them. */
export const compactTask: Task = {
  name: "compact",
  prefixes: ["growth/"],
  open(standing) {
    const { turns } = timekeeperOf(standing);
    return async (database, signal) => {
      await turns.compact(database, { signal });
      watchOne(standing, database);
    };
  },
  after: watchDeadLetters,
};

/** Lets go of what retention does not keep. Nobody else deletes. */
export const pruneTask: Task = {
  name: "prune",
  open(standing) {
    const { turns } = timekeeperOf(standing);
    return (database, signal) => turns.prune(database, { signal });
  },
};

/** Restores points into scratch and checks them; goes on later where the time was too short. */
export const verifyTask: Task = {
  name: "verify",
  prefixes: [verifyNotes],
  open: createVerifyTurn,
};

/** Brings to each replica what another one has. */
export const repairTask: Task = {
  name: "repair",
  open({ targets, telemetry, upkeep, environment, now }) {
    const { config } = environment;
    const repairer = createRepairer({ targets, alarms: telemetry.alarms, upkeep, config, now });
    return async (database, signal) => {
      // With one replica there is nobody to copy from.
      if (targets.length < 2) return;
      const report = await repairer.repair(database, { signal });
      const lost = report.replicas.find(({ error }) => error !== null);
      if (lost !== undefined) throw new PageferryError("unavailable", `${lost.replica}: ${lost.error}`);
    };
  },
};

/** A handler for a task. Errors: those of opening; what fails with a database is in the report, and told by an alarm. */
export function scheduled(task: Task): (event: unknown, context: Context) => Promise<TurnsReport> {
  const open = opened(async () => {
    const standing = await openStanding(task.name, { prefixes: [turnNotes, ...(task.prefixes ?? [])] });
    return { standing, turn: task.open(standing) };
  });
  let underWay = 0;
  return async (event, context) => {
    const { standing, turn } = await open();
    // An invocation that was ended left what it had. AWS gives a process one after the other.
    if (underWay === 0) await sweepScratch(standing.scratchDir, false, standing.now());
    underWay += 1;
    try {
      return await carryOut(task, standing, turn, event, () => context.getRemainingTimeInMillis());
    } finally {
      underWay -= 1;
    }
  };
}

/** One invocation. */
export async function carryOut(
  task: Task,
  standing: Standing,
  turn: Turn,
  event: unknown,
  remainingMs: () => number,
): Promise<TurnsReport> {
  const { telemetry, notes, now } = standing;
  await standing.refresh(0);
  const asked = databaseIn(event);
  const databases = asked === undefined ? await standing.databases.databases() : [parseDatabaseName(asked)];
  try {
    const report = await takeTurns(databases, {
      ...{ task: task.name, notes, telemetry, now, remainingMs },
      work: (database, signal) => turn(database, signal, remainingMs),
    });
    task.after?.(standing);
    await notes.save();
    return report;
  } finally {
    telemetry.flush();
  }
}

function timekeeperOf({ targets, telemetry, upkeep, environment, scratchDir, now }: Standing): Timekeeper {
  const { alarms } = telemetry;
  const holder = `${process.env.AWS_LAMBDA_FUNCTION_NAME ?? "function"} ${randomUUID()}`;
  return createTimekeeper({
    ...{ targets, alarms, upkeep, scratchDir, holder, now },
    config: environment.config,
  });
}

/** The alarms that only time tells, of one database. */
function watchOne(standing: Standing, database: DatabaseName): void {
  const { sources, telemetry, now, databases, environment, holes, targets, notes } = standing;
  const { alarms } = telemetry;
  const source = sources.get(database);
  watch({
    ...{ alarms, now, databases, config: environment.config },
    silentMs,
    sources: { all: () => (source === undefined ? [] : [source]) },
  });
  holes.keep(database);
  for (const { set, name, health } of targets) {
    const replica = set.opened().get(database);
    if (replica !== undefined) growthOf(replica, { alarms, now, notes });
    // It answered; who raised this may be gone.
    if (health().failures === 0) alarms.clear({ code: "unavailable", replica: name });
  }
}

/** Of all databases together: SQS does not tell whose they are. */
function watchDeadLetters({ depths, telemetry }: Standing): void {
  for (const [lane, dead] of depths.deadLetters()) {
    const letter = { code: "dead-letter", replica: lane };
    if (dead === 0) telemetry.alarms.clear(letter);
    else {
      const message = `${counted(dead, "message")} in ${lane} could not be delivered and ${dead === 1 ? "is" : "are"} set aside`;
      const hint =
        "When the cause is mended, `pageferry replay` tries them again; SQS keeps them for 14 days.";
      telemetry.alarms.raise({ ...letter, message, hint });
    }
  }
}
