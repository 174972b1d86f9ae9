// The Range header (RFC 9110, section 14): from its text and a length to the bytes that are asked for. Pure.

import { PageferryError } from "@pageferry/format";

/** Bytes of a representation. `length` is above 0. */
export interface HttpRange {
  readonly offset: number;
  readonly length: number;
}

/** What an If-Range and a Range ask for: a range, all of it (`undefined`), or what is not there. */
export type AskedRange = HttpRange | "unsatisfiable" | undefined;

export interface RangeHeaders {
  readonly range: string | undefined;
  readonly ifRange: string | undefined;
}

/**
 * The bytes that are asked for of a representation of `size` bytes with this strong ETag. Other units and several ranges at once are passed
 * over, which is allowed; what is no range of bytes is `bad-request`.
 */
export function askedRange({ range, ifRange }: RangeHeaders, size: number, etag: string): AskedRange {
  const [, list] = /^\s*bytes\s*=\s*(.*?)\s*$/i.exec(range ?? "") ?? [];
  if (list === undefined || list.includes(",")) return undefined;
  const [, first = "", last = ""] = /^(\d{0,15})-(\d{0,15})$/.exec(list) ?? [];
  const [from, to] = [Number(first), Number(last)];
  if ((first === "" && last === "") || (first !== "" && last !== "" && to < from)) {
    const text = JSON.stringify((range ?? "").slice(0, 40));
    throw new PageferryError(
      "bad-request",
      `range ${text} is not bytes=FIRST-LAST, bytes=FIRST- or bytes=-COUNT`,
    );
  }
  // Somebody who has a part of another state gets the whole of this one.
  if (ifRange !== undefined && ifRange.trim() !== etag) return undefined;
  const offset = first === "" ? Math.max(0, size - to) : from;
  const end = first === "" || last === "" ? size : Math.min(size, to + 1);
  return end <= offset ? "unsatisfiable" : { offset, length: end - offset };
}

/** The header of an answer with a part. */
export function contentRange({ offset, length }: HttpRange, size: number): string {
  return `bytes ${offset}-${offset + length - 1}/${size}`;
}
