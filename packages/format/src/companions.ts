// A version of a database's companion files, as one object: small files, each whole, of about the same time. Both directions.
// A set of files is not one instant. See docs/format.md#companions.

import { createHash } from "node:crypto";
import { decodeCbor, encodeCbor } from "./cbor.ts";
import { type CborFields, cborFields } from "./cbor-fields.ts";
import { checkCompanionNames } from "./companion-place.ts";
import { companionsName, parseCompanionsName } from "./companions-name.ts";
import { type CompressionConfig, compressionSettings } from "./config-compression.ts";
import { PageferryError } from "./errors.ts";
import {
  companionBytesMax,
  companionSetBytesMax,
  companionsMax,
  companionsObjectBytesMax,
  stampMsMax,
} from "./limits.ts";
import { checkObjectName, type Generation, parseGeneration } from "./names.ts";
import { type TxId, txId } from "./txid.ts";
import { nodeZstdLevel, zstdCompress, zstdDecompress } from "./zstd.ts";

/** A file that was there and is in the version. */
export interface Companion {
  /** Relative: to the database's directory, or below `_root/` to the root of the file system. */
  readonly name: string;
  /** Permission bits, 0 to 0777: never setuid, setgid or sticky. */
  readonly mode: number;
  readonly mtimeMs: number;
  readonly bytes: Uint8Array;
}

const skipReasons = ["too-large", "too-many", "busy", "unreadable"] as const;

/** Why a file is not in a version although it was there. */
export type SkipReason = (typeof skipReasons)[number];

/** A file that was there and is not in the version. */
export interface SkippedCompanion {
  readonly name: string;
  readonly why: SkipReason;
}

/** What was found at one look. */
export interface CompanionSet {
  /** Ascending by name. */
  readonly files: readonly Companion[];
  readonly skipped: readonly SkippedCompanion[];
}

/** One version. A file that is in neither list was not there. */
export interface CompanionsVersion extends CompanionSet {
  readonly generation: Generation;
  /** The newest transaction that was known when the files were read. */
  readonly txId: TxId;
  readonly stampMs: number;
}

const magic = "PFFS";
const version = 1;
const what = "companion files";

/** 64 hex digits that are equal for equal sets, whenever they were read or touched. */
export function companionSetDigest({ files, skipped }: CompanionSet): string {
  const untouched = files.map((file) => ({ ...file, mtimeMs: 0 }));
  return sha256(encodeCbor(jsonOf({ files: untouched, skipped }))).toString("hex");
}

function sha256(bytes: Uint8Array): Buffer {
  return createHash("sha256").update(bytes).digest();
}

function jsonOf({ files, skipped }: CompanionSet) {
  return {
    files: files.map(({ name, mode, mtimeMs, bytes }) => {
      const mtime = Math.min(Math.max(0, Math.trunc(mtimeMs)), stampMsMax);
      return { name, mode, mtime, size: bytes.length, sha256: sha256(bytes), bytes };
    }),
    skipped: skipped.map(({ name, why }) => ({ name, why })),
  };
}

/** Encodes a version, with its name. Errors: `too-large`, `bad-name`. */
export async function encodeCompanions(
  found: CompanionsVersion,
  compression: CompressionConfig,
): Promise<{ readonly name: string; readonly bytes: Uint8Array }> {
  checkNames(found);
  checkBounds(found, "too-large");
  const { generation, txId: newest, stampMs } = found;
  const raw = encodeCbor({ version, generation, txId: newest, stamp: stampMs, ...jsonOf(found) });
  const digest = sha256(raw);
  const settings = compressionSettings(compression);
  const isPlain = settings.codec === "none";
  const data = isPlain ? raw : await zstdCompress(raw, nodeZstdLevel(settings));
  const bytes = encodeCbor({ magic, version, codec: settings.codec, size: raw.length, sha256: digest, data });
  const name = companionsName({ generation, txId: newest, stampMs, digest: digest.toString("hex") });
  return { name, bytes };
}

/** What was left out is never written, and may be a directory. */
function checkNames({ files, skipped }: CompanionSet): void {
  checkCompanionNames(files.map(({ name }) => name));
  for (const { name } of skipped) checkObjectName(name);
}

