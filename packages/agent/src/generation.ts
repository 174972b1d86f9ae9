// How a generation begins, decided purely: its name, its parent, and whether a snapshot must come first.
import {
  type GenerationBegin,
  type GenerationParent,
  generationOf,
  PageferryError,
  type StateHash,
  type TxId,
  txId,
} from "@pageferry/format";
import type { Cursor, GenerationCursor } from "./cursor.ts";
import type { RestoredPoint } from "./restored-note.ts";
import type { BeginEvent } from "./sources/capture-event.ts";

/** What is known at a `begin` that is not a `continue`. */
export interface BeginFacts {
  /** Eight random bytes. */
  readonly random: Uint8Array;
  /** The newest state of the generation before that is in the shadow or was sent, where there is one. */
  readonly lastTxId: TxId | null;
  /** Whether the generation before was ever sent, or can be: it has a snapshot or a bridge, and no hole since. */
  readonly isParentWhole: boolean;
  /** The point of the archive that the file was restored from; it may be one that this machine never had. */
  readonly restoredFrom: RestoredPoint | null;
}

/**
 * The cursor after a generation has begun. One that never came to anything is left out, its successor takes its parent. A
 * bridge from a state that the archive will never hold becomes a generation that waits for a snapshot. Whether it holds a point that the
 * file was restored to only the host can say: that bridge stands until it has.
 */
export function beginGeneration(cursor: Cursor, event: BeginEvent, facts: BeginFacts): Cursor {
  const previous = cursor.generations.at(-1);
  const isStillborn = previous !== undefined && isEmpty(previous, facts);
  const isAtRestored = event.via === "bridge" && facts.restoredFrom !== null;
  const isBridge =
    isAtRestored ||
    (event.via === "bridge" && (isStillborn ? previous.via === "bridge" : facts.isParentWhole));
  const begun: GenerationCursor = {
    generation: generationOf(facts.random),
    parent: isStillborn ? (pointOf(facts.restoredFrom) ?? previous.parent) : parentOf(previous, event, facts),
    reason: reasonOf(event, previous),
    epoch: null,
    pageSize: event.pageSize,
    via: isBridge ? "bridge" : "snapshot",
    parentStateHash: isBridge ? restoredStateOf(event, isStillborn ? previous : undefined, facts) : null,
    baseTxId: null,
    // Its first own snapshot is due when the next of its parent would have been.
    baseAtMs: isBridge ? (previous?.baseAtMs ?? 0) : 0,
    baseNeededFrom: isBridge ? null : txId(0),
    acknowledgedTxId: null,
    isAbandoned: false,
    origin: event.origin ?? null,
  };
  const kept = isStillborn ? cursor.generations.slice(0, -1) : cursor.generations;
  return { ...cursor, generations: [...kept, begun], identity: event.identity, isForked: false };
}

function isEmpty(generation: GenerationCursor, facts: BeginFacts): boolean {
  return generation.acknowledgedTxId === null && generation.baseTxId === null && facts.lastTxId === null;
}

function parentOf(
  previous: GenerationCursor | undefined,
  event: BeginEvent,
  facts: BeginFacts,
): GenerationParent | null {
  if (facts.restoredFrom !== null) return pointOf(facts.restoredFrom);
  const last = event.parent?.txId ?? facts.lastTxId;
  return previous === undefined || last === null ? null : { generation: previous.generation, txId: last };
}

function pointOf(restored: RestoredPoint | null): GenerationParent | null {
  return restored && { generation: restored.generation, txId: restored.txId };
}

/** The state of the point that a bridge stands on, where the file was restored to it; one that takes another's place takes that, too. */
function restoredStateOf(
  event: BeginEvent,
  replaced: GenerationCursor | undefined,
  { restoredFrom }: BeginFacts,
): StateHash | null {
  if (restoredFrom !== null) return event.parent?.stateHash ?? null;
  return replaced?.parentStateHash ?? null;
}

/** Without a reference a source can only say "first"; with a generation before, it is one that nothing could prove. */
function reasonOf(event: BeginEvent, previous: GenerationCursor | undefined): GenerationCursor["reason"] {
  if (event.reason === "continue" || (event.reason === "first" && previous !== undefined))
    return "unprovable";
  return event.reason;
}

/** What every envelope of a generation carries. Throws `unavailable` as long as its epoch is not known. */
export function beginOf(generation: GenerationCursor, host: string): GenerationBegin {
  if (generation.epoch === null) {
    throw new PageferryError(
      "unavailable",
      `generation ${generation.generation}: its epoch is not known yet`,
    );
  }
  const { parentStateHash } = generation;
  return {
    generation: generation.generation,
    parent: generation.parent,
    reason: generation.reason,
    epoch: generation.epoch,
    host,
    pageSize: generation.pageSize,
    ...(parentStateHash === null ? {} : { parentStateHash }),
  };
}
