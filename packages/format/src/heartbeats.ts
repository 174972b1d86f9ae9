// Many envelopes without items in one body, so that a thousand idle databases are one request every few seconds. Both directions.
// See docs/format.md#envelope.
import { z } from "zod";
import { encodeCbor } from "./cbor.ts";
import { parseCborDocument } from "./cbor-document.ts";
import { decodeEnvelope, type Envelope } from "./envelope.ts";
import { PageferryError } from "./errors.ts";
import { heartbeatsBytesMax, heartbeatsMax } from "./limits.ts";

const version = 1;

const schema = z.object({
  version: z.literal(version),
  envelopes: z.array(z.instanceof(Uint8Array)).max(heartbeatsMax),
});

/** Puts encoded envelopes into one body: at most `heartbeatsMax` of them. */
export function encodeHeartbeats(envelopes: readonly Uint8Array[]): Uint8Array {
  return encodeCbor({ version, envelopes: [...envelopes] });
}

/** An envelope, and the bytes that it came as. */
export interface Heartbeat {
  readonly bytes: Uint8Array;
  readonly envelope: Envelope;
}

/**
 * The envelopes of such a body, each as it came. Errors: `corrupt`, also where one of them has items or cannot be read;
 * `too-large`, `unsupported-version`.
 */
export function decodeHeartbeats(body: Uint8Array): readonly Heartbeat[] {
  const what = "heartbeats";
  const { envelopes } = parseCborDocument(body, { what, version, bytesMax: heartbeatsBytesMax, schema });
  return envelopes.map((bytes) => {
    const envelope = decodeEnvelope(bytes);
    if (envelope.items.length === 0) return { bytes, envelope };
    throw new PageferryError("corrupt", `${what}: the envelope of ${envelope.database} has items`);
  });
}
