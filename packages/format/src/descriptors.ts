// `_state.json`, which the Go implementation's readers look for: Go's field names, u64 as JSON numbers. Both directions.
// It is derived from the listing, and never believed by our own readers. See docs/format.md#state.
import { z } from "zod";
import { PageferryError } from "./errors.ts";
import { firstIssue } from "./generation-json.ts";
import { jsonBytesMax } from "./limits.ts";
import { type TxId, txId } from "./txid.ts";

/** A segment, as a restore state lists it. */
export interface SegmentDescriptor {
  /** Relative to the replica root. */
  readonly name: string;
  readonly firstTxId: TxId;
  readonly lastTxId: TxId;
  /** RFC 3339, as it was written; Go writes up to nanoseconds, and an offset. */
  readonly timestamp: string;
  /** Bytes of the compressed data, as Go counts, not of the object. */
  readonly size: number;
}

/** A snapshot, as a restore state lists it. */
export interface SnapshotDescriptor {
  readonly name: string;
  readonly timestamp: string;
  readonly size: number;
}

/** What Go's `RestoreStandalone` restores: the newest generation's last snapshot and the segments after it. */
export interface RestoreState {
  readonly generation: string;
  readonly snapshot: SnapshotDescriptor | null;
  readonly segments: readonly SegmentDescriptor[];
  readonly lastUploaded: string;
}

const timestamp = z.string().regex(/^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?(Z|[+-]\d{2}:\d{2})$/);
const uint = z.union([z.bigint().min(0n), z.int().min(0)]);
const size = uint.transform(Number);

const stateSchema = z.object({
  Generation: z.string(),
  Snapshot: z.object({ Name: z.string(), Timestamp: timestamp, Size: size }).nullable(),
  Segments: z
    .array(z.object({ Name: z.string(), FirstTxID: uint, LastTxID: uint, Timestamp: timestamp, Size: size }))
    .nullable(),
  LastUploaded: timestamp,
});

/** Keeps integers that a double cannot hold. */
function exactIntegers(_key: string, value: unknown, context?: { readonly source?: string }): unknown {
  const source = context?.source;
  return typeof value === "number" && source !== undefined && /^\d{16,20}$/.test(source)
    ? BigInt(source)
    : value;
}

/** Reads a `_state.json`; `corrupt` also for the cut one that a crash of the Go implementation may leave. */
export function parseRestoreState(bytes: Uint8Array): RestoreState {
  if (bytes.length > jsonBytesMax) {
    throw new PageferryError(
      "too-large",
      `_state.json: ${bytes.length} bytes, at most ${jsonBytesMax} are read`,
    );
  }
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes), exactIntegers);
  } catch (cause) {
    throw new PageferryError("corrupt", `_state.json: ${bytes.length} bytes that are not JSON`, { cause });
  }
  const result = stateSchema.safeParse(json);
  if (!result.success) {
    throw new PageferryError("corrupt", `_state.json: ${firstIssue(result.error)}`, { cause: result.error });
  }
  const { Generation, Snapshot, Segments, LastUploaded } = result.data;
  return {
    generation: Generation,
    snapshot:
      Snapshot === null ? null : { name: Snapshot.Name, timestamp: Snapshot.Timestamp, size: Snapshot.Size },
    segments: (Segments ?? []).map((segment) => ({
      name: segment.Name,
      firstTxId: asTxId(segment.FirstTxID),
      lastTxId: asTxId(segment.LastTxID),
      timestamp: segment.Timestamp,
      size: segment.Size,
    })),
    lastUploaded: LastUploaded,
  };
}

function asTxId(value: bigint | number): TxId {
  try {
    return txId(value);
  } catch (cause) {
    throw new PageferryError("corrupt", `_state.json: ${value} is no transaction id`, { cause });
  }
}

/** Writes a restore state as Go does, byte for byte. */
export function formatRestoreState(state: RestoreState): Uint8Array {
  const { snapshot, segments } = state;
  const snapshotJson =
    snapshot === null
      ? "null"
      : `{"Name":${text(snapshot.name)},"Timestamp":${text(snapshot.timestamp)},"Size":${snapshot.size}}`;
  const items = segments.map(
    (segment) =>
      `{"Name":${text(segment.name)},"FirstTxID":${segment.firstTxId},"LastTxID":${segment.lastTxId},` +
      `"Timestamp":${text(segment.timestamp)},"Size":${segment.size}}`,
  );
  const segmentsJson = items.length === 0 ? "null" : `[${items.join(",")}]`;
  return Buffer.from(
    `{"Generation":${text(state.generation)},"Snapshot":${snapshotJson},"Segments":${segmentsJson},` +
      `"LastUploaded":${text(state.lastUploaded)}}`,
  );
}

function text(value: string): string {
  return JSON.stringify(value);
}
