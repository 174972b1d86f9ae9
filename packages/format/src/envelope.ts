// One queue message: what an agent sends of one database, with how its generation began. Both directions.
// It is the unit of merging and of acknowledging; no items is a heartbeat. See docs/format.md#envelope.
import { z } from "zod";
import { encodeCbor } from "./cbor.ts";
import { parseCborDocument } from "./cbor-document.ts";
import { PageferryError } from "./errors.ts";
import { type Farewell, farewellPattern } from "./farewell.ts";
import { type GenerationBegin, generationBeginShape, parentStateText } from "./generation-json.ts";
import { envelopeBytesMax, envelopeItemsMax, stampMsMax } from "./limits.ts";
import { checkObjectName, type DatabaseName, parseDatabaseName } from "./names.ts";
import { formatStateHash } from "./state-hash.ts";
import { formatTxId, type TxId, txId } from "./txid.ts";

/** An object that travels in the envelope. `bytes` is a view after decoding. */
export interface InlineItem {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** An object whose body was staged before: 64 lower-case hex digits of its SHA-256, and its size. */
export interface StagedItem {
  readonly name: string;
  readonly digest: string;
  readonly size: number;
}

/** What an envelope brings: objects by their names relative to the replica root. */
export type EnvelopeItem = InlineItem | StagedItem;

/** One queue message. */
export interface Envelope {
  readonly database: DatabaseName;
  readonly begin: GenerationBegin;
  /** By the agent's clock. */
  readonly sentAtMs: number;
  /** The newest transaction the agent has seen in the source, sent or not; `null`: none yet. */
  readonly newestTxId: TxId | null;
  /** The commit stamp of `newestTxId`, milliseconds. */
  readonly newestStampMs: number | null;
  readonly items: readonly EnvelopeItem[];
  /** The last of its database, which is no longer backed up, on purpose; a host that does not know this takes it for a heartbeat. */
  readonly farewell?: Farewell | undefined;
}

const envelopeVersion = 1;

const uint = z.union([z.int().min(0), z.bigint().min(0n)]);
const name = z.string().refine((text) => isObjectName(text), "is not an object name");

const fromMap = (value: unknown): unknown => (value instanceof Map ? Object.fromEntries(value) : value);

const itemSchema = z.preprocess(
  fromMap,
  z.union([
    z.strictObject({ name, bytes: z.instanceof(Uint8Array) }),
    z.strictObject({ name, digest: z.string().regex(/^[0-9a-f]{64}$/), size: uint.transform(Number) }),
  ]),
);

const beginSchema = z.preprocess((value) => {
  const begin = fromMap(value);
  return typeof begin === "object" && begin !== null && "parent" in begin
    ? { ...begin, parent: fromMap(begin.parent) }
    : begin;
}, z.strictObject(generationBeginShape));

const envelopeSchema = z.object({
  version: z.literal(envelopeVersion),
  database: z.string().transform((text, context) => {
    try {
      return parseDatabaseName(text);
    } catch {
      context.addIssue("is not a database name");
      return z.NEVER;
    }
  }),
  begin: beginSchema,
  // Of the beginning, and yet beside it: a host that does not know it refuses no envelope for it.
  parentStateHash: parentStateText,
  sentAtMs: uint.transform(Number).refine((ms) => ms <= stampMsMax),
  newestTxId: uint.nullable(),
  newestStamp: uint
    .transform(Number)
    .refine((ms) => ms <= stampMsMax)
    .nullable(),
  items: z.array(itemSchema).max(envelopeItemsMax),
  farewell: z.string().regex(farewellPattern, "is not a reason").optional(),
});

function isObjectName(text: string): boolean {
  try {
    checkObjectName(text);
    return true;
  } catch {
    return false;
  }
}

/** Encodes an envelope; `too-large` above 32 MiB. */
export function encodeEnvelope(envelope: Envelope): Uint8Array {
  const { items } = envelope;
  const { parentStateHash, ...begin } = envelope.begin;
  const parent =
    begin.parent === null
      ? null
      : { generation: begin.parent.generation, txId: formatTxId(begin.parent.txId) };
  const bytes = encodeCbor({
    version: envelopeVersion,
    database: envelope.database,
    begin: { ...begin, parent },
    ...(parentStateHash === undefined ? {} : { parentStateHash: formatStateHash(parentStateHash) }),
    sentAtMs: envelope.sentAtMs,
    newestTxId: envelope.newestTxId,
    newestStamp: envelope.newestStampMs,
    items: items.map((item) =>
      "bytes" in item
        ? { name: item.name, bytes: item.bytes }
        : { name: item.name, digest: item.digest, size: item.size },
    ),
    ...(envelope.farewell === undefined ? {} : { farewell: envelope.farewell }),
  });
  if (bytes.length > envelopeBytesMax) {
    throw new PageferryError(
      "too-large",
      `envelope of ${envelope.database}: ${bytes.length} bytes, at most ${envelopeBytesMax} are taken`,
    );
  }
  return bytes;
}

/**
 * Decodes an envelope; its items' names are safe to use as paths below a root. Errors: `corrupt` (also a name that is
 * not one), `too-large`, `unsupported-version`.
 */
export function decodeEnvelope(bytes: Uint8Array): Envelope {
  const {
    newestTxId,
    newestStamp,
    parentStateHash,
    version: _,
    ...rest
  } = parseCborDocument(bytes, {
    ...{ what: "envelope", version: envelopeVersion, bytesMax: envelopeBytesMax },
    schema: envelopeSchema,
  });
  return {
    ...rest,
    begin: parentStateHash === undefined ? rest.begin : { ...rest.begin, parentStateHash },
    newestTxId: newestTxId === null ? null : txId(newestTxId),
    newestStampMs: newestStamp,
  };
}
