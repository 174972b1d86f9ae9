// Continuity by headers alone: every object against its name, every state against all that leads to it and goes on from it, in each replica
// and across them. Shows what is missing, swapped, rolled back or foreign without reading any page. See docs/operations.md#verify.

import {
  type Archive,
  type ArchiveReader,
  formatTxId,
  type Generation,
  generationsNewestFirst,
  indexArchive,
  isPageferryError,
  type ListedObject,
  openArchive,
  parseGenerationJson,
  parseObjectName,
  pointsIn,
  reachOf,
  readObject,
  type TxId,
} from "@pageferry/format";
import { type Claim, contradictionsIn } from "./contradictions.ts";
import { untilAborted, withDeadline } from "./deadline.ts";
import { notAsNamed, readLinks, type StateLink, type StateObjectName } from "./describe.ts";
import { type ChainFinding, type KnownPoint, missingIn, rolledBack } from "./missing.ts";
import { whyOf } from "./repair-copy.ts";
import type { CallOptions } from "./store.ts";

/** Headers under way at a time to one replica: enough to hide a store's latency. */
const readsAtOnce = 8;

/** Findings that are named for one replica: the rest is counted. */
const findingsMax = 200;

/** A header that does not come for so long is given up. */
const readMsDefault = 60_000;

/** A listing tells nothing of its progress, and may be long. */
const listMs = 10 * 60_000;

/** Bodies of headers are read in pieces below this; a bare object is read whole. */
const pieceBytesMax = 300 * 1024 * 1024;

/** generation.json is a few hundred bytes. */
const generationJsonBytesMax = 64 * 1024;

/** One replica's chain. */
export interface ReplicaChain {
  readonly replica: string;
  objects: number;
  bytesRead: number;
  /** At most two hundred. */
  readonly findings: ChainFinding[];
  findingCount: number;
  /** Points that it can restore, alone. */
  points: number;
  newest: { readonly generation: Generation; readonly txId: TxId; readonly stampMs: number | null } | null;
  /** Why it could not be walked, or not to the end. */
  error: string | null;
}

export interface WalkChainOptions extends CallOptions {
  /** Each is walked alone, and compared with the others. */
  readonly readers: readonly ArchiveReader[];
  /** By a reader's name: what it once held, as its evidence says. */
  readonly known?: ReadonlyMap<string, readonly KnownPoint[]>;
  /** Objects of commits after this are on their way: what is missing before them is not said yet. Default: all count. */
  readonly settledMs?: number | undefined;
  /** Silence after which a replica is given up, ms. Default a minute. */
  readonly readMs?: number;
  readonly onProgress?: (progress: { readonly objects: number; readonly total: number }) => void;
}

interface Walk {
  readonly at: number;
  readonly reader: ArchiveReader;
  readonly row: ReplicaChain;
  readonly archive: Archive | undefined;
  /** What is listed, by generation. */
  readonly objects: ReadonlyMap<string, readonly ListedObject[]>;
  add(finding: ChainFinding): void;
}

/** Walks the headers of all objects of all readers. What fails is in the rows; throws only the signal's reason. */
export async function walkChain(options: WalkChainOptions): Promise<ReplicaChain[]> {
  const { readers, signal } = options;
  const walks = await Promise.all(readers.map((reader, at) => openWalk(reader, at, options)));
  const progress = createProgress(walks, options);
  const states = createStates(walks);
  for (const generation of generationsOf(walks)) {
    await Promise.all(
      walks.map((walk) => walkGeneration(walk, generation, { ...options, states, progress })),
    );
    signal?.throwIfAborted();
    for (const found of contradictionsIn(states.take(generation))) {
      const { replica, against, object, kind, why } = found;
      const [walk, other] = [walks[replica], walks[against]];
      walk?.add({ kind, object, why: walk === other ? why : `${why} in ${other?.row.replica}` });
      // Between two replicas nobody can say which one is right.
      if (walk !== other) other?.add({ kind, object, why: `${walk?.row.replica} has another one: ${why}` });
    }
  }
  await Promise.all(walks.map((walk) => findMissing(walk, options)));
  signal?.throwIfAborted();
  return walks.map(({ row }) => row);
}

