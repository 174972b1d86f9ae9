// What makes a configuration forgiving to read and its errors helpful: ${ENV} expansion, key paths, the nearest known key.

import { PageferryError } from "./errors.ts";

/** A place in a configuration, outermost key first. */
export type KeyPath = readonly PropertyKey[];

/** Writes a path as people do: `replicas[0].bucket`. */
export function formatKeyPath(path: KeyPath): string {
  return path
    .map((key, at) => (typeof key === "number" ? `[${key}]` : `${at > 0 ? "." : ""}${String(key)}`))
    .join("");
}

/** A configuration nested deeper than this is a mistake or an attack. */
const depthMax = 16;

/**
 * Replaces `${NAME}` and `${NAME:-default}` in every text of `value` with what `env` holds; `$${` stands for `${`.
 * A variable that is not set, and has no default, is `bad-config` with the place that asked for it. A key without a value (null) is
 * left out, as if it were not written.
 */
export function expandEnvironment(
  value: unknown,
  env: Readonly<Record<string, string | undefined>>,
  path: KeyPath = [],
): unknown {
  if (path.length > depthMax)
    throw new PageferryError("bad-config", `${formatKeyPath(path)}: nested too deep`);
  if (typeof value === "string") return expandText(value, env, path);
  if (Array.isArray(value)) return value.map((item, at) => expandEnvironment(item, env, [...path, at]));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, item]) => item !== null)
      .map(([key, item]) => [key, expandEnvironment(item, env, [...path, key])]),
  );
}

function expandText(text: string, env: Readonly<Record<string, string | undefined>>, path: KeyPath): string {
  return text.replace(/\$?\$\{([^}]*)\}/g, (whole, inside: string) => {
    if (whole.startsWith("$$")) return whole.slice(1);
    const [, name = "", fallback] = /^([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?$/s.exec(inside) ?? [];
    if (name === "")
      throw new PageferryError("bad-config", `${formatKeyPath(path)}: ${whole} is not a variable`);
    const value = env[name] || fallback;
    if (value === undefined) {
      throw new PageferryError("bad-config", `${formatKeyPath(path)}: the variable ${name} is not set`);
    }
    return value;
  });
}

/** The value at `path`, or undefined where the path leads nowhere. */
export function valueAt(root: unknown, path: KeyPath): unknown {
  let value = root;
  for (const key of path) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, key)) return undefined;
    value = Reflect.get(value, key);
  }
  return value;
}

/** The candidate that `key` most likely means: the same but for case and dashes, or few letters away; else undefined. */
export function nearestKey(key: string, candidates: readonly string[]): string | undefined {
  const wanted = plain(key);
  const ranked = candidates
    .map((candidate) => ({ candidate, distance: distance(wanted, plain(candidate)) }))
    .sort((a, b) => a.distance - b.distance);
  const best = ranked[0];
  return best !== undefined && best.distance <= Math.max(2, Math.floor(wanted.length / 3))
    ? best.candidate
    : undefined;
}

function plain(key: string): string {
  return key
    .toLowerCase()
    .replace(/[-_.\s]/g, "")
    .slice(0, 64);
}

/** Levenshtein's distance: letters to add, drop or change. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, at) => at);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const changed = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(changed, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
