// Whether a generation may begin at a point that is in the archive already, as after a restore: only where each replica can restore that point, alone,
// in exactly the state that the file has, and where the generation's first snapshot is made here. Anything else, and all doubt, is a no.

import {
  type DatabaseName,
  type GenerationParent,
  isPageferryError,
  openArchive,
  parseObjectName,
  planFromArchive,
  type RestorePlan,
  type StateHash,
} from "@pageferry/format";
import { describeObject, type StateObjectName } from "./describe.ts";
import type { Replica } from "./replica.ts";
import type { CallOptions } from "./store.ts";
import type { Target } from "./targets.ts";

/** A point, by the state that it must have. */
export interface PointState extends GenerationParent {
  readonly stateHash: StateHash;
}

/** Answers an agent that asks for a point. */
export type Holds = (database: DatabaseName, point: PointState, call: CallOptions) => Promise<boolean>;

export interface HoldsOptions {
  readonly targets: readonly Pick<Target, "ask" | "set">[];
  /** How old the newest snapshot may become, where snapshots are built here; absent: they are not. */
  readonly snapshotIntervalMs?: number | undefined;
}

/** Makes the answer of a host. A replica that does not answer now may not have the point. */
export function createHolds({ targets, snapshotIntervalMs }: HoldsOptions): Holds {
  return async (database, point, { signal }) => {
    if (snapshotIntervalMs === undefined || targets.length === 0) return false;
    const asked = targets.map(({ ask, set }) =>
      ask(async (until) => holdsPoint(await set.of(database), point, { signal: until }), signal),
    );
    const answers = await Promise.allSettled(asked);
    signal?.throwIfAborted();
    return answers.every((answer) => answer.status === "fulfilled" && answer.value);
  };
}

/** Whether a replica can restore the point, and says that it is this state. What prune has marked counts as gone. */
async function holdsPoint(
  replica: Pick<Replica, "remembered" | "objects">,
  { generation, txId, stateHash }: PointState,
  { signal }: CallOptions = {},
): Promise<boolean> {
  const { remembered } = replica;
  const archive = await openArchive([remembered], { signal });
  const marked = await remembered.marked?.({ signal });
  try {
    const without = new Set(marked?.keys());
    const plan = await planFromArchive(archive, { generation, txId }, { signal, without });
    // A transaction of the same number in a parent is another point; and one inside of a pack is not seen in a listing.
    const isSeen = plan.generation === generation && (plan.steps.at(-1)?.lastTxId ?? txId) === txId;
    return isSeen && (await stateOf(replica, plan, signal)) === stateHash;
  } catch (error) {
    if (!isPageferryError(error) || error.remedy === "retry") throw error;
    return false;
  }
}

/** The state that a plan ends in, as its last object says; `undefined`: it does not, as where the Go implementation wrote it. */
async function stateOf(
  { objects }: Pick<Replica, "objects">,
  { snapshot, steps, txId }: RestorePlan,
  signal: AbortSignal | undefined,
): Promise<StateHash | undefined> {
  const { name, size } = steps.at(-1) ?? snapshot;
  const read = (offset: number, length: number) => objects.read(name, length, { offset, length, signal });
  const links = await describeObject(parseObjectName(name) as StateObjectName, { size, read });
  return links.find((link) => link.txId === txId)?.post;
}
