// Objects into a replica: judged against the history that is there, packed where they follow one another, stored; another
// history goes to quarantine, whole, where nothing reads it and nothing is lost.

import { createHash } from "node:crypto";
import {
  type ErrorCode,
  encodePack,
  type Generation,
  isPageferryError,
  PageferryError,
  packName,
  parseObjectName,
  type RandomReader,
  type TxId,
  withReceived,
} from "@pageferry/format";
import { bodySize } from "./body.ts";
import { describeBytes, describeObject, type StateLink, type StateObjectName } from "./describe.ts";
import { areSame, judge } from "./judge.ts";
import type { ReplicaIndex } from "./replica-index.ts";
import type { RootedStore } from "./rooted-store.ts";
import type { CallOptions, ReplayableBody } from "./store.ts";

/** A pack is built in memory, once per replica that takes it. */
const packedBytesMax = 8 * 1024 * 1024;

/** Segments of one pack: its index stays within one small read. */
const packedSegmentsMax = 512;

/** A body that is not in memory: it can be streamed, and its header read. */
export type LargeBody = ReplayableBody & RandomReader & { readonly sha256: string };

export interface ReplicaItem {
  readonly name: StateObjectName;
  readonly body: Uint8Array | LargeBody;
  /** When the queue took it; written into segments that are in memory. */
  readonly receivedAtMs?: number;
}

/**
 * `failed`: `item` will never be taken as it is; where the replica is at fault, it may be later. `isUnreadable`: what is stored
 * cannot be read, and may be no other history but a damaged object.
 */
export type PutOutcome =
  | { readonly kind: "stored" | "present" }
  | { readonly kind: "fork"; readonly why: string; readonly isUnreadable?: boolean }
  | { readonly kind: "failed"; readonly fault: "item" | "replica"; readonly error: unknown };

export interface PutTarget {
  readonly store: RootedStore;
  readonly index: ReplicaIndex;
}

interface Accepted {
  readonly at: number;
  readonly name: StateObjectName;
  readonly body: Uint8Array | LargeBody;
  readonly links: readonly StateLink[];
}

/** Puts items of one generation, in order; one outcome for each. Throws only the signal's reason. */
export async function putItems(
  target: PutTarget,
  generation: Generation,
  items: readonly ReplicaItem[],
  options: CallOptions & { readonly pack?: boolean | undefined } = {},
): Promise<PutOutcome[]> {
  const outcomes: PutOutcome[] = [];
  const accepted: Accepted[] = [];
  const overlay = new Map<TxId, StateLink[]>();
  // A store that does not answer is not asked again for every item.
  let down: PutOutcome | undefined;
  const attempt = async (work: () => Promise<PutOutcome>): Promise<PutOutcome> => {
    if (down !== undefined) return down;
    const outcome = await attempted("replica", options.signal, work);
    if (outcome.kind === "failed" && outcome.fault === "replica") down = outcome;
    return outcome;
  };
  for (const [at, item] of items.entries()) {
    const links: StateLink[] = [];
    const described = await attempted("item", options.signal, async () => {
      links.push(...(await describe(item)));
      return { kind: "present" };
    });
    if (described.kind === "failed") {
      outcomes[at] = described;
      continue;
    }
    outcomes[at] = await attempt(async () => {
      const verdict = await aboutStored(() => judgeLinks(target.index, generation, links, overlay, options));
      if (verdict.kind === "fork") return quarantine(target, item, verdict.why, options);
      if (verdict.kind === "new") {
        accepted.push({ at, name: item.name, body: stamped(item), links });
        for (const link of links) overlay.set(link.txId, [...(overlay.get(link.txId) ?? []), link]);
      }
      return { kind: "present" };
    });
  }
  for (const run of options.pack === true ? runsOf(accepted) : accepted.map((one) => [one])) {
    const outcome = await attempt(() => putRun(target, generation, run, options));
    for (const { at } of run) outcomes[at] = outcome;
  }
  return outcomes;
}

/** What a store says of a body or its name, whoever asks: it will say so again. */
const itemCodes: readonly ErrorCode[] = ["corrupt", "bad-name", "too-large", "unsupported-version"];

/** `stage`: what cannot be read of an item now may be readable later; what a store refuses of it will be refused again. */
export async function attempted(
  stage: "item" | "replica",
  signal: AbortSignal | undefined,
  work: () => Promise<PutOutcome>,
): Promise<PutOutcome> {
  try {
    return await work();
  } catch (error) {
    signal?.throwIfAborted();
    const isItems =
      isPageferryError(error) &&
      (stage === "item" ? error.remedy !== "retry" : itemCodes.includes(error.code));
    return { kind: "failed", fault: isItems ? "item" : "replica", error };
  }
}

/** What cannot be read of what is stored is no fault of what comes: it waits until somebody has mended the replica. */
async function aboutStored<Result>(look: () => Promise<Result>): Promise<Result> {
  try {
    return await look();
  } catch (error) {
    if (!isPageferryError(error) || !itemCodes.includes(error.code)) throw error;
    const { message, hint } = error;
    throw new PageferryError("unavailable", `what is stored cannot be read: ${message}`, {
      cause: error,
      hint,
    });
  }
}

async function describe({ name, body }: ReplicaItem): Promise<readonly StateLink[]> {
  if (!(body instanceof Uint8Array)) return describeObject(name, body);
  return describeBytes(name, body) ?? describeObject(name, readerOf(body));
}

