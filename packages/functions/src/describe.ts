// What an object says of states: from which transaction it leads to which, and their hashes. Read from headers and
// indexes alone, from a body in memory, on disk or in a store; checked against the name it goes by.

import {
  decodePackIndex,
  decodeSegmentFile,
  type ObjectName,
  PageferryError,
  type RandomReader,
  readSegmentHeader,
  readSnapshotHeader,
  type SegmentHeader,
  type StateHash,
  segmentState,
  type TxId,
} from "@pageferry/format";

/** A state, and what leads to it. Absent hashes are unknown, and equal to nothing. */
export interface StateLink {
  /** Null: the object is the whole state, a snapshot. */
  readonly parentTxId: TxId | null;
  readonly txId: TxId;
  readonly pre?: StateHash;
  readonly post?: StateHash;
  readonly stampMs?: number;
  /** CRC-64 of the stored data: what is left to compare by where there are no hashes. */
  readonly checksum?: bigint;
}

/** An object that holds states: a segment, a pack, a snapshot. */
export type StateObjectName = Extract<ObjectName, { readonly kind: "segment" | "pack" | "snapshot" }>;

/** The most that is read of a pack before all of it is: its index. */
const packIndexBytesMax = 2 * 1024 * 1024;

/** Reads what an object in memory says, and verifies a segment's checksum. Errors: `corrupt`, also when its name disagrees. */
export function describeBytes(name: StateObjectName, bytes: Uint8Array): readonly StateLink[] | undefined {
  if (name.kind === "snapshot") return undefined;
  const links =
    name.kind === "pack" ? decodePackIndex(bytes) : [linkOfSegment(decodeSegmentFile(bytes).header)];
  return checked(name, links);
}

/** Reads what an object says without reading its data. Errors: `corrupt`, also when its name disagrees. */
export async function describeObject(
  name: StateObjectName,
  reader: RandomReader,
): Promise<readonly StateLink[]> {
  return checked(name, await readLinks(name, reader));
}

/** The same, whatever its name promises. Errors: `corrupt`. */
export async function readLinks(name: StateObjectName, reader: RandomReader): Promise<readonly StateLink[]> {
  if (name.kind === "snapshot") {
    const { txId, stateHash, stampMs, checksum } = await readSnapshotHeader(reader);
    return [{ parentTxId: null, txId, ...known({ post: stateHash, stampMs, checksum }) }];
  }
  if (name.kind === "pack") {
    return decodePackIndex(await reader.read(0, Math.min(reader.size, packIndexBytesMax)));
  }
  return [linkOfSegment(await readSegmentHeader(reader))];
}

function linkOfSegment(header: SegmentHeader): StateLink {
  const { pre, post, stampMs } = segmentState(header);
  const { parentTxId, txId, checksum } = header;
  return { parentTxId, txId, checksum, ...known({ pre, post, stampMs }) };
}

function known(
  facts: { [Key in "pre" | "post" | "stampMs" | "checksum"]?: StateLink[Key] | undefined },
): Partial<StateLink> {
  return Object.fromEntries(Object.entries(facts).filter(([, value]) => value !== undefined));
}

/** A name is a promise about its object: what breaks it is `corrupt`. */
function checked(name: StateObjectName, links: readonly StateLink[]): readonly StateLink[] {
  const why = notAsNamed(name, links);
  if (why !== undefined) throw new PageferryError("corrupt", `object ${name.name}: ${why}`);
  return links;
}

/** Why an object is not the one that its name promises; undefined where it is. */
export function notAsNamed(name: StateObjectName, links: readonly StateLink[]): string | undefined {
  const [first, last] = [links[0], links.at(-1)];
  const isIt =
    first !== undefined &&
    last !== undefined &&
    (name.kind === "snapshot"
      ? last.txId === name.txId
      : last.txId === name.lastTxId && first.parentTxId === name.firstTxId - 1n);
  return isIt ? undefined : `holds (${first?.parentTxId}, ${last?.txId}], not what its name says`;
}
