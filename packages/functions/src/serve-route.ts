// Serves a route that route.ts declares, and describes it for the document: the one place that knows how hono-openapi does it.

import { type ErrorCode, errorTable, PageferryError, parseDatabaseName } from "@pageferry/format";
import type { Context, Hono } from "hono";
import { describeRoute, resolver, validator } from "hono-openapi";
import { z } from "zod";
import { accessOf } from "./access.ts";
import { answerWithEtag } from "./etag.ts";
import { answerInTheEnd } from "./late-answer.ts";
import { problemSchema, statusOf } from "./problem.ts";
import {
  type AnswerOf,
  databaseText,
  type PlainAnswer,
  parsedBy,
  type QueryOf,
  type Route,
} from "./route.ts";

/** A request, as far as its route parses it. */
export interface Call<Declared extends Route> {
  readonly context: Context;
  readonly query: QueryOf<Declared>;
  readonly signal: AbortSignal;
}

/** A report that may take hours. What is known to be wrong at once is thrown instead, and has a status of its own. */
export interface Late<Report> {
  readonly inTheEnd: Promise<Report>;
}

type Answered<Declared extends Route> = Declared["isLate"] extends true
  ? Late<AnswerOf<Declared>>
  : AnswerOf<Declared> | Response;

/** What every route may fail with. */
const commonErrors: readonly ErrorCode[] = ["bad-request", "unsupported-media", "unavailable"];

/** And those that ask for a token. */
const guardErrors: readonly ErrorCode[] = ["unauthorized", "forbidden", "too-many"];

const paramSchemas = {
  database: parsedBy(parseDatabaseName, databaseText).meta({
    description: "The name of a database: a letter or digit, then at most 63 of A-Z a-z 0-9 . _ -",
  }),
  digest: z.string().meta({
    description: "The SHA-256 of the body, in hex.",
    examples: ["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"],
    pattern: "^[0-9a-f]{64}$",
  }),
  name: z.string().meta({
    description: "The name of an object, as a manifest gives it. Its slashes may stand as they are.",
    examples: ["9f86d081884c7d65/snapshots/2026-11-22T13:07:11.402000000Z-00000000000004d2.snapshot.cbor"],
  }),
} as const;

/** Adds the route. What `answer` gives is sent as JSON with the first status that the route declares, unless it is a Response. */
export function addRoute<const Declared extends Route>(
  app: Hono,
  declared: Declared,
  answer: (call: Call<Declared>) => Answered<Declared> | Promise<Answered<Declared>>,
): void {
  const { method, path, query: querySchema = z.strictObject({}) } = declared;
  const params = paramsOf(path);
  app.on(
    method.toUpperCase(),
    path,
    describeRoute(described(declared)),
    validator("param", params, refuse),
    validator("query", querySchema, refuse),
    async (context) => {
      const { signal } = context.req.raw;
      const query = (context.req as unknown as { valid(target: "query"): QueryOf<Declared> }).valid("query");
      const answered: unknown = await answer({ context, query, signal });
      return withoutBodyForHead(context, respond(context, declared, answered));
    },
  );
}

function respond(context: Context, declared: Route, answered: unknown): Response {
  if (answered instanceof Response) return answered;
  if (declared.isLate === true) {
    return answerInTheEnd((answered as Late<unknown>).inTheEnd, context);
  }
  const text = JSON.stringify(answered);
  if (declared.isPolled === true) return answerWithEtag(context, text, "application/json");
  const status = Number(Object.keys(declared.answers)[0]);
  return new Response(text, {
    status,
    headers: { "content-type": "application/json", "cache-control": "no-store" },
  });
}

/** What nobody will read must not stay open. */
async function withoutBodyForHead(context: Context, response: Response): Promise<Response> {
  if (context.req.method !== "HEAD" || response.body === null) return response;
  await response.body.cancel();
  return new Response(null, response);
}

function paramsOf(path: string): z.ZodObject {
  const names = Object.keys(paramSchemas) as (keyof typeof paramSchemas)[];
  const own = names.filter((name) => path.split("/").some((part) => part.split("{")[0] === `:${name}`));
  return z.object(Object.fromEntries(own.map((name) => [name, paramSchemas[name]])));
}

