// What a standby is, noted beside its file by whoever keeps it: nothing that is noted is believed, the file must prove it. The schema and
// both directions. See docs/operations.md#a-warm-standby.

import { z } from "zod";
import { parseDocument } from "./generation-json.ts";
import { type Generation, parseGeneration } from "./names.ts";
import { formatStateHash, parseStateHash, type StateHash } from "./state-hash.ts";
import { formatTxId, parseTxId, type TxId } from "./txid.ts";

/** A point, as a standby remembers it. */
export interface StandbyState {
  readonly generation: Generation;
  /** Of the generation; null where nobody knows. */
  readonly epoch: number | null;
  readonly txId: TxId;
  /** Its commit stamp; null where nobody knows. */
  readonly stampMs: number | null;
  readonly stateHash: StateHash;
}

/** The note. */
export interface StandbyNote {
  /** What the file may be, newest first: while a state is being published, that one, and the one before it. */
  readonly states: readonly StandbyState[];
  /** Generations that it has left, newest first. */
  readonly left: readonly Generation[];
}

/** A database is replaced now and then; older generations than so many nobody takes for new. */
export const leftMax = 64;

const hex = (digits: number) => z.string().regex(new RegExp(`^[0-9a-f]{${digits}}$`));
const generation = hex(16).transform(parseGeneration);

const noteSchema = z.object({
  version: z.literal(1),
  states: z
    .array(
      z.object({
        generation,
        epoch: z.int().min(0).nullable(),
        txid: hex(16).transform(parseTxId),
        stampMs: z.int().min(0).nullable(),
        stateHash: hex(32).transform(parseStateHash),
      }),
    )
    .min(1)
    .max(2),
  left: z.array(generation).max(leftMax),
});

/** Writes the note. */
export function encodeStandbyNote({ states, left }: StandbyNote): Uint8Array {
  const json = {
    version: 1,
    states: states.map(({ txId, stateHash, ...state }) => ({
      ...state,
      txid: formatTxId(txId),
      stateHash: formatStateHash(stateHash),
    })),
    left,
  };
  return new TextEncoder().encode(`${JSON.stringify(json)}\n`);
}

/** Reads the note; `corrupt`, or `unsupported-version` for a later one. `what` names it. */
export function parseStandbyNote(bytes: Uint8Array, what: string): StandbyNote {
  const { states, left } = parseDocument(bytes, noteSchema, what);
  return { states: states.map(({ txid, ...state }) => ({ ...state, txId: txid })), left };
}
