// One object from one replica to another, and one broken object made whole: verified on the way, written once, never the only copy removed.

import { createHash } from "node:crypto";
import { type ErrorCode, isPageferryError, PageferryError, parseObjectName } from "@pageferry/format";
import { gather } from "./body.ts";
import { describeBytes, describeObject, type StateLink, type StateObjectName } from "./describe.ts";
import { areSame } from "./judge.ts";
import { checkedOnTheWay, checkObject } from "./object-check.ts";
import type { RootedStore } from "./rooted-store.ts";
import type { CallOptions, ReplayableBody, StoreBody } from "./store.ts";

/** Smaller objects go through memory: one put of known bytes is what stores do best. */
export const smallBytesMax: number = 4 * 1024 * 1024;

/** What says that an object is broken, whoever reads it. */
const brokenCodes: readonly ErrorCode[] = ["corrupt", "too-large"];

/** A replica in a repair. */
export interface RepairSide {
  readonly store: RootedStore;
  /** As it is listed there. */
  readonly sizeOf: (name: string) => number | undefined;
  /** Told of objects that did not hold when they were read as a source. */
  readonly onBroken: (name: string) => void;
}

/** Judges what an object says, before it is put: `fork` where the target holds another history. */
export type Accept = (name: StateObjectName, links: readonly StateLink[]) => Promise<void>;

/** Thrown where no source could give an object; the target is not at fault. */
export class NoSourceError extends Error {
  constructor(cause: unknown) {
    super(cause instanceof Error ? cause.message : String(cause), { cause });
  }
}

/**
 * Copies an object from the first source that has it sound and acceptable. Errors: `NoSourceError`; what `accept` and the target's put
 * throw, `conflict` where another object of that name is there.
 */
export async function copyObject(
  name: string,
  sources: readonly RepairSide[],
  target: RootedStore,
  call: CallOptions,
  accept?: Accept,
): Promise<"stored" | "present"> {
  let failure: unknown;
  let fork: unknown;
  for (const source of sources) {
    let fault: unknown;
    const open = async function* (): AsyncGenerator<Uint8Array> {
      try {
        yield* checkedOnTheWay(name, await source.store.get(name, call));
      } catch (error) {
        fault = error;
        throw error;
      }
    };
    try {
      const body = await bodyOf(name, source.sizeOf(name), open);
      if (accept !== undefined) {
        const links = await linksIn(name, body, source, call).catch((error: unknown) => {
          fault = error;
          throw error;
        });
        if (links !== undefined) await accept(links.name, links.links);
      }
      return await put(name, body, target, call);
    } catch (error) {
      call.signal?.throwIfAborted();
      if (fault === undefined && isPageferryError(error, "fork")) {
        fork ??= error;
        continue;
      }
      // What the source gave was not what it listed.
      const isShort = isPageferryError(error, "corrupt");
      if (fault === undefined && !isShort) throw error;
      failure = fault ?? error;
      if (isBroken(failure)) source.onBroken(name);
    }
  }
  throw fork ?? new NoSourceError(failure);
}

/** What an object says of states; undefined for a generation.json, which says nothing of them. */
async function linksIn(name: string, body: StoreBody, source: RepairSide, call: CallOptions) {
  const parsed = parseObjectName(name);
  if (parsed?.kind !== "segment" && parsed?.kind !== "pack" && parsed?.kind !== "snapshot") return undefined;
  const isBytes = body instanceof Uint8Array;
  const known = isBytes ? describeBytes(parsed, body) : undefined;
  const links =
    known ??
    (await linksOf(parsed, isBytes ? body.length : body.size, async (offset, length) =>
      isBytes
        ? body.subarray(offset, offset + length)
        : source.store.read(name, length, { ...call, offset, length }),
    ));
  return { name: parsed, links };
}

async function bodyOf(
  name: string,
  size: number | undefined,
  open: () => AsyncIterable<Uint8Array>,
): Promise<StoreBody> {
  if (size !== undefined && size > smallBytesMax) return { size, open } satisfies ReplayableBody;
  return gather(open(), 2 * smallBytesMax, `object ${name}`);
}