async function openWalk(reader: ArchiveReader, at: number, options: WalkChainOptions): Promise<Walk> {
  const row: ReplicaChain = {
    ...{ replica: reader.name, objects: 0, bytesRead: 0, findings: [], findingCount: 0 },
    ...{ points: 0, newest: null, error: null },
  };
  const seen = new Set<string>();
  const add = (finding: ChainFinding): void => {
    const word = `${finding.kind} ${finding.object}`;
    if (seen.has(word)) return;
    seen.add(word);
    row.findingCount += 1;
    if (row.findings.length < findingsMax) row.findings.push(finding);
  };
  try {
    const archive = await withDeadline(listMs, options.signal, (signal) => openArchive([reader], { signal }));
    return { at, reader, row, archive, objects: byGenerationOf(archive.objects), add };
  } catch (error) {
    options.signal?.throwIfAborted();
    row.error = whyOf(error);
    return { at, reader, row, archive: undefined, objects: new Map(), add };
  }
}

function byGenerationOf(objects: readonly ListedObject[]): Map<string, ListedObject[]> {
  const found = new Map<string, ListedObject[]>();
  for (const object of objects) {
    const generation = object.name.split("/", 1)[0] ?? "";
    const known = found.get(generation);
    if (known === undefined) found.set(generation, [object]);
    else known.push(object);
  }
  return found;
}

/** Generations of all replicas, newest first: a child tells at which state it left its parent before that one is looked at. */
function generationsOf(walks: readonly Walk[]): Generation[] {
  const objects = walks.flatMap(({ archive }) => archive?.objects ?? []);
  const links = new Map(walks.flatMap(({ archive }) => [...(archive?.links ?? [])]));
  return generationsNewestFirst(indexArchive(objects, { links })).map(({ generation }) => generation);
}

interface States {
  /** Notes what an object says, where another one may say something of the same state. */
  note(walk: Walk, name: StateObjectName, links: readonly StateLink[]): void;
  /** What was noted of a generation, by transaction; it is forgotten. */
  take(generation: Generation): Iterable<readonly Claim[]>;
}

/** States at which objects begin or end; those inside of packs are looked at where they are read. Memory follows the objects of one generation. */
function createStates(walks: readonly Walk[]): States {
  const byGeneration = new Map<Generation, Map<TxId, Claim[]>>();
  const ends = new Map<Generation, Set<TxId>>();
  const seams = new Map<string, Generation>();
  const endsOf = (generation: Generation): Set<TxId> => {
    const known = ends.get(generation) ?? new Set<TxId>();
    ends.set(generation, known);
    return known;
  };
  for (const { archive } of walks) {
    if (archive === undefined) continue;
    const listing = indexArchive(archive.objects, archive);
    for (const index of listing.generations.values()) {
      const known = endsOf(index.generation);
      for (const { txId } of index.snapshots) known.add(txId);
      for (const { parentTxId, txId } of index.ranges) known.add(parentTxId).add(txId);
      const { bridge } = reachOf(listing, index);
      if (bridge === null) continue;
      seams.set(`${index.generation} ${bridge.txId}`, bridge.generation);
      endsOf(bridge.generation).add(bridge.txId);
    }
  }
  const add = (generation: Generation, claim: Claim): void => {
    const claims = byGeneration.get(generation) ?? new Map<TxId, Claim[]>();
    byGeneration.set(generation, claims);
    const known = claims.get(claim.txId);
    if (known === undefined) claims.set(claim.txId, [claim]);
    else known.push(claim);
  };
  return {
    note({ at }, { generation, name }, links) {
      for (const [position, { parentTxId, txId, pre, post }] of links.entries()) {
        const claim = { replica: at, object: name };
        if (post !== undefined && ends.get(generation)?.has(txId) === true)
          add(generation, { ...claim, txId, hash: post, side: "ends" });
        if (position > 0 || pre === undefined || parentTxId === null) continue;
        const parent = seams.get(`${generation} ${parentTxId}`) ?? generation;
        add(parent, { ...claim, txId: parentTxId, hash: pre, side: "begins" });
      }
    },
    take(generation) {
      const claims = byGeneration.get(generation)?.values() ?? [];
      byGeneration.delete(generation);
      return claims;
    },
  };
}

interface Step extends WalkChainOptions {
  readonly states: States;
  readonly progress: () => void;
}

