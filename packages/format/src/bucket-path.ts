// Names of buckets and keys as text, for URLs, JSON and terminals: readable where that is safe, and any bytes at all. Both directions.
// See docs/operations.md#look-inside.

import { PageferryError } from "./errors.ts";

/** How a name begins that is written in hex digits. */
const hexPrefix = "hex:";

/** Buckets inside of buckets that one path may name; applications nest a handful. */
const depthMax = 64;

/** bolt's own bound of a name. */
const nameBytesMax = 32_768;

/** Controls, formats such as those that turn the direction of writing, unassigned characters, and line ends. */
const unprintable = /[\p{C}\p{Zl}\p{Zp}]/u;

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** A name as text: itself where it is printable and unmistakable, else `hex:` and its bytes. `bytesOfName` gives the same bytes again. */
export function nameOfBytes(bytes: Uint8Array): string {
  const text = printable(bytes);
  const isPlain = text !== undefined && text !== "" && !text.includes("/") && !text.startsWith(hexPrefix);
  return isPlain ? text : `${hexPrefix}${Buffer.from(bytes).toString("hex")}`;
}

function printable(bytes: Uint8Array): string | undefined {
  try {
    const text = utf8.decode(bytes);
    return unprintable.test(text) ? undefined : text;
  } catch {
    return undefined;
  }
}

/** The bytes of a name: `hex:` and hex digits, else the UTF-8 of the text, whatever it is. Throws `bad-request`, which does not repeat it. */
export function bytesOfName(name: string): Uint8Array {
  const isHex = name.startsWith(hexPrefix);
  const digits = name.slice(hexPrefix.length);
  if (isHex && !/^(?:[0-9a-f]{2})+$/i.test(digits))
    throw badName("what follows hex: is not an even number of hex digits");
  const bytes = isHex ? Buffer.from(digits, "hex") : Buffer.from(name, "utf8");
  if (bytes.length === 0) throw badName("it is empty");
  if (bytes.length > nameBytesMax) throw badName(`it has ${bytes.length} bytes, at most ${nameBytesMax}`);
  return new Uint8Array(bytes);
}

function badName(why: string): PageferryError {
  return new PageferryError("bad-request", `a name of a bucket or key: ${why}`, {
    hint: "A name is text, or hex: and its bytes. One that holds a slash is written in hex; see docs/operations.md#look-inside.",
  });
}

/** Names with slashes between them, from the root bucket on; the empty text is the root. Throws `bad-request`. */
export function parseBucketPath(text: string): Uint8Array[] {
  if (text === "") return [];
  const names = text.split("/");
  if (names.length > depthMax)
    throw new PageferryError("bad-request", `a path of ${names.length} buckets, at most ${depthMax}`);
  return names.map(bytesOfName);
}
