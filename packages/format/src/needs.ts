// `needs.json`: what the functions ask an agent for. The schema and both directions. See docs/format.md#needs.
import { z } from "zod";
import { parseDocument } from "./generation-json.ts";
import { type Generation, parseGeneration } from "./names.ts";
import { formatTxId, parseTxId, type TxId } from "./txid.ts";

/** What is known and wanted of one generation. */
export interface GenerationNeeds {
  /** The newest transaction that can be restored from any replica; `null`: none yet. */
  readonly storedTxId: TxId | null;
  /** Ranges (parentTxId, txId] that no replica holds. */
  readonly missing: readonly (readonly [parentTxId: TxId, txId: TxId])[];
  /** Whether a new snapshot is asked for. */
  readonly snapshot: boolean;
}

/** What one database's replicas ask of its agent. */
export interface Needs {
  readonly version: 1;
  /** The highest epoch known; a new generation takes one above it. */
  readonly newestEpoch: number;
  readonly generations: Readonly<Record<Generation, GenerationNeeds>>;
  /** Whether the functions build snapshots themselves: then only those are wanted that are asked for. Absent: they do not. */
  readonly buildsSnapshots?: boolean | undefined;
}

const txIdText = z
  .string()
  .regex(/^[0-9a-f]{16}$/)
  .transform(parseTxId);

const needsSchema = z.object({
  version: z.literal(1),
  newestEpoch: z.int().min(0).max(0xffff_ffff),
  buildsSnapshots: z.boolean().optional(),
  generations: z.record(
    z
      .string()
      .regex(/^[0-9a-f]{16}$/)
      .transform(parseGeneration),
    z.object({
      storedTxId: txIdText.nullable(),
      missing: z.array(z.tuple([txIdText, txIdText])).max(10_000),
      snapshot: z.boolean(),
    }),
  ),
});

/** Reads the bytes of a `needs.json`, or of the answer to `GET …/needs`; `corrupt` or `unsupported-version`. */
export function parseNeeds(bytes: Uint8Array): Needs {
  return parseDocument(bytes, needsSchema, "needs");
}

/** Writes the document, always to the same bytes; transaction ids are 16 hex digits. */
export function formatNeeds(needs: Needs): Uint8Array {
  const generations = Object.entries(needs.generations).map(
    ([generation, { storedTxId, missing, snapshot }]) => [
      generation,
      {
        storedTxId: storedTxId === null ? null : formatTxId(storedTxId),
        missing: missing.map(([parentTxId, txId]) => [formatTxId(parentTxId), formatTxId(txId)]),
        snapshot,
      },
    ],
  );
  generations.sort(([a], [b]) => ((a as string) < (b as string) ? -1 : 1));
  const json = {
    version: 1,
    newestEpoch: needs.newestEpoch,
    generations: Object.fromEntries(generations),
    // Left out where there is nothing to say, as those who know no such key write it.
    ...(needs.buildsSnapshots === true ? { buildsSnapshots: true } : {}),
  };
  return Buffer.from(`${JSON.stringify(json)}\n`);
}

const holdsSchema = z.object({ version: z.literal(1), holds: z.boolean() });

/** Reads the answer to `GET …/holds`; `corrupt` or `unsupported-version`. */
export function parseHolds(bytes: Uint8Array): boolean {
  return parseDocument(bytes, holdsSchema, "holds").holds;
}
