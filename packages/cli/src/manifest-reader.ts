// Manifests as a restore takes them: signed by the host whose key was given, for the database and the point that were asked for.

import { readFile } from "node:fs/promises";
import {
  formatTxId,
  type Manifest,
  PageferryError,
  parseManifest,
  type RestoreTarget,
} from "@pageferry/format";
import { parseManifestKey, readSignedManifest } from "@pageferry/format/node";
import type { Io } from "./io.ts";

/** What was asked for. */
export interface AskedManifest {
  readonly target: RestoreTarget;
  /** Undefined: of any. */
  readonly database?: string | undefined;
}

/** Reads a manifest. Errors: `untrusted`, `corrupt`, `unsupported-version`. */
export type ReadManifest = (bytes: Uint8Array, asked: AskedManifest) => Manifest;

/** `key` is a file or a key's text; without it PAGEFERRY_MANIFEST_KEY, and without that nothing is asked of signatures. */
export async function manifestReader(key: string | undefined, io: Io): Promise<ReadManifest> {
  const given = key ?? (io.env.PAGEFERRY_MANIFEST_KEY || undefined);
  if (given === undefined) return (bytes, asked) => checked(parseManifest(bytes), asked, "corrupt");
  const publicKey = parseManifestKey(await readFile(given, "utf8").catch(() => given));
  return (bytes, asked) => checked(readSignedManifest(bytes, publicKey, io.now()), asked, "untrusted");
}

/** An answer to another question may be signed as well as any. */
function checked(
  manifest: Manifest,
  { target, database }: AskedManifest,
  code: "corrupt" | "untrusted",
): Manifest {
  const refuse = (is: string, asked: string) =>
    new PageferryError(code, `manifest: it is of ${is}, and ${asked} was asked for`);
  const { generation, txId, stampMs } = manifest;
  if (database !== undefined && manifest.database !== undefined && manifest.database !== database)
    throw refuse(`database ${JSON.stringify(manifest.database)}`, database);
  if (code === "untrusted" && manifest.database === undefined) throw refuse("no named database", "one");
  if (target.generation !== undefined && target.txId !== undefined && generation !== target.generation)
    throw refuse(`generation ${generation}`, target.generation);
  if (target.txId !== undefined && txId !== target.txId)
    throw refuse(`transaction ${formatTxId(txId)}`, formatTxId(target.txId));
  const isLater = target.timestampMs !== undefined && stampMs !== null && stampMs > target.timestampMs;
  if (isLater)
    throw refuse(`a time after ${new Date(target.timestampMs as number).toISOString()}`, "that time");
  return manifest;
}
