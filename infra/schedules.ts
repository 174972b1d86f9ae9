// What runs by the clock. Each has its own function, because each has its own rights: prune alone may delete.

import type { Schedule, Schedules } from "./args.ts";
import { capital, type Deployment } from "./deployment.ts";
import type { Variables } from "./environment.ts";
import { createFunction, type Functions } from "./function.ts";
import { canCount, canDelete, canKeepNotes, canPut, canReadReplicas, type Grant, within } from "./grants.ts";
import { allQueues, type Queues } from "./queue.ts";
import type { ReplicaPlace, Storage } from "./storage.ts";

/** As long as a function may run: a task does what it can in it, and goes on at the next turn. */
const timeoutSeconds = 15 * 60;
/** Where a database is put together: as much as a function can have. */
const diskMiB = 10_240;
/** A turn that AWS could not begin. */
const retries = 2;

interface Task {
  readonly schedule: Schedule;
  readonly description: string;
  readonly memoryMiB: number;
  readonly diskMiB?: number;
  /** Besides reading: what it may write or delete. */
  readonly grants: (replicas: readonly ReplicaPlace[]) => readonly Grant[];
}

const tasks: Readonly<Record<keyof Schedules, Task>> = {
  compact: {
    schedule: "rate(5 minutes)",
    description: "pageferry: merges old segments, builds snapshots, looks for trouble",
    memoryMiB: 2048,
    diskMiB,
    grants: (replicas) => canPut(within(replicas, ["*"])),
  },
  prune: {
    schedule: "rate(1 hour)",
    description: "pageferry: deletes what no kept point needs",
    memoryMiB: 1024,
    grants: (replicas) => [
      ...canPut(within(replicas, ["marks/*", "leases/*", "_state.json"])),
      ...canDelete(within(replicas, ["*"])),
    ],
  },
  verify: {
    schedule: "rate(1 day)",
    description: "pageferry: restores, and keeps the evidence",
    memoryMiB: 2048,
    diskMiB,
    grants: (replicas) => canPut(within(replicas, ["evidence/*"])),
  },
  repair: {
    schedule: "rate(6 hours)",
    description: "pageferry: copies what one replica has and another lacks",
    memoryMiB: 1024,
    diskMiB,
    grants: (replicas) => canPut(within(replicas, ["*"])),
  },
};

export interface SchedulesOptions {
  readonly storage: Storage;
  readonly queues: Queues;
  readonly variables: Variables;
}

/** Makes the functions that run by the clock; one whose schedule is `false` is not made. */
export function createSchedules(
  deployment: Deployment,
  { storage, queues, variables }: SchedulesOptions,
): Functions {
  const names = ["compact", "prune", "verify", "repair"] as const;
  const made = names.flatMap((name): readonly (readonly [string, sst.aws.Function])[] => {
    const task = tasks[name];
    const schedule = deployment.args.schedules?.[name] ?? task.schedule;
    if (schedule === false) return [];
    const run = createFunction(deployment, capital(name), {
      ...{ handler: name, variables, timeoutSeconds },
      description: task.description,
      memoryMiB: task.memoryMiB,
      ...(task.diskMiB === undefined ? {} : { diskMiB: task.diskMiB }),
      grants: [
        ...canKeepNotes(storage),
        ...canCount(allQueues(queues)),
        ...canReadReplicas(storage.replicas),
        ...task.grants(storage.replicas),
      ],
    });
    new sst.aws.CronV2(
      `${deployment.name}${capital(name)}Schedule`,
      { function: run.arn, schedule, event: {}, retries },
      deployment.child,
    );
    return [[name, run]];
  });
  return Object.fromEntries(made);
}
