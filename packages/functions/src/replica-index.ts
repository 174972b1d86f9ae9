// Keeps the holdings of one replica root: reads them once from a listing and the objects' headers where those are asked
// for, and follows what is stored. One listing at a time; what is stored while it runs is not lost from it.

import {
  type CompanionsName,
  formatGenerationJson,
  type Generation,
  type GenerationJson,
  generationJsonName,
  isPageferryError,
  parseCompanionsName,
  parseGenerationJson,
  parseObjectName,
  type TxId,
} from "@pageferry/format";
import { untilAborted } from "./deadline.ts";
import { describeObject, type StateLink, type StateObjectName } from "./describe.ts";
import { createHoldings, type Holdings, type KnownState, noteCompanions, noteObject } from "./holdings.ts";
import type { RootedStore } from "./rooted-store.ts";
import type { CallOptions } from "./store.ts";

/** generation.json is a few hundred bytes. */
const generationJsonBytesMax = 64 * 1024;

export interface ReplicaIndex {
  /** The holdings, read from a listing first if they were not yet. */
  ready(options?: CallOptions): Promise<Holdings>;
  /** The holdings if they were read, without waiting. */
  current(): Holdings | undefined;
  /** What is stored at a transaction, with hashes; looks into objects where it must. */
  statesAt(generation: Generation, txId: TxId, options?: CallOptions): Promise<readonly KnownState[]>;
  stored(name: StateObjectName, size: number, links: readonly StateLink[]): void;
  begun(document: GenerationJson): void;
  companionsStored(name: CompanionsName, size: number): void;
  quarantined(): void;
  /** Reads the listing again: somebody else may have removed or added objects. */
  refresh(options?: CallOptions): Promise<Holdings>;
  /** How long ago it was read, ms. */
  ageMs(): number;
  /** Reads a generation.json from the store; `null` if there is none. */
  readBegin(generation: Generation, options?: CallOptions): Promise<GenerationJson | null>;
}

/** `onChange` is called whenever the holdings are others than before. */
export function createReplicaIndex(store: RootedStore, onChange?: () => void): ReplicaIndex {
  let holdings: Holdings | undefined;
  let loading: Promise<Holdings> | undefined;
  let listedAtMs = Number.NEGATIVE_INFINITY;
  /** What was stored while a listing runs; a listing may or may not show it. */
  let meanwhile: ((into: Holdings) => void)[] = [];

  const note = (change: (into: Holdings) => void): void => {
    if (holdings !== undefined) change(holdings);
    if (loading !== undefined) meanwhile.push(change);
    onChange?.();
  };
  const load = async (): Promise<Holdings> => {
    const startedMs = performance.now();
    const fresh = await readHoldings(store, holdings);
    listedAtMs = startedMs;
    for (const change of meanwhile) change(fresh);
    holdings = fresh;
    onChange?.();
    return fresh;
  };
  const refresh = (): Promise<Holdings> => {
    loading ??= load().finally(() => {
      loading = undefined;
      meanwhile = [];
    });
    return loading;
  };
  const ready = async ({ signal }: CallOptions = {}): Promise<Holdings> => {
    signal?.throwIfAborted();
    return holdings ?? untilAborted(refresh(), signal);
  };
  return {
    ready,
    current: () => holdings,
    refresh: ({ signal } = {}) => untilAborted(refresh(), signal),
    ageMs: () => performance.now() - listedAtMs,
    async statesAt(generation, txId, call = {}) {
      const index = (await ready(call)).of(generation);
      const known = index.statesAt(txId);
      const isStored = known.length > 0 || index.coverage.covers(txId) || index.snapshots.includes(txId);
      if (!isStored) return [];
      const found = known.length > 0 ? known : await findStates(store, generation, txId, call);
      const unread = found.filter((state) => !state.isRead);
      if (unread.length === 0) return found;
      const read = await Promise.all(unread.map((state) => look(store, state, call)));
      for (const { name, size, links } of read) note((into) => into.of(generation).add(name, size, links));
      return read.flatMap(({ name, size, links }) => {
        return links
          .filter((link) => link.txId === txId)
          .map((link) => ({ ...link, name, size, isRead: true }));
      });
    },
    stored: (name, size, links) =>
      note((into) => {
        into.of(name.generation).add(name, size, links);
        noteObject(into, name, size);
      }),
    begun(document) {
      note((into) => {
        into.of(document.generation).begin = document;
        const name = generationJsonName(document.generation);
        noteObject(into, { kind: "generation", name }, formatGenerationJson(document).length);
      });
    },
    companionsStored: (name, size) =>
      note((into) => {
        noteObject(into, { kind: "files", name: name.name }, size);
        noteCompanions(into, name);
      }),
    quarantined: () =>
      note((into) => {
        into.quarantined += 1;
      }),
    readBegin: (generation, call) => readBegin(store, generation, call),
  };
}

