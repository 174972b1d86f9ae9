// What an archive can restore, as the pages show it: listed at most every few seconds, however many people look.

import {
  type ArchiveReader,
  type DatabaseName,
  formatTxId,
  type GenerationTimeline,
  type Manifest,
  manifestOf,
  openArchive,
  type Point,
  pointsIn,
  predictRestore,
  type RestoreTarget,
  timelineOf,
} from "@pageferry/format";
import type { ArchiveApi } from "../archive-api.ts";
import type { HostReader } from "../host-reader.ts";
import type { ReplicaStatus } from "../status-replica.ts";
import type { CallOptions } from "../store.ts";

export interface ArchiveView {
  /** Newest first. */
  readonly points: readonly Point[];
  /** Newest first. */
  readonly generations: readonly GenerationTimeline[];
  readonly warnings: readonly string[];
  /** The time of a point, where it is one and has one. */
  stampOf(generation: string, txid: string): number | undefined;
}

/** Who zooms looks at the same points; who commits and looks sees it. */
const ageMsMax = 3000;

/** Some 20 MB each for a hundred thousand points; they go when they are old, asked for or not. */
const keptMax = 4;

/**
 * The readers of replicas that answer: nobody waits for one that is away to find a point, unless there is no other. What only it has is not seen
 * then, which is said.
 */
export function answering<Reader extends ArchiveReader>(
  readers: readonly Reader[],
  replicas: readonly Pick<ReplicaStatus, "name" | "breaker">[],
): { readonly readers: readonly Reader[]; readonly away: readonly string[] } {
  const away = replicas.filter(({ breaker }) => breaker !== "closed").map(({ name }) => name);
  const left = readers.filter(({ name }) => !away.some((one) => name === one || name.startsWith(`${one}/`)));
  return left.length === 0 ? { readers, away: [] } : { readers: left, away };
}

export interface ArchiveViews {
  of(
    database: DatabaseName,
    replicas: readonly Pick<ReplicaStatus, "name" | "breaker">[],
    call: CallOptions,
  ): Promise<ArchiveView>;
  /** What a restore of `target` would be. Errors: as `planRestore`. */
  plan(
    database: DatabaseName,
    replicas: readonly Pick<ReplicaStatus, "name" | "breaker">[],
    target: RestoreTarget,
    call: CallOptions,
  ): Promise<Manifest>;
}

export function createArchiveViews(
  readers: (database: DatabaseName) => Promise<readonly HostReader[]>,
  archive: Pick<ArchiveApi, "plan">,
): ArchiveViews {
  const kept = new Map<DatabaseName, ArchiveView>();
  return {
    async of(database, replicas, call) {
      const known = kept.get(database);
      if (known !== undefined) return known;
      const there = answering(await readers(database), replicas);
      const view = await read(there, call);
      if (kept.size >= keptMax) return view;
      kept.set(database, view);
      setTimeout(() => kept.delete(database), ageMsMax).unref();
      return view;
    },
    async plan(database, replicas, target, call) {
      const there = answering(await readers(database), replicas).readers;
      const { plan, ends } = await archive.plan({ database, readers: there }, target, call);
      const work = { bytes: plan.bytes, objects: 1 + plan.steps.length };
      return manifestOf(plan, {
        ...{ database, stateHash: ends.stateHash, pageSize: ends.pageSize },
        ...{ predictedRequests: work.objects, predictedSeconds: predictRestore(work) },
      });
    },
  };
}

async function read(
  { readers, away }: ReturnType<typeof answering<HostReader>>,
  { signal }: CallOptions,
): Promise<ArchiveView> {
  const archive = await openArchive(readers, { signal });
  const { points, listing, warnings } = await pointsIn(archive, { signal });
  let stamps: ReadonlyMap<string, number | null> | undefined;
  return {
    warnings: [...away.map((name) => `${name} is away: what only it has is not shown`), ...warnings],
    ...{ points, generations: timelineOf(listing) },
    stampOf(generation, txid) {
      stamps ??= new Map(
        points.map((point) => [`${point.generation} ${formatTxId(point.txId)}`, point.stampMs]),
      );
      return stamps.get(`${generation} ${txid}`) ?? undefined;
    },
  };
}
