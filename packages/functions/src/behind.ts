// Which replicas lack what their lanes let go of: noted by the queue in the step in which it lets go, told as an alarm, and
// ended by `repair`. Kept in memory besides, because every status asks.

import type { DatabaseName } from "@pageferry/format";
import type { Alarms } from "./alarms.ts";
import type { FanoutTarget } from "./fanout.ts";
import type { Behind, DurableQueue } from "./queue.ts";

/** What a repair must bring up. Given back when it succeeded, it ends, unless more was let go of meanwhile. */
export interface RepairNeed {
  readonly replica: string;
  readonly database: DatabaseName;
  readonly marks: readonly Behind[];
}

export interface Repairs {
  /** What `replica` needs of `database`; taken before the repair begins to list. `undefined`: nothing that is known. */
  needsRepair(replica: string, database: string): RepairNeed | undefined;
  all(): readonly RepairNeed[];
  /** Tells that a repair, begun after `need` was asked for, has brought the replica up. Returns whether nothing is left of it. */
  repaired(need: RepairNeed): boolean;
  /** Reads the notes again, and raises and clears the alarms. */
  refresh(): void;
}

export interface RepairsOptions {
  readonly queue: DurableQueue;
  readonly targets: readonly Pick<FanoutTarget, "name" | "lane" | "copyLane">[];
  readonly alarms: Alarms;
}

export function createRepairs({ queue, targets, alarms }: RepairsOptions): Repairs {
  const names = new Map(
    targets.flatMap(({ name, lane, copyLane }) => [
      [lane, name],
      [copyLane, name],
    ]),
  );
  let needs = new Map<string, RepairNeed>();
  const keyOf = (replica: string, database: string) => `${replica}\n${database}`;
  const refresh = () => {
    const found = new Map<string, RepairNeed>();
    for (const mark of queue.behind()) {
      const replica = names.get(mark.lane);
      if (replica === undefined) continue;
      const database = mark.database as DatabaseName;
      const key = keyOf(replica, database);
      found.set(key, { replica, database, marks: [...(found.get(key)?.marks ?? []), mark] });
    }
    for (const [key, need] of needs) if (!found.has(key)) alarms.clear({ code: "behind", ...wordsOf(need) });
    for (const need of found.values()) raise(need, alarms);
    needs = found;
  };
  refresh();
  return {
    needsRepair: (replica, database) => needs.get(keyOf(replica, database)),
    all: () => [...needs.values()],
    repaired({ replica, database, marks }) {
      for (const mark of marks) queue.caughtUp(mark);
      refresh();
      return !needs.has(keyOf(replica, database));
    },
    refresh,
  };
}

function wordsOf({ replica, database }: RepairNeed): { readonly replica: string; readonly database: string } {
  return { replica, database };
}

function raise(need: RepairNeed, alarms: Alarms): void {
  alarms.raise({
    code: "behind",
    ...wordsOf(need),
    message: `${need.replica} was away for so long that messages of ${need.database} were let go of, which other replicas hold`,
    hint: "When it is back it is repaired from another replica by itself; `pageferry repair` does it at once.",
  });
}
