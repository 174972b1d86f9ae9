// What rebuilds the newest point, in the words of the Go implementation. Derived from the listing each time; `_state.json`
// is written from it for Go's readers, and read by none of ours.

import {
  type ArchiveReader,
  formatRestoreState,
  isPageferryError,
  openArchive,
  planFromArchive,
  type RestorePlan,
  type RestoreState,
  stateName,
  type TxId,
} from "@pageferry/format";
import type { RootedStore } from "./rooted-store.ts";
import type { CallOptions } from "./store.ts";

/** The newest point that can be restored; `undefined` for an empty archive. Sizes are those of the objects. */
export async function latestState(
  reader: ArchiveReader,
  options: CallOptions = {},
): Promise<RestoreState | undefined> {
  const plan = await newestPlan(reader, options);
  return plan === undefined ? undefined : stateOf(plan, plan.steps);
}

/** Replaces `_state.json` by what Go can read of the newest point: up to the first pack. Returns whether there is a point. */
export async function writeState(
  store: RootedStore,
  reader: ArchiveReader,
  options: CallOptions = {},
): Promise<boolean> {
  const plan = await newestPlan(reader, options);
  if (plan === undefined) return false;
  const firstPack = plan.steps.findIndex((step) => step.kind === "pack");
  const state = stateOf(plan, firstPack === -1 ? plan.steps : plan.steps.slice(0, firstPack));
  await store.replace(stateName, formatRestoreState(state), options);
  return true;
}

async function newestPlan(reader: ArchiveReader, { signal }: CallOptions): Promise<RestorePlan | undefined> {
  try {
    return await planFromArchive(await openArchive([reader], { signal }), {}, { signal });
  } catch (error) {
    if (isPageferryError(error, "not-found")) return undefined;
    throw error;
  }
}

function stateOf(plan: RestorePlan, steps: RestorePlan["steps"]): RestoreState {
  const { snapshot } = plan;
  let { stampMs } = snapshot;
  const segments = steps.map((step) => {
    stampMs = step.stampMs ?? stampMs;
    return {
      name: step.name,
      firstTxId: (step.parentTxId + 1n) as TxId,
      lastTxId: step.lastTxId,
      timestamp: formatTime(stampMs),
      size: step.size,
    };
  });
  return {
    generation: plan.generation,
    snapshot: { name: snapshot.name, timestamp: formatTime(snapshot.stampMs), size: snapshot.size },
    segments,
    lastUploaded: formatTime(stampMs),
  };
}

/** RFC 3339 with milliseconds. */
export function formatTime(ms: number): string {
  return new Date(ms).toISOString();
}