interface Issue {
  readonly message: string;
  readonly path?: readonly unknown[] | undefined;
  readonly code?: string;
  readonly keys?: readonly string[];
  readonly params?: { readonly code?: ErrorCode };
}

/** Says which parameter is wrong, with its value and what is expected. */
function refuse(
  result: { readonly success: boolean; readonly error?: readonly Issue[]; readonly data?: unknown },
  _context: Context,
): void {
  if (result.success) return;
  const [issue] = result.error ?? [];
  if (issue?.code === "unrecognized_keys") {
    const names = (issue.keys ?? []).map(clipped).join(", ");
    throw new PageferryError("bad-request", `this call has no parameter ${names}`);
  }
  const name = String((issue?.path?.[0] as { readonly key?: unknown })?.key ?? issue?.path?.[0] ?? "query");
  // Our own words name the value.
  const value = issue?.code === "custom" ? "" : ` ${clipped((result.data as Record<string, unknown>)[name])}`;
  const code = issue?.params?.code ?? "bad-request";
  throw new PageferryError(code, `${name}${value}: ${issue?.message ?? "it does not parse"}`);
}

function clipped(value: unknown): string {
  const text = JSON.stringify(value) ?? "";
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}

function described(declared: Route): Parameters<typeof describeRoute>[0] {
  const { method, path, tag, summary, description, body } = declared;
  const access = accessOf(`${method.toUpperCase()} ${path}`);
  const isOpen = access === "open";
  const security = isOpen ? [] : access.scopes.map((scope) => ({ bearer: [scope] }));
  const needs = isOpen
    ? "Needs no token."
    : `Scope: ${access.scopes.map((scope) => `\`${scope}\``).join(" or ")}.`;
  return {
    ...{ tags: [tag], summary, security },
    description: description === undefined ? needs : `${description}\n\n${needs}`,
    ...(body === undefined
      ? {}
      : {
          requestBody: {
            required: true,
            description: body.description,
            content: { [body.type]: { schema: { type: "string", format: "binary" } as never } },
          },
        }),
    responses: {
      ...successes(declared),
      ...problems([...commonErrors, ...(isOpen ? [] : guardErrors), ...(declared.errors ?? [])], method),
    },
  };
}

function successes({ answers, isLate, isPolled }: Route) {
  const entries = Object.entries(answers).map(([status, answer]) => [status, success(answer, isLate)]);
  const unchanged = isPolled ? { 304: { description: "What If-None-Match names is still it." } } : {};
  return { ...Object.fromEntries(entries), ...unchanged };
}

function success(answer: z.ZodType | PlainAnswer, isLate: true | undefined) {
  if (!(answer instanceof z.ZodType)) {
    const { description, type } = answer;
    const schema = { type: "string", format: "binary" };
    return type === undefined ? { description } : { description, content: { [type]: { schema } } };
  }
  const schema = resolver(isLate ? z.union([answer, problemSchema]) : answer);
  const description = isLate ? "The report, or what it failed with." : (answer.description ?? "As asked.");
  return { description, content: { "application/json": { schema } } };
}

/** By status: which codes come with it, and when. */
function problems(codes: readonly ErrorCode[], method: Route["method"]) {
  const byStatus = new Map<number, Set<ErrorCode>>();
  for (const code of codes) {
    const status = statusOf(code, method === "post" || method === "put");
    byStatus.set(status, (byStatus.get(status) ?? new Set()).add(code));
  }
  const entries = [...byStatus].map(([status, found]) => {
    const lines = [...found].map((code) => `\`${code}\`: ${errorTable[code].when}`);
    const content = { "application/problem+json": { schema: resolver(problemSchema) } };
    return [status, { description: lines.join("\n\n"), content }];
  });
  return { ...Object.fromEntries(entries), 431: tooLong };
}

const tooLong = {
  description: "`too-large`: The address and the headers together are longer than 16 KiB.",
  content: { "application/problem+json": { schema: resolver(problemSchema) } },
};
