// Which methods a path knows, for those who use another one.

import type { Hono } from "hono";

/** The methods that routes of the app have for a path, without those that stand before all; none: the path is not known. */
export function methodsAt(app: Pick<Hono, "routes">, path: string): readonly string[] {
  const found = app.routes.filter((route) => route.method !== "ALL" && matches(route.path, path));
  const methods = new Set(found.map(({ method }) => method));
  if (methods.has("GET")) methods.add("HEAD");
  return [...methods].sort();
}

/** As the router has it: `:word` is one part of the path, `:word{.+}` all that is left of it. */
function matches(pattern: string, path: string): boolean {
  const [wanted, given] = [pattern.split("/"), path.split("/")];
  const hasRest = wanted.at(-1)?.endsWith("{.+}") === true;
  if (hasRest ? given.length < wanted.length : given.length !== wanted.length) return false;
  return wanted.every((part, at) => (part.startsWith(":") ? given[at] !== "" : part === given[at]));
}
