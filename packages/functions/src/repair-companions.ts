// Which versions of companion files a replica lacks that another has, and that retention keeps: a pure decision beside repair-plan.ts.

import {
  type ArchiveFacts,
  indexArchive,
  indexCompanions,
  type ListedObject,
  parseObjectName,
} from "@pageferry/format";
import { planCompanions } from "./prune-companions.ts";
import { type PrunePolicy, planPrune } from "./prune-plan.ts";
import {
  isStateName,
  planRepair,
  type RepairCopy,
  type RepairPlan,
  type RepairPlanOptions,
} from "./repair-plan.ts";

/** Whether a name is one that repair looks after: of what points are made, or of companion files. */
export function isRepairedName(name: string): boolean {
  return isStateName(name) || parseObjectName(name)?.kind === "files";
}

/** The plan of a repair: what points need, and then the versions of companion files. */
export function planWithCompanions(
  holdings: readonly (readonly ListedObject[])[],
  options: RepairPlanOptions & CompanionsRepairOptions,
): RepairPlan {
  const states = holdings.map((objects) => objects.filter(({ name }) => isStateName(name)));
  const plan = planRepair(states, options);
  return { ...plan, copies: [...plan.copies, ...planCompanionsRepair(holdings, options)] };
}

/** What names do not tell, and what retention keeps; absent: everything. */
export interface CompanionsRepairOptions {
  readonly facts: ArchiveFacts;
  readonly policy?: PrunePolicy | undefined;
  readonly nowMs: number;
}

/** Plans the copies. `holdings`: what each replica lists, without objects that are known to be broken. */
function planCompanionsRepair(
  holdings: readonly (readonly ListedObject[])[],
  { facts, policy, nowMs }: CompanionsRepairOptions,
): RepairCopy[] {
  const all = holdings.flat();
  const index = indexCompanions(new Map(all.map((object) => [object.name, object])).values());
  if (index.size === 0) return [];
  const doomed = new Set<string>();
  if (policy !== undefined) {
    const listing = indexArchive(all, facts);
    const plan = planPrune(listing, policy, nowMs);
    for (const { name } of planCompanions({ index, listing, plan, policy, nowMs })) doomed.add(name);
  }
  const names = holdings.map((objects) => new Set(objects.map(({ name }) => name)));
  const entries = [...index.values()].flat().filter(({ name }) => !doomed.has(name));
  return names.flatMap((own, to) =>
    entries
      .filter(({ name }) => !own.has(name))
      .map(({ name, size }) => {
        return { to, name, size, from: names.flatMap((held, at) => (held.has(name) ? [at] : [])) };
      }),
  );
}
