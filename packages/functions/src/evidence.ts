// Evidence of a verification: a small document beside the archive, written once for every point that was verified. It shows when a replica was
// last restored from, and that it was rolled back since. See docs/operations.md#verify.

import { type Generation, isPageferryError, parseGeneration, parseTxId, type TxId } from "@pageferry/format";
import { z } from "zod";
import { formatTime } from "./replica-state.ts";
import type { RootedStore } from "./rooted-store.ts";
import type { CallOptions } from "./store.ts";
import type { Verdict } from "./verdicts.ts";

/** Documents that one replica keeps: a month of a few a day. */
const keptMax = 100;

/** A document is some 500 bytes. */
const evidenceBytesMax = 16 * 1024;

/** Documents that are read until one of them can be. */
const readMax = 10;

/** `restore`: the point was restored and checked whole; `objects`: it was too large, and its objects were read to their ends. */
export type VerifyMode = "restore" | "objects";

/** What is known of one verified point. */
export interface Evidence {
  readonly version: 1;
  readonly verdict: Verdict;
  readonly replica: string;
  readonly generation: Generation;
  readonly txId: TxId;
  /** The commit's stamp, milliseconds; null where nothing tells it. */
  readonly stampMs: number | null;
  /** 32 hex digits; null where it is unknown. */
  readonly stateHash: string | null;
  /** 64 hex digits; null where the point was not restored. */
  readonly logicalHash: string | null;
  readonly verifiedAtMs: number;
  readonly ms: number;
  /** Fetched. */
  readonly bytes: number;
  readonly mode: VerifyMode;
}

const hex = (digits: number) => z.string().regex(new RegExp(`^[0-9a-f]{${digits}}$`));

const schema = z.object({
  version: z.literal(1),
  verdict: z.enum(["FOUND", "LATE", "LOST", "CORRUPT", "FORK"]),
  replica: z.string().max(2048),
  generation: hex(16).transform(parseGeneration),
  txId: hex(16).transform(parseTxId),
  stampMs: z.int().min(0).nullable(),
  stateHash: hex(32).nullable(),
  logicalHash: hex(64).nullable(),
  verifiedAtMs: z.int().min(0),
  ms: z.number().min(0),
  bytes: z.int().min(0),
  mode: z.enum(["restore", "objects"]),
});

/**
 * Stores a document, and removes the oldest ones above a hundred, or leaves that to prune where it may not. One of the same point and
 * millisecond stays as it is.
 */
export async function putEvidence(store: RootedStore, evidence: Evidence, call: CallOptions): Promise<void> {
  const { generation, txId, verifiedAtMs } = evidence;
  const id = txId.toString(16).padStart(16, "0");
  const name = `evidence/${formatTime(verifiedAtMs)}-${generation}-${id}.json`;
  try {
    await store.put(name, Buffer.from(`${JSON.stringify({ ...evidence, txId: id })}\n`), call);
  } catch (error) {
    if (!isPageferryError(error, "conflict")) throw error;
  }
  await dropOldEvidence(store, call).catch((error: unknown) => {
    if (!isPageferryError(error, "unauthorized")) throw error;
  });
}

/** Removes the oldest documents above a hundred. */
export async function dropOldEvidence(store: RootedStore, call: CallOptions): Promise<void> {
  const names = await evidenceNames(store, call);
  const old = names.slice(0, Math.max(0, names.length - keptMax));
  if (old.length > 0) await store.remove(old, call);
}

/** The newest document that can be read; undefined where there is none. */
export async function latestEvidence(store: RootedStore, call: CallOptions): Promise<Evidence | undefined> {
  for (const name of (await evidenceNames(store, call)).reverse().slice(0, readMax)) {
    try {
      const bytes = await store.read(name, evidenceBytesMax, call);
      const parsed = schema.safeParse(JSON.parse(new TextDecoder().decode(bytes)));
      if (parsed.success) return parsed.data;
    } catch (error) {
      call.signal?.throwIfAborted();
      // One that is no JSON, too large, or was just removed says nothing.
      const isDocuments =
        error instanceof SyntaxError || (isPageferryError(error) && error.remedy === "stop");
      if (!isDocuments || isPageferryError(error, "unauthorized")) throw error;
    }
  }
  return undefined;
}

/** Oldest first: names begin with the time. */
async function evidenceNames(store: RootedStore, call: CallOptions): Promise<string[]> {
  const names: string[] = [];
  for await (const { name } of store.list("evidence/", call)) {
    if (/^evidence\/\d{4}-[0-9TZ:.-]+-[0-9a-f]{16}-[0-9a-f]{16}\.json$/.test(name)) names.push(name);
  }
  return names;
}
