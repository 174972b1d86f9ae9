// Another chance for what was set aside: dead letters go back into their lanes, and forked generations are taken again. Doing it
// twice is harmless, since what is stored is found to be present.

import { type DatabaseName, PageferryError } from "@pageferry/format";
import { ingestLane } from "./consumer.ts";
import type { FanoutTarget } from "./fanout.ts";
import type { Forks } from "./forks.ts";
import type { DurableQueue } from "./queue.ts";

export interface ReplayRequest {
  /** A replica's name as the status shows it; without it all, and what no replica was offered. */
  readonly replica?: string | undefined;
  readonly database?: DatabaseName | undefined;
  /** Also take envelopes again of generations of which two histories were found. */
  readonly hasForks: boolean;
}

export interface ReplayReport {
  /** How many dead letters went back, by replica. */
  readonly replayed: readonly { readonly replica: string; readonly messages: number }[];
  /** How many generations are taken again. */
  readonly forks: number;
}

export interface ReplayOptions {
  readonly queue: DurableQueue;
  readonly targets: readonly Pick<FanoutTarget, "name" | "lane" | "copyLane">[];
  readonly forks: Pick<Forks, "forgive">;
}

/** Carries it out. Errors: `not-found` for a replica that is not configured. */
export function replay(request: ReplayRequest, { queue, targets, forks }: ReplayOptions): ReplayReport {
  const { replica, database, hasForks } = request;
  const chosen = targets.filter(({ name }) => replica === undefined || name === replica);
  if (replica !== undefined && chosen.length === 0) {
    throw new PageferryError("not-found", `replica ${replica.slice(0, 200)} is not configured`, {
      hint: `There are ${targets.map(({ name }) => name).join(", ")}.`,
    });
  }
  const replayed = chosen.map(({ name, lane, copyLane }) => {
    return { replica: name, messages: queue.replay(lane, database) + queue.replay(copyLane, database) };
  });
  const unoffered = replica === undefined ? queue.replay(ingestLane, database) : 0;
  if (unoffered > 0) replayed.push({ replica: ingestLane, messages: unoffered });
  return { replayed, forks: hasForks ? forks.forgive(database) : 0 };
}
