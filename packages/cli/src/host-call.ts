// Calls of a host's routes, by the values that the host serves them by: where they lie, and what their answers must be.

import { type ErrorCode, errorTable, PageferryError } from "@pageferry/format";
import { answerSchema, type ParamsOf, type QueryInputOf, type Route } from "@pageferry/functions/routes";

/** What a route is called with. */
export interface CallOf<Declared extends Route> {
  readonly params: ParamsOf<Declared["path"]>;
  readonly query?: Readonly<QueryInputOf<Declared>>;
  readonly signal: AbortSignal;
}

/** A flag as a query has it: what is not set is not sent. */
export function asFlag(isSet: boolean | undefined): "true" | undefined {
  return isSet === true ? "true" : undefined;
}

/** Where a route lies at a host, whose base is `http://HOST:PORT`, with a path before it where a proxy adds one. */
export function urlOf<Declared extends Route>(
  base: string,
  { path }: Declared,
  { params, query }: Omit<CallOf<Declared>, "signal">,
): string {
  const values = params as Readonly<Record<string, string>>;
  const filled = path.replace(/:(\w+)(?:\{[^}]*\})?/g, (_, name: string) =>
    (values[name] ?? "").split("/").map(encodeURIComponent).join("/"),
  );
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {})) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== undefined) search.append(name, String(one));
    }
  }
  return `${base}${filled}${search.size === 0 ? "" : `?${search}`}`;
}

/**
 * Takes an answer for what its route declares: checked, and left as it is, so that what a newer host adds is kept. An error may come after hours, in an answer whose status
 * was sent long before: then that is thrown. Errors: `unavailable` for anything else.
 */
export function checkAnswer(declared: Route, answer: unknown, where: string): unknown {
  const found = answerSchema(declared)?.safeParse(answer);
  if (found === undefined || found.success) return answer;
  if (declared.isLate) throwProblem(answer);
  const [issue] = found.error.issues;
  const at = issue === undefined || issue.path.length === 0 ? "" : ` (${issue.path.join(".")})`;
  throw new PageferryError("unavailable", `${where}: the answer is not one of a host${at}`, {
    cause: found.error,
    hint: "Name the host itself: http://HOST:PORT. A host of another version may answer otherwise.",
  });
}

function throwProblem(answer: unknown): void {
  const { code, detail, hint } = (answer ?? {}) as Partial<Record<"code" | "detail" | "hint", unknown>>;
  const isKnown = typeof code === "string" && Object.hasOwn(errorTable, code);
  if (!isKnown || typeof detail !== "string") return;
  throw new PageferryError(code as ErrorCode, detail, typeof hint === "string" ? { hint } : {});
}
