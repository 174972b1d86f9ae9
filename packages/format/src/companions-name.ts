// The name of a version of companion files: `files/<generation>/<txid>-<stamp>-<digest>.files.cbor`. It lies beside the generations,
// where readers that do not know it ignore it. See docs/format.md#companions.

import { PageferryError } from "./errors.ts";
import { stampMsMax } from "./limits.ts";
import type { Generation } from "./names.ts";
import { formatTxId, parseTxId, type TxId } from "./txid.ts";

/** What the name of a version tells. */
export interface CompanionsName {
  readonly name: string;
  readonly generation: Generation;
  /** The newest transaction that was known when the files were read. */
  readonly txId: TxId;
  /** When they were read, milliseconds since the epoch. */
  readonly stampMs: number;
  /** The first 16 hex digits of the SHA-256 of what the object decodes to. */
  readonly digest: string;
}

const pattern = /^files\/([0-9a-f]{16})\/([0-9a-f]{16})-([0-9a-f]{12})-([0-9a-f]{16})\.files\.cbor$/;

/** The name of a version. */
export function companionsName(version: Omit<CompanionsName, "name">): string {
  const { generation, txId, stampMs, digest } = version;
  const stamp = stampMs.toString(16).padStart(12, "0");
  const name = `files/${generation}/${formatTxId(txId)}-${stamp}-${digest.slice(0, 16)}.files.cbor`;
  if (!isCompanionsName(name))
    throw new PageferryError("bad-name", `companion files at ${stampMs} of ${generation}: ${name}`);
  return name;
}

/** Whether a text is such a name. */
export function isCompanionsName(name: string): boolean {
  const [, , , stamp] = pattern.exec(name) ?? [];
  return stamp !== undefined && Number.parseInt(stamp, 16) <= stampMsMax;
}

/** Reads such a name; `undefined`: it is none. */
export function parseCompanionsName(name: string): CompanionsName | undefined {
  const [, generation, txId, stamp, digest] = pattern.exec(name) ?? [];
  if (generation === undefined || txId === undefined || stamp === undefined || digest === undefined) return;
  const stampMs = Number.parseInt(stamp, 16);
  if (stampMs > stampMsMax) return;
  return { name, generation: generation as Generation, txId: parseTxId(txId), stampMs, digest };
}
