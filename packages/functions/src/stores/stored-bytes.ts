// The bytes that are stored, read to be compared with those that come.

import { isPageferryError } from "@pageferry/format";

/**
 * Passes them on. Where what is stored changed, or cannot be read as what it was found to be, `conflict` is thrown: any other
 * code would be taken for a word on the bytes that come.
 */
export async function* storedBytes(
  chunks: AsyncIterable<Uint8Array>,
  conflict: (cause: unknown) => Error,
): AsyncGenerator<Uint8Array> {
  try {
    yield* chunks;
  } catch (error) {
    const isOther = isPageferryError(error, "corrupt") || isPageferryError(error, "bad-name");
    throw isOther ? conflict(error) : error;
  }
}
