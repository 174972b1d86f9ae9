// Many envelopes without items in one body, so that a thousand idle databases are one request every few seconds. Both directions.
// See docs/format.md#envelope.
import { z } from "zod";
import { decodeCbor, encodeCbor } from "./cbor.ts";
import { decodeEnvelope, type Envelope } from "./envelope.ts";
import { PageferryError } from "./errors.ts";
import { firstIssue } from "./generation-json.ts";
import { heartbeatsBytesMax, heartbeatsMax } from "./limits.ts";

const heartbeatsVersion = 1;

const heartbeatsSchema = z.object({
  version: z.literal(heartbeatsVersion),
  envelopes: z.array(z.instanceof(Uint8Array)).max(heartbeatsMax),
});

/** Puts encoded envelopes into one body: at most `heartbeatsMax` of them. */
export function encodeHeartbeats(envelopes: readonly Uint8Array[]): Uint8Array {
  return encodeCbor({ version: heartbeatsVersion, envelopes: [...envelopes] });
}

/**
 * The envelopes of such a body, each as it came. Errors: `corrupt`, also where one of them has items or cannot be read;
 * `too-large`, `unsupported-version`.
 */
export function decodeHeartbeats(
  bytes: Uint8Array,
): readonly { readonly bytes: Uint8Array; readonly envelope: Envelope }[] {
  if (bytes.length > heartbeatsBytesMax) {
    throw new PageferryError(
      "too-large",
      `heartbeats: ${bytes.length} bytes, at most ${heartbeatsBytesMax} are taken`,
    );
  }
  const value = decodeCbor(bytes, "heartbeats");
  const version: unknown = value instanceof Map ? value.get("version") : undefined;
  if ((typeof version === "number" || typeof version === "bigint") && version > heartbeatsVersion) {
    throw new PageferryError(
      "unsupported-version",
      `heartbeats: version ${version}, this program reads ${heartbeatsVersion}`,
    );
  }
  const result = heartbeatsSchema.safeParse(value instanceof Map ? Object.fromEntries(value) : value);
  if (!result.success) {
    throw new PageferryError("corrupt", `heartbeats: ${firstIssue(result.error)}`, { cause: result.error });
  }
  return result.data.envelopes.map((one) => {
    const envelope = decodeEnvelope(one);
    if (envelope.items.length === 0) return { bytes: one, envelope };
    throw new PageferryError("corrupt", `heartbeats: the envelope of ${envelope.database} has items`);
  });
}
