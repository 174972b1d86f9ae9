// What was done with each database in each replica, as time went by: told by those who do it, remembered for the status (also over a restart),
// and told on as events.

import { counted, type DatabaseName } from "@pageferry/format";
import { z } from "zod";
import type { CompactReport } from "./compact.ts";
import type { Happening } from "./event-log.ts";
import type { Notes } from "./notes.ts";
import type { PruneReport } from "./prune.ts";
import type { RepairReport } from "./repair.ts";
import type { SnapshotBuild } from "./snapshot-build.ts";
import type { VerifyReport } from "./verify-report.ts";

/** One piece of work that was done, and what came of it. */
export interface Done {
  readonly atMs: number;
  /** Objects that were merged, removed, or copied and healed. */
  readonly objects: number;
  /** Bytes that were freed by it, or brought by it. */
  readonly bytes: number;
}

/** When each was done last; null: not yet, as far as is remembered. */
export interface LastDone {
  readonly compaction: Done | null;
  readonly prune: Done | null;
  readonly repair: Done | null;
}

/** A database in a replica, as the status names it. */
export interface Place {
  readonly database: DatabaseName;
  readonly replica: string;
}

export interface Upkeep {
  compacted(place: Place, report: Pick<CompactReport, "dryRun" | "merged" | "bytesIn" | "bytesOut">): void;
  snapshots(place: Place, builds: readonly SnapshotBuild[]): void;
  pruned(place: Place, report: Pick<PruneReport, "dryRun" | "removed" | "bytesFreed">): void;
  repaired(report: RepairReport): void;
  verified(report: VerifyReport): void;
  of(place: Place): LastDone;
  /** Takes what others have noted since. */
  reload(): void;
}

export interface UpkeepOptions {
  readonly now: () => number;
  readonly notes: Pick<Notes, "setNote" | "notes">;
  readonly happened: (happening: Happening) => void;
  /** Told of a database whose row is another one. */
  readonly onChange: (database: DatabaseName) => void;
}

const notePrefix = "upkeep/";

const doneSchema = z.object({ atMs: z.number(), objects: z.number(), bytes: z.number() }).nullable();
const lastDoneSchema = z.object({ compaction: doneSchema, prune: doneSchema, repair: doneSchema });
const nothing: LastDone = { compaction: null, prune: null, repair: null };

export function createUpkeep({ now, notes, happened, onChange }: UpkeepOptions): Upkeep {
  const known = new Map<string, LastDone>();
  const reload = (): void => {
    for (const [name, value] of notes.notes(notePrefix)) {
      const last = parseLastDone(value);
      if (last !== undefined) known.set(name.slice(notePrefix.length), last);
    }
  };
  reload();
  const wordOf = ({ database, replica }: Place): string => `${database}/${replica}`;
  const of = (place: Place): LastDone => known.get(wordOf(place)) ?? nothing;
  const note = (place: Place, kind: keyof LastDone, objects: number, bytes: number): void => {
    const last = { ...of(place), [kind]: { atMs: now(), objects, bytes } };
    const isFirst = of(place)[kind] === null;
    known.set(wordOf(place), last);
    onChange(place.database);
    // What came to nothing is done again and again; it is not worth a write each time.
    if (objects === 0 && !isFirst) return;
    try {
      notes.setNote(notePrefix + wordOf(place), JSON.stringify(last));
    } catch {
      // The work was done. With a full disk it is only forgotten at the next start.
    }
  };
  return {
    of,
    reload,
    compacted(place, { dryRun, merged, bytesIn, bytesOut }) {
      if (dryRun) return;
      const sources = merged.reduce((sum, one) => sum + one.sources, 0);
      note(place, "compaction", sources, bytesIn - bytesOut);
      if (merged.length === 0) return;
      happened({
        ...place,
        kind: "compacted",
        message: `${counted(sources, "object")} became ${merged.length}`,
      });
    },
    snapshots(place, builds) {
      for (const { name, bytes, failure } of builds) {
        if (failure === null)
          happened({ ...place, kind: "snapshot", message: `${name} was built, ${bytes} bytes` });
      }
    },
    pruned(place, { dryRun, removed, bytesFreed }) {
      if (dryRun) return;
      note(place, "prune", removed.length, bytesFreed);
      if (removed.length === 0) return;
      const message = `${counted(removed.length, "object is", "objects are")} gone, ${bytesFreed} bytes are free`;
      happened({ ...place, kind: "pruned", message });
    },
    repaired({ database, dryRun, replicas }) {
      for (const { replica, copied, healed, bytes, failures, error } of dryRun ? [] : replicas) {
        const place = { database: database as DatabaseName, replica: targetName(replica, database) };
        if (error === null && failures === 0) note(place, "repair", copied + healed, bytes);
        if (copied + healed === 0) continue;
        const message = `${counted(copied, "object was", "objects were")} copied, ${counted(healed, "was", "were")} healed`;
        happened({ ...place, kind: "repaired", message });
      }
    },
    verified({ database, replicas }) {
      for (const { replica, verdict, points, problemCount } of replicas) {
        const last = points.at(-1);
        if (verdict === null && last === undefined) continue;
        const found = problemCount === 0 ? "" : `, ${counted(problemCount, "problem")}`;
        const message = `${verdict ?? last?.verdict}${last === undefined ? "" : ` at ${last.txid}`}${found}`;
        happened({ kind: "verified", database, replica: targetName(replica, database), message });
      }
    },
  };
}

/** A note that cannot be read tells nothing: the next work does. */
function parseLastDone(value: string): LastDone | undefined {
  try {
    return lastDoneSchema.parse(JSON.parse(value));
  } catch {
    return undefined;
  }
}

/** What two processes did in one place: of each kind the last that came to something, for what came to nothing is not worth a write. */
export function mergeUpkeep(theirs: string, ours: string): string {
  const [a, b] = [parseLastDone(theirs), parseLastDone(ours)];
  if (a === undefined || b === undefined) return ours;
  const later = (kind: keyof LastDone): Done | null => {
    const [one, other] = [a[kind], b[kind]];
    if (one === null || other === null) return one ?? other;
    if ((one.objects === 0) !== (other.objects === 0)) return other.objects === 0 ? one : other;
    return one.atMs > other.atMs ? one : other;
  };
  return JSON.stringify({
    compaction: later("compaction"),
    prune: later("prune"),
    repair: later("repair"),
  } satisfies LastDone);
}

/** A replica's name is the configured one's, with the database below it or without. */
export function targetName(replica: string, database: string): string {
  return replica.endsWith(`/${database}`) ? replica.slice(0, -database.length - 1) : replica;
}