/** What was read before is not read again: how a generation began is written once. */
async function readHoldings(store: RootedStore, before: Holdings | undefined): Promise<Holdings> {
  const holdings = createHoldings();
  const begun: Generation[] = [];
  for await (const { name, size } of store.list("")) {
    const parsed = parseObjectName(name);
    if (parsed !== undefined) noteObject(holdings, parsed, size);
    if (parsed?.kind === "segment" || parsed?.kind === "pack" || parsed?.kind === "snapshot") {
      holdings.of(parsed.generation).add(parsed, size);
    } else if (parsed?.kind === "generation") {
      begun.push(parsed.generation);
    } else if (parsed?.kind === "files") {
      noteCompanions(holdings, parseCompanionsName(name));
    } else if (parsed?.kind === "quarantine") {
      holdings.quarantined += 1;
    }
  }
  for (const generation of begun) {
    const known = before?.generations.get(generation)?.begin ?? null;
    holdings.of(generation).begin = known ?? (await readBeginIfSound(store, generation));
  }
  return holdings;
}

async function readBegin(
  store: RootedStore,
  generation: Generation,
  call: CallOptions = {},
): Promise<GenerationJson | null> {
  try {
    return parseGenerationJson(
      await store.read(generationJsonName(generation), generationJsonBytesMax, call),
    );
  } catch (error) {
    if (isPageferryError(error, "not-found")) return null;
    throw error;
  }
}

/** A broken generation.json hides where its generation came from; it must not stop the others, nor what comes anew. */
async function readBeginIfSound(store: RootedStore, generation: Generation): Promise<GenerationJson | null> {
  try {
    return await readBegin(store, generation);
  } catch (error) {
    if (isPageferryError(error) && error.remedy === "stop" && error.code !== "unauthorized") return null;
    throw error;
  }
}

/** Looks through a generation's names for those that hold a transaction: for resent history, which is rare. */
async function findStates(
  store: RootedStore,
  generation: Generation,
  txId: TxId,
  call: CallOptions,
): Promise<KnownState[]> {
  const found: KnownState[] = [];
  for await (const { name, size } of store.list(`${generation}/`, call)) {
    const parsed = parseObjectName(name);
    if (parsed?.kind === "snapshot" && parsed.txId === txId) {
      found.push({ parentTxId: null, txId, name: parsed, size, isRead: false });
    } else if (
      parsed?.kind === "segment" ? parsed.lastTxId === txId : parsed?.kind === "pack" && holds(parsed, txId)
    ) {
      found.push({ parentTxId: null, txId, name: parsed as StateObjectName, size, isRead: false });
    }
  }
  return found;
}

function holds(pack: { readonly firstTxId: TxId; readonly lastTxId: TxId }, txId: TxId): boolean {
  return pack.firstTxId <= txId && txId <= pack.lastTxId;
}

async function look(store: RootedStore, state: KnownState, call: CallOptions) {
  const { name, size } = state;
  const read = (offset: number, length: number) => store.read(name.name, length, { ...call, offset, length });
  try {
    return { name, size, links: await describeObject(name, { size, read }) };
  } catch (error) {
    // What is broken or gone says nothing of its state; verifying it is another's work.
    if (!isPageferryError(error, "corrupt") && !isPageferryError(error, "not-found")) throw error;
    return { name, size, links: [{ parentTxId: state.parentTxId, txId: state.txId }] };
  }
}
