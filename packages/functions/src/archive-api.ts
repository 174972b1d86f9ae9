// What a restore asks of a host: points, manifests, objects. Planned from listings each time, by the format's own planner;
// objects come from the healthiest replica that has them.

import {
  type ArchiveReader,
  formatTxId,
  isPageferryError,
  type Manifest,
  manifestOf,
  openArchive,
  PageferryError,
  parseObjectName,
  planFromArchive,
  type RandomReader,
  type RestorePlan,
  type RestoreTarget,
  readObject,
  readPoints,
  readSnapshotHeader,
} from "@pageferry/format";
import { describeObject, type StateObjectName } from "./describe.ts";
import { formatTime } from "./replica-state.ts";
import type { CallOptions } from "./store.ts";

/** A point as the API and the command line print it. */
export interface PointJson {
  readonly generation: string;
  readonly txid: string;
  readonly time: string | null;
  readonly kind: string;
  readonly object: string;
  readonly bytes: number;
}

/** Headers and indexes are read in pieces of at most this. */
const pieceBytesMax = 4 * 1024 * 1024;

/** Every point that can be restored from any of the readers, newest first. */
export async function pointsJson(readers: readonly ArchiveReader[], call: CallOptions): Promise<PointJson[]> {
  const points = await readPoints(await openArchive(readers, call), call);
  return points.map(({ generation, txId, stampMs, kind, name, size }) => ({
    generation,
    txid: formatTxId(txId),
    time: stampMs === null ? null : formatTime(stampMs),
    kind,
    object: name,
    bytes: size,
  }));
}

/** Plans a restore and writes it down, with the state that it must end in. Errors: as `planRestore`. */
export async function planManifest(
  readers: readonly ArchiveReader[],
  target: RestoreTarget,
  call: CallOptions & { readonly without?: ReadonlySet<string> },
): Promise<Manifest> {
  const plan = await planFromArchive(await openArchive(readers, call), target, call);
  return manifestOf(plan, await expectedState(readers, plan, call));
}

/** Page size and final state hash, from the headers of the first and the last object; what cannot be read stays unsaid. */
async function expectedState(readers: readonly ArchiveReader[], plan: RestorePlan, call: CallOptions) {
  const last = plan.steps.at(-1);
  try {
    const { pageSize, stateHash } = await readSnapshotHeader(pieces(readers, plan.snapshot, call));
    if (last === undefined) return { pageSize, stateHash };
    const links = await describeObject(
      parseObjectName(last.name) as StateObjectName,
      pieces(readers, last, call),
    );
    return { pageSize, stateHash: links.find((link) => link.txId === plan.txId)?.post };
  } catch (error) {
    if (!isPageferryError(error)) throw error;
    return {};
  }
}

function pieces(
  readers: readonly ArchiveReader[],
  object: { readonly name: string; readonly size: number },
  { signal }: CallOptions,
): RandomReader {
  return {
    size: object.size,
    read: (offset, length) =>
      fromFirst(readers, object.name, (reader) =>
        readObject(reader, object.name, { offset, length, signal, bytesMax: pieceBytesMax }),
      ),
  };
}

/** Opens an object in the first replica that has it. What is no object of an archive is `not-found`, whatever the store holds. */
export function openObject(
  readers: readonly ArchiveReader[],
  name: string,
  range: { readonly offset?: number | undefined; readonly length?: number | undefined } & CallOptions,
): Promise<AsyncIterable<Uint8Array>> {
  if (parseObjectName(name) === undefined)
    throw new PageferryError("not-found", `object ${name.slice(0, 120)} is none of an archive`);
  return fromFirst(readers, name, (reader) => reader.get(name, range));
}

async function fromFirst<Result>(
  readers: readonly ArchiveReader[],
  name: string,
  read: (reader: ArchiveReader) => Promise<Result>,
): Promise<Result> {
  let failure: unknown = new PageferryError("not-found", `object ${name}: no replica is configured`);
  for (const reader of readers) {
    try {
      return await read(reader);
    } catch (error) {
      if (!isPageferryError(error)) throw error;
      // An unreachable replica may have it: "not found" is only said when all were asked.
      if (!isPageferryError(failure) || isPageferryError(failure, "not-found")) failure = error;
    }
  }
  throw failure;
}