function readerOf(bytes: Uint8Array): RandomReader {
  return {
    size: bytes.length,
    async read(offset, length) {
      if (offset + length > bytes.length)
        throw new PageferryError("corrupt", `${offset + length} bytes are past the end`);
      return bytes.subarray(offset, offset + length);
    },
  };
}

/** All links of an object together: one fork makes it one, and it is there only if all of it is. */
export async function judgeLinks(
  index: ReplicaIndex,
  generation: Generation,
  links: readonly StateLink[],
  overlay: ReadonlyMap<TxId, readonly StateLink[]>,
  options: CallOptions,
): Promise<ReturnType<typeof judge>> {
  let isPresent = true;
  let before: StateLink | undefined;
  const at = async (txId: TxId) => [
    ...(overlay.get(txId) ?? []),
    ...(await index.statesAt(generation, txId, options)),
  ];
  for (const link of links) {
    const parents =
      link.parentTxId === null || link.parentTxId === before?.txId ? [] : await at(link.parentTxId);
    const verdict = judge(link, await at(link.txId), parents);
    if (verdict.kind === "fork") return verdict;
    isPresent &&= verdict.kind === "present";
    before = link;
  }
  return { kind: isPresent ? "present" : "new" };
}

function stamped({ name, body, receivedAtMs }: ReplicaItem): Uint8Array | LargeBody {
  const isSmallSegment = name.kind === "segment" && body instanceof Uint8Array;
  return isSmallSegment && receivedAtMs !== undefined ? withReceived(body, receivedAtMs) : body;
}

/** Segments in memory that follow one another, as far as one pack holds them; everything else by itself. */
function runsOf(accepted: readonly Accepted[]): Accepted[][] {
  const runs: Accepted[][] = [];
  let bytes = 0;
  for (const one of accepted) {
    const run = runs.at(-1);
    const before = run?.at(-1);
    const size = bodySize(one.body);
    const isFollowing =
      run !== undefined &&
      before !== undefined &&
      canPack(before) &&
      canPack(one) &&
      before.links[0]?.txId === one.links[0]?.parentTxId &&
      run.length < packedSegmentsMax &&
      bytes + size <= packedBytesMax;
    if (isFollowing) run.push(one);
    else runs.push([one]);
    bytes = isFollowing ? bytes + size : size;
  }
  return runs;
}

function canPack(one: Accepted): boolean {
  // A pack's name holds a time: Go's form of a segment has none, and stays as it is.
  return one.name.kind === "segment" && one.name.stampMs !== null && one.body instanceof Uint8Array;
}

async function putRun(
  target: PutTarget,
  generation: Generation,
  run: readonly Accepted[],
  options: CallOptions,
): Promise<PutOutcome> {
  const [first, last] = [run[0] as Accepted, run.at(-1) as Accepted];
  if (first === last) return putOne(target, first, options);
  const [from, to] = [first.links[0], last.links[0]];
  const text = packName({
    generation,
    parentTxId: from?.parentTxId as TxId,
    txId: to?.txId as TxId,
    stampMs: (last.name.kind === "segment" ? last.name.stampMs : null) ?? 0,
  });
  const name = parseObjectName(text) as StateObjectName;
  const body = encodePack(run.map((one) => ({ bytes: one.body as Uint8Array })));
  return putOne(target, { at: first.at, name, body, links: run.flatMap((one) => one.links) }, options);
}

async function putOne(target: PutTarget, one: Accepted, options: CallOptions): Promise<PutOutcome> {
  const { store, index } = target;
  try {
    const kind = await store.put(one.name.name, one.body, options);
    index.stored(one.name, bodySize(one.body), one.links);
    return { kind };
  } catch (error) {
    if (!isPageferryError(error, "conflict")) throw error;
    const stored = await aboutStored(() => readStored(store, one.name, options));
    if (stored === undefined || !areSame(one.links, stored.links)) {
      const fork = await quarantine(target, one, `${one.name.name} is stored with other states`, options);
      return { ...fork, isUnreadable: stored === undefined };
    }
    index.stored(one.name, stored.size, stored.links);
    return { kind: "present" };
  }
}

/** What the object under a name says; `undefined` where it cannot be read as one. */
async function readStored(store: RootedStore, name: StateObjectName, options: CallOptions) {
  for await (const { name: found, size } of store.list(name.name, options)) {
    if (found !== name.name) continue;
    const read = (offset: number, length: number) =>
      store.read(found, length, { ...options, offset, length });
    try {
      return { size, links: await describeObject(name, { size, read }) };
    } catch (error) {
      if (!isPageferryError(error, "corrupt")) throw error;
    }
  }
  return undefined;
}

/** Keeps a whole copy under a name made of its content: the same fork, sent again, is the same copy. */
async function quarantine(
  target: PutTarget,
  item: Pick<ReplicaItem, "name" | "body">,
  why: string,
  options: CallOptions,
): Promise<Extract<PutOutcome, { readonly kind: "fork" }>> {
  const { name, body } = item;
  const digest = body instanceof Uint8Array ? createHash("sha256").update(body).digest("hex") : body.sha256;
  const file = name.name.slice(name.name.lastIndexOf("/") + 1);
  const outcome = await target.store.put(
    `quarantine/${name.generation}/${digest.slice(0, 16)}-${file}`,
    body,
    options,
  );
  if (outcome === "stored") target.index.quarantined();
  return { kind: "fork", why };
}
