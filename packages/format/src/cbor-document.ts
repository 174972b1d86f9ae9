// Documents of ours in CBOR that have a version and a schema, read in one way.
import type { z } from "zod";
import { decodeCbor } from "./cbor.ts";
import { PageferryError } from "./errors.ts";
import { firstIssue } from "./generation-json.ts";

/** What a document is. */
export interface CborDocument<Fields> {
  /** Begins each message. */
  readonly what: string;
  readonly version: number;
  readonly bytesMax: number;
  /** Of the plain object that the outermost map is made into. */
  readonly schema: z.ZodType<Fields>;
}

/** Reads one. Errors: `corrupt`, `too-large`, `unsupported-version` for a later version. */
export function parseCborDocument<Fields>(
  bytes: Uint8Array,
  { what, version: known, bytesMax, schema }: CborDocument<Fields>,
): Fields {
  if (bytes.length > bytesMax) {
    throw new PageferryError("too-large", `${what}: ${bytes.length} bytes, at most ${bytesMax} are taken`);
  }
  const value = decodeCbor(bytes, what);
  const version: unknown = value instanceof Map ? value.get("version") : undefined;
  if ((typeof version === "number" || typeof version === "bigint") && version > known) {
    throw new PageferryError(
      "unsupported-version",
      `${what}: version ${version}, this program reads ${known}`,
    );
  }
  const result = schema.safeParse(value instanceof Map ? Object.fromEntries(value) : value);
  if (!result.success) {
    throw new PageferryError("corrupt", `${what}: ${firstIssue(result.error)}`, { cause: result.error });
  }
  return result.data;
}
