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
  // A manifest has tens of thousands of fields, and somebody in need waits for it: plain loops, no lists of lists.
  let text = "";
  if (Array.isArray(value)) {
    for (const one of value) text += `${text === "" ? "" : ","}${canonicalJson(one, depth + 1)}`;
    return `[${text}]`;
  }
  const fields = value as Readonly<Record<string, unknown>>;
  for (const key of Object.keys(fields).sort()) {
    const field = fields[key];
    if (field === undefined) continue;
    text += `${text === "" ? "" : ","}${JSON.stringify(key)}:${canonicalJson(field, depth + 1)}`;
  }
  return `{${text}}`;
}
