// Which versions of companion files may go: a pure decision beside prune-plan.ts, after it. What a kept point would be restored with stays, and
// each generation's newest, and what is young. Nothing else of the archive is looked at here.

import {
  type ArchiveListing,
  type CompanionsEntry,
  type CompanionsIndex,
  companionsAt,
  type Generation,
  type GenerationLink,
  generationJsonName,
} from "@pageferry/format";
import { graceMsDefault, type PlannedRemoval, type PrunePlan, type PrunePolicy } from "./prune-plan.ts";

/** What there is, and what the plan for the points says. */
export interface CompanionsToPrune {
  readonly index: CompanionsIndex;
  readonly listing: ArchiveListing;
  readonly plan: Pick<PrunePlan, "kept" | "doomed" | "leftAlone">;
  readonly policy: PrunePolicy;
  readonly nowMs: number;
}

/** Plans the removal of versions that nothing needs. */
export function planCompanions({ index, listing, plan, policy, nowMs }: CompanionsToPrune): PlannedRemoval[] {
  const needed = new Set<string>();
  const links = new Map<Generation, Pick<GenerationLink, "parent">>();
  for (const { generation, link } of listing.generations.values())
    if (link !== null) links.set(generation, link);
  for (const point of plan.kept) {
    const entry = companionsAt(index, links, point);
    if (entry !== undefined) needed.add(entry.name);
  }
  const remaining = generationsLeft(listing, plan.doomed);
  const graceMs = policy.graceMs ?? graceMsDefault;
  const fromMs = nowMs - Math.max(policy.segmentRetentionMs, graceMs);
  const doomed: PlannedRemoval[] = [];
  for (const [generation, entries] of index) {
    const isOther = policy.generation !== undefined && policy.generation !== generation;
    if (isOther || plan.leftAlone.has(generation)) continue;
    const newest = remaining.has(generation) ? entries.at(-1) : undefined;
    for (const entry of entries) {
      if (entry === newest || needed.has(entry.name) || entry.stampMs >= fromMs) continue;
      doomed.push({ name: entry.name, size: entry.size, why: whyOf(entry, remaining) });
    }
  }
  return doomed;
}

/** Generations of which anything stays. */
function generationsLeft(listing: ArchiveListing, doomed: PrunePlan["doomed"]): Set<Generation> {
  const gone = new Set(doomed.map(({ name }) => name));
  const left = new Set<Generation>();
  for (const { generation, link, ranges, snapshots } of listing.generations.values()) {
    // One that begins at a point of its parent has its companions before it has anything else.
    const isBegun = link?.parentStateHash !== undefined && !gone.has(generationJsonName(generation));
    const isThere = isBegun || [...ranges, ...snapshots].some(({ name }) => !gone.has(name));
    if (isThere) left.add(generation);
  }
  return left;
}

function whyOf({ generation }: CompanionsEntry, remaining: ReadonlySet<Generation>): string {
  return remaining.has(generation)
    ? "companion files of no kept point"
    : `companion files of superseded generation ${generation}`;
}
