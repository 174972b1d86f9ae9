// What rebuilds the newest point, in the words of the Go implementation. Derived from the listing each time; `_state.json`
// is written from it for Go's readers, and read by none of ours.

import {
  type Archive,
  type ArchiveReader,
  formatRestoreState,
  isPageferryError,
  openArchive,
  parseObjectName,
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

/**
 * Replaces `_state.json` by the newest point that Go can read: it knows segments and ranges, and no packs, so the fine end of an archive waits
 * for its compaction. Returns whether there is a point.
 */
export async function writeState(
  store: RootedStore,
  reader: ArchiveReader,
  options: CallOptions = {},
): Promise<boolean> {
  const plan = await newestPlan(reader, options, (archive) => {
    return new Set(
      archive.objects.map(({ name }) => name).filter((name) => parseObjectName(name)?.kind === "pack"),
    );
  });
  if (plan === undefined) return false;
  await store.replace(stateName, formatRestoreState(stateOf(plan, plan.steps)), options);
  return true;
}

async function newestPlan(
  reader: ArchiveReader,
  { signal }: CallOptions,
  without?: (archive: Archive) => ReadonlySet<string>,
): Promise<RestorePlan | undefined> {
  try {
    const archive = await openArchive([reader], { signal });
    const left = without === undefined ? {} : { without: without(archive) };
    return await planFromArchive(archive, {}, { signal, ...left });
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
