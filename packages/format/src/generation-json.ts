// `generation.json`: how a generation began, written once. The schema and both directions. See docs/format.md#generation-json.
import { z } from "zod";
import { PageferryError } from "./errors.ts";
import { pageSizeMax, pageSizeMin } from "./limits.ts";
import { type Generation, parseGeneration } from "./names.ts";
import { formatStateHash, parseStateHash, type StateHash } from "./state-hash.ts";
import { formatTxId, parseTxId, type TxId } from "./txid.ts";

/** Why a generation began. */
export type GenerationReason = "first" | "restored" | "replaced" | "unprovable" | "fork";

/** Where a generation branches off: a point of another one. */
export interface GenerationParent {
  readonly generation: Generation;
  readonly txId: TxId;
}

/** What an agent knows of a generation it begins; every envelope carries it, and the first to arrive writes it down. */
export interface GenerationBegin {
  readonly generation: Generation;
  readonly parent: GenerationParent | null;
  readonly reason: GenerationReason;
  /** One above the highest that the agent knew; the highest is the newest. Go-made generations have 0. */
  readonly epoch: number;
  readonly host: string;
  readonly pageSize: number;
  /**
   * The state of the parent's point, where the generation begins at exactly that state, with no snapshot of its agent's: who has the
   * point can make the generation's first snapshot of it. Absent: nothing is said of where it begins.
   */
  readonly parentStateHash?: StateHash | undefined;
}

/** The stored document. */
export interface GenerationJson extends GenerationBegin {
  readonly version: 1;
  /** By the clock of the host that took the first envelope. */
  readonly receivedAtMs: number;
}

const generationText = z
  .string()
  .regex(/^[0-9a-f]{16}$/)
  .transform(parseGeneration);
const txIdText = z
  .string()
  .regex(/^[0-9a-f]{16}$/)
  .transform(parseTxId);

/** The fields of `GenerationBegin` as JSON and CBOR hold them: transaction ids are 16 hex digits. */
export const generationBeginShape = {
  generation: generationText,
  parent: z.strictObject({ generation: generationText, txId: txIdText }).nullable(),
  reason: z.enum(["first", "restored", "replaced", "unprovable", "fork"]),
  epoch: z.int().min(0).max(0xffff_ffff),
  host: z.string().max(255),
  pageSize: z
    .int()
    .min(pageSizeMin)
    .max(pageSizeMax)
    .refine((size) => (size & (size - 1)) === 0, "is not a power of two"),
};

/** `parentStateHash` as JSON and CBOR hold it. Beside the fields above, where a reader that knows nothing of it passes over it. */
export const parentStateText = z
  .string()
  .regex(/^[0-9a-f]{32}$/)
  .transform(parseStateHash)
  .optional();

const documentSchema = z.object({
  version: z.literal(1),
  ...generationBeginShape,
  parentStateHash: parentStateText,
  receivedAtMs: z.int().min(0),
});

/** Reads the bytes of a `generation.json`; `corrupt`, or `unsupported-version` for a later one. */
export function parseGenerationJson(bytes: Uint8Array): GenerationJson {
  return parseDocument(bytes, documentSchema, "generation.json");
}

/** Writes the document, always to the same bytes. */
export function formatGenerationJson(document: GenerationJson): Uint8Array {
  const { generation, parent, reason, epoch, host, pageSize, parentStateHash, receivedAtMs } = document;
  const parentJson =
    parent === null ? null : { generation: parent.generation, txId: formatTxId(parent.txId) };
  const state = parentStateHash === undefined ? {} : { parentStateHash: formatStateHash(parentStateHash) };
  const begin = { generation, parent: parentJson, reason, epoch, host, pageSize, ...state };
  const json = { version: 1, ...begin, receivedAtMs };
  return Buffer.from(`${JSON.stringify(json)}\n`);
}

/** Parses JSON bytes against a schema that has a `version`; `corrupt`, or `unsupported-version` for a later version. */
export function parseDocument<Document>(
  bytes: Uint8Array,
  schema: z.ZodType<Document>,
  what: string,
): Document {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new PageferryError("corrupt", `${what}: ${bytes.length} bytes that are not JSON`, { cause });
  }
  const { version } = (typeof json === "object" && json !== null ? json : {}) as {
    readonly version?: unknown;
  };
  if (typeof version === "number" && version > 1) {
    throw new PageferryError("unsupported-version", `${what}: version ${version}, this program reads 1`);
  }
  const result = schema.safeParse(json);
  if (!result.success) {
    throw new PageferryError("corrupt", `${what}: ${firstIssue(result.error)}`, { cause: result.error });
  }
  return result.data;
}

/** The first thing a schema found wrong, in one line. */
export function firstIssue(error: z.ZodError): string {
  const issue = error.issues[0];
  return issue === undefined ? "does not fit" : `${issue.path.join(".") || "document"}: ${issue.message}`;
}