function checkBounds({ files, skipped }: CompanionSet, code: "too-large" | "corrupt"): void {
  const total = files.reduce((sum, { bytes }) => sum + bytes.length, 0);
  const largest = files.find(({ bytes }) => bytes.length > companionBytesMax);
  const isOver =
    files.length > companionsMax || skipped.length > companionsMax || total > companionSetBytesMax;
  if (!isOver && largest === undefined) return;
  throw new PageferryError(
    code,
    `${what}: ${files.length} of ${total} bytes; ${companionsMax} of ${companionSetBytesMax} bytes are taken, each of ${companionBytesMax} at most`,
  );
}

/**
 * Decodes a version and checks it whole: bounds, checksums, names, and against the name it goes by. Errors: `corrupt`, `too-large`,
 * `unsupported-version`, `bad-name` for a name that is none of such an object.
 */
export async function decodeCompanions(name: string, bytes: Uint8Array): Promise<CompanionsVersion> {
  const named = parseCompanionsName(name);
  if (named === undefined)
    throw new PageferryError("bad-name", `object ${name.slice(0, 120)} is no version of companion files`);
  if (bytes.length > companionsObjectBytesMax) {
    throw new PageferryError(
      "too-large",
      `${what}: ${bytes.length} bytes, at most ${companionsObjectBytesMax}`,
    );
  }
  const outer = fieldsOf(decodeCbor(bytes, what));
  const raw = await rawOf(outer);
  const digest = sha256(raw);
  if (!digest.equals(outer.bytes("sha256")) || digest.toString("hex").slice(0, 16) !== named.digest)
    throw broken("its SHA-256 is another one");
  const found = versionOf(fieldsOf(decodeCbor(raw, what)));
  const isAsNamed =
    found.generation === named.generation && found.txId === named.txId && found.stampMs === named.stampMs;
  if (!isAsNamed) throw broken(`is not what its name ${name} says`);
  return found;
}

function broken(why: string): PageferryError {
  return new PageferryError("corrupt", `${what}: ${why}`);
}

function fieldsOf(value: unknown): CborFields {
  const fields = cborFields(value, what);
  const found = fields.count("version");
  if (found > version)
    throw new PageferryError(
      "unsupported-version",
      `${what}: version ${found}, this program reads ${version}`,
    );
  return fields;
}

async function rawOf(outer: CborFields): Promise<Uint8Array> {
  if (outer.text("magic") !== magic) throw broken("do not begin with what they should");
  const size = outer.count("size", companionsObjectBytesMax);
  const data = outer.bytes("data");
  const codec = outer.text("codec");
  if (codec !== "none" && codec !== "zstd") throw broken(`codec ${JSON.stringify(codec.slice(0, 20))}`);
  const raw = codec === "none" ? data : await zstdDecompress(data, { outputBytesMax: size, what });
  if (raw.length !== size) throw broken(`${raw.length} bytes, ${size} are told`);
  return raw;
}

function versionOf(fields: CborFields): CompanionsVersion {
  const files = fields.array("files").map((one) => fileOf(cborFields(one, what)));
  const skipped = fields.array("skipped").map((one) => skippedOf(cborFields(one, what)));
  checkBounds({ files, skipped }, "corrupt");
  try {
    checkNames({ files, skipped });
  } catch (cause) {
    throw new PageferryError("corrupt", `${what}: ${cause instanceof Error ? cause.message : cause}`, {
      cause,
    });
  }
  return {
    generation: parseGeneration(fields.text("generation")),
    txId: txId(fields.uint("txId")),
    stampMs: fields.count("stamp", stampMsMax),
    files,
    skipped,
  };
}

function fileOf(fields: CborFields): Companion {
  const name = fields.text("name");
  const bytes = fields.bytes("bytes");
  if (fields.count("size") !== bytes.length || !sha256(bytes).equals(fields.bytes("sha256")))
    throw broken(`the checksum of ${JSON.stringify(name.slice(0, 120))} does not hold`);
  return { name, mode: fields.count("mode", 0o777), mtimeMs: fields.count("mtime", stampMsMax), bytes };
}

function skippedOf(fields: CborFields): SkippedCompanion {
  const word = fields.text("why");
  const why = skipReasons.find((reason) => reason === word);
  if (why === undefined) throw broken("a file was left out for a reason that nobody knows");
  return { name: fields.text("name"), why };
}