async function walkGeneration(walk: Walk, generation: Generation, step: Step): Promise<void> {
  const rest = (walk.objects.get(generation) ?? []).values();
  const worker = async (): Promise<void> => {
    for (const object of rest) {
      if (walk.row.error !== null) return;
      await walkObject(walk, object, step);
    }
  };
  await Promise.all(Array.from({ length: readsAtOnce }, worker));
}

async function walkObject(walk: Walk, object: ListedObject, step: Step): Promise<void> {
  const { row, add } = walk;
  const parsed = parseObjectName(object.name);
  if (parsed === undefined) return;
  try {
    if (parsed.kind === "generation") await checkBegin(walk, parsed, step);
    else if (parsed.kind === "snapshot" || parsed.kind === "segment" || parsed.kind === "pack") {
      const links = await headersOf(walk, parsed, object.size, step);
      const why = notAsNamed(parsed, links) ?? brokenInside(links);
      if (why === undefined) step.states.note(walk, parsed, links);
      else
        add({
          kind: notAsNamed(parsed, links) === undefined ? "corrupt" : "swapped",
          object: object.name,
          why,
        });
    }
    row.objects += 1;
    step.progress();
  } catch (error) {
    step.signal?.throwIfAborted();
    // It was removed meanwhile, as by a prune.
    if (isPageferryError(error, "not-found")) return;
    const isObjects = isPageferryError(error) && error.remedy === "stop" && error.code !== "unauthorized";
    if (isObjects) add({ kind: "corrupt", object: object.name, why: whyOf(error) });
    else row.error ??= whyOf(error);
  }
}

function headersOf(walk: Walk, name: StateObjectName, size: number, step: Step) {
  return withDeadline(step.readMs ?? readMsDefault, step.signal, (signal) =>
    readLinks(name, {
      size,
      async read(offset, length) {
        const bytesMax = Math.min(length, pieceBytesMax);
        const bytes = await untilAborted(
          readObject(walk.reader, name.name, { offset, length, signal, bytesMax }),
          signal,
        );
        walk.row.bytesRead += bytes.length;
        return bytes;
      },
    }),
  );
}

async function checkBegin(
  { reader, row, add }: Walk,
  { name, generation }: { readonly name: string; readonly generation: Generation },
  step: Step,
): Promise<void> {
  const bytes = await withDeadline(step.readMs ?? readMsDefault, step.signal, (signal) =>
    readObject(reader, name, { signal, bytesMax: generationJsonBytesMax }),
  );
  row.bytesRead += bytes.length;
  const told = parseGenerationJson(bytes).generation;
  if (told !== generation) add({ kind: "foreign", object: name, why: `it is of generation ${told}` });
}

/** The segments of a pack follow one another, which its reader checked; so must their states. */
function brokenInside(links: readonly StateLink[]): string | undefined {
  for (const [at, { pre, parentTxId }] of links.entries()) {
    const before = at === 0 ? undefined : links[at - 1];
    if (before?.post === undefined || pre === undefined || before.txId !== parentTxId) continue;
    if (before.post !== pre)
      return `inside of it, what follows ${formatTxId(before.txId)} begins at another state`;
  }
  return undefined;
}

/** What listing and names show: ranges that are missing, and states that were there and are not. */
async function findMissing(walk: Walk, options: WalkChainOptions): Promise<void> {
  const { archive, row, add, reader } = walk;
  if (archive === undefined || row.error !== null) return;
  try {
    const { listing, points } = await pointsIn(archive, options);
    const [newest] = points;
    row.points = points.length;
    row.newest =
      newest === undefined
        ? null
        : { generation: newest.generation, txId: newest.txId, stampMs: newest.stampMs };
    for (const finding of missingIn(listing, options.settledMs)) add(finding);
    for (const known of options.known?.get(reader.name) ?? []) {
      const finding = rolledBack(known, listing, points);
      if (finding !== undefined) add(finding);
    }
  } catch (error) {
    options.signal?.throwIfAborted();
    if (!isPageferryError(error)) throw error;
    row.error = whyOf(error);
  }
}

function createProgress(walks: readonly Walk[], { onProgress }: WalkChainOptions): () => void {
  const total = walks.reduce((sum, { archive }) => sum + (archive?.objects.length ?? 0), 0);
  let objects = 0;
  return () => {
    objects += 1;
    onProgress?.({ objects, total });
  };
}
