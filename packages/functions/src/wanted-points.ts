// Points that somebody wants kept whatever their age: pins, until they are removed, and leases of restores that are under way, until they expire.

import {
  formatTxId,
  type Generation,
  isPageferryError,
  PageferryError,
  parseGeneration,
  parseTxId,
  type TxId,
} from "@pageferry/format";
import { z } from "zod";
import type { WantedPoint } from "./retention.ts";
import type { RootedStore } from "./rooted-store.ts";
import type { CallOptions } from "./store.ts";

/** Leases and pins are one line of JSON. */
const wantedBytesMax = 64 * 1024;

/** Words that somebody writes beside a pin, to know later why. */
const noteLengthMax = 200;

const hexSchema = z.string().regex(/^[0-9a-f]{16}$/);
const wantedSchema = z.object({
  expiresAtMs: z.number().optional(),
  createdAtMs: z.number().optional(),
  note: z.string().optional(),
  generation: hexSchema.transform(parseGeneration),
  txId: hexSchema.transform(parseTxId),
});

export interface WantedPoints {
  readonly pinned: readonly WantedPoint[];
  readonly leased: readonly WantedPoint[];
  /** Names of leases that are over. */
  readonly expired: readonly string[];
}

/** Reads all pins and leases among `names`. One that cannot be read is `corrupt`: who deletes must know them all. */
export async function readWanted(
  store: RootedStore,
  names: readonly string[],
  nowMs: number,
  call: CallOptions,
): Promise<WantedPoints> {
  const pinned: WantedPoint[] = [];
  const leased: WantedPoint[] = [];
  const expired: string[] = [];
  for (const name of names) {
    const isLease = name.startsWith("leases/");
    if (!isLease && !name.startsWith("pins/")) continue;
    const wanted = await readOne(store, name, call);
    if (wanted === undefined) continue;
    const { generation, txId, expiresAtMs } = wanted;
    if (!isLease) pinned.push({ generation, txId });
    else if (expiresAtMs === undefined || expiresAtMs > nowMs) leased.push({ generation, txId });
    else expired.push(name);
  }
  return { pinned, leased, expired };
}

async function readOne(store: RootedStore, name: string, { signal }: CallOptions) {
  try {
    const bytes = await store.read(name, wantedBytesMax, { signal });
    return wantedSchema.parse(JSON.parse(new TextDecoder().decode(bytes)));
  } catch (cause) {
    signal?.throwIfAborted();
    if (isPageferryError(cause, "not-found")) return undefined;
    if (isPageferryError(cause)) throw cause;
    throw new PageferryError("corrupt", `${store.name}/${name}: names no point to keep; nothing is pruned`, {
      cause,
      hint: "Look at the object, and remove it if nobody needs it.",
    });
  }
}

/** A restore that takes longer asks anew; whoever died keeps nothing for longer. */
const leaseMs = 60 * 60_000;

/** Keeps a point for an hour, for somebody who restores it. Returns until when. */
export async function addLease(
  store: RootedStore,
  { generation, txId }: WantedPoint,
  id: string,
  nowMs: number,
  call: CallOptions = {},
): Promise<number> {
  const expiresAtMs = nowMs + leaseMs;
  const json = { version: 1, generation, txId: formatTxId(txId), expiresAtMs };
  await store.replace(`leases/${id}.json`, Buffer.from(`${JSON.stringify(json)}\n`), call);
  return expiresAtMs;
}

/** A point that stays until somebody removes its pin. */
export interface Pin {
  readonly generation: Generation;
  readonly txId: TxId;
  readonly createdAtMs: number | null;
  readonly note: string | null;
}

function pinName({ generation, txId }: WantedPoint): string {
  return `pins/${generation}-${formatTxId(txId)}.json`;
}

/** Pins a point, which is the caller's to look up; pinning it again changes nothing. */
export async function addPin(
  store: RootedStore,
  point: WantedPoint & { readonly note?: string | undefined },
  nowMs: number,
  call: CallOptions = {},
): Promise<"stored" | "present"> {
  const { generation, txId, note } = point;
  if (note !== undefined && note.length > noteLengthMax)
    throw new PageferryError("bad-request", `a pin's note has at most ${noteLengthMax} characters`);
  const json = { version: 1, generation, txId: formatTxId(txId), createdAtMs: nowMs, note };
  try {
    return await store.put(pinName(point), Buffer.from(`${JSON.stringify(json)}\n`), call);
  } catch (error) {
    // It has another time or note.
    if (isPageferryError(error, "conflict")) return "present";
    throw error;
  }
}

export async function listPins(store: RootedStore, call: CallOptions = {}): Promise<Pin[]> {
  const pins: Pin[] = [];
  for await (const { name } of store.list("pins/", call)) {
    const wanted = await readOne(store, name, call);
    if (wanted === undefined) continue;
    const { generation, txId, createdAtMs = null, note = null } = wanted;
    pins.push({ generation, txId, createdAtMs, note });
  }
  return pins;
}

/** Removes a pin; one that is not there is removed already. */
export async function removePin(
  store: RootedStore,
  point: WantedPoint,
  call: CallOptions = {},
): Promise<void> {
  await store.remove([pinName(point)], call);
}