async function put(
  name: string,
  body: StoreBody,
  target: RootedStore,
  call: CallOptions,
): Promise<"stored" | "present"> {
  try {
    return await target.put(name, body, call);
  } catch (error) {
    // A lane may have brought it meanwhile, with the time at which that message was received.
    const isSame =
      isPageferryError(error, "conflict") &&
      body instanceof Uint8Array &&
      (await isStoredAs(name, body, target, call));
    if (isSame) return "present";
    throw error;
  }
}

async function isStoredAs(
  name: string,
  bytes: Uint8Array,
  target: RootedStore,
  call: CallOptions,
): Promise<boolean> {
  const parsed = parseObjectName(name);
  if (parsed?.kind !== "segment" && parsed?.kind !== "pack" && parsed?.kind !== "snapshot") return false;
  for await (const { name: found, size } of target.list(name, call)) {
    if (found !== name) continue;
    return areSame(
      await linksOf(parsed, bytes.length, async (offset, length) => bytes.subarray(offset, offset + length)),
      await linksOf(parsed, size, (offset, length) => target.read(name, length, { ...call, offset, length })),
    );
  }
  return false;
}

function linksOf(
  name: StateObjectName,
  size: number,
  read: (offset: number, length: number) => Promise<Uint8Array>,
) {
  return describeObject(name, { size, read });
}

/** Whether an error says that an object is broken, rather than that it could not be read now. */
function isBroken(error: unknown): boolean {
  return isPageferryError(error) && brokenCodes.includes(error.code);
}

/** Reads an object to its end. `broken`: it is there and does not hold; errors are those of reading. */
export async function isSound(name: string, store: RootedStore, call: CallOptions): Promise<boolean> {
  try {
    await checkObject(name, await store.get(name, call));
    return true;
  } catch (error) {
    call.signal?.throwIfAborted();
    if (isBroken(error)) return false;
    throw error;
  }
}

/** `sound`: it was no more broken when it was read again. */
export type HealOutcome =
  | { readonly kind: "healed" | "sound" }
  | { readonly kind: "not"; readonly why: string };

/**
 * Makes a broken object whole: reads it again, finds a sound copy, keeps the broken bytes in quarantine, removes the object, stores it
 * anew. Without a sound copy elsewhere it stays as it is. Errors: what the target throws.
 */
export async function healObject(
  name: string,
  sources: readonly RepairSide[],
  target: RootedStore,
  call: CallOptions,
): Promise<HealOutcome> {
  if (await isSound(name, target, call)) return { kind: "sound" };
  const sound = await soundSource(name, sources, call);
  if (sound === undefined) return { kind: "not", why: "no other replica has it whole" };
  await keepBroken(name, target, call);
  const [retained] = await target.remove([name], call);
  if (retained?.reason === "locked") {
    return { kind: "not", why: "it is locked; it can be replaced when the lock has ended" };
  }
  await copyObject(name, [sound, ...sources.filter((source) => source !== sound)], target, call);
  return { kind: "healed" };
}

async function soundSource(
  name: string,
  sources: readonly RepairSide[],
  call: CallOptions,
): Promise<RepairSide | undefined> {
  for (const source of sources) {
    try {
      if (await isSound(name, source.store, call)) return source;
      source.onBroken(name);
    } catch (error) {
      call.signal?.throwIfAborted();
      // One that cannot be read now is none to rely on.
      if (!isPageferryError(error)) throw error;
    }
  }
  return undefined;
}

/** Copies the bytes of a broken object to `quarantine/`, as they are. What cannot be read cannot be kept. */
async function keepBroken(name: string, target: RootedStore, call: CallOptions): Promise<void> {
  const hash = createHash("sha256");
  let size = 0;
  try {
    for await (const chunk of await target.get(name, call)) {
      hash.update(chunk);
      size += chunk.length;
    }
  } catch (error) {
    call.signal?.throwIfAborted();
    if (isBroken(error)) return;
    throw error;
  }
  const sha256 = hash.digest("hex");
  const [generation = "", ...rest] = name.split("/");
  const body: ReplayableBody = {
    size,
    sha256,
    async *open() {
      yield* await target.get(name, call);
    },
  };
  await target.put(`quarantine/${generation}/${sha256.slice(0, 16)}-${rest.at(-1) ?? "object"}`, body, call);
}

/** One line of an error, for a report. */
export function whyOf(error: unknown): string {
  if (error instanceof NoSourceError) return whyOf(error.cause);
  if (error instanceof PageferryError) return `${error.code}: ${error.message}`;
  return error instanceof Error ? error.message : String(error);
}
