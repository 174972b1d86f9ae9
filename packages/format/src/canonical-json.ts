// One text for one JSON value, whatever order its keys came in: what a signature is made over (RFC 8785, for what JSON.parse gives).

import { PageferryError } from "./errors.ts";

/** Deeper than any document of ours. */
const depthMax = 64;

/** The value without spaces, keys in the order of their UTF-16 units. Numbers that are none are `bad-request`; undefined is left out. */
export function canonicalJson(value: unknown, depth = 0): string {
  if (depth > depthMax)
    throw new PageferryError("bad-request", `JSON is nested more than ${depthMax} levels`);
  if (typeof value === "number" && !Number.isFinite(value))
    throw new PageferryError("bad-request", `${value} is no number of JSON`);
  if (value === null || typeof value !== "object") return JSON.stringify(value) ?? "null";
  if (Array.isArray(value)) return `[${value.map((one) => canonicalJson(one, depth + 1)).join(",")}]`;
  const fields = Object.entries(value)
    .filter(([, field]) => field !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, field]) => `${JSON.stringify(key)}:${canonicalJson(field, depth + 1)}`);
  return `{${fields.join(",")}}`;
}
