// What the page's addresses and forms may hold. Everything is bounded; what is not as expected is told, or left out where it only chooses what is seen.

import { PageferryError, parseGeneration, parseTxId, type RestoreTarget } from "@pageferry/format";
import { z } from "zod";
import type { Window } from "./window.ts";

/** A time as a browser's form gives it, without a zone, is in UTC: the form says so. */
const timeSchema = z
  .string()
  .max(40)
  .transform((text, context) => {
    const hasZone = /(?:[Zz]|[+-]\d{2}:?\d{2})$/.test(text);
    const ms = /^\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}/.test(text)
      ? Date.parse(hasZone ? text : `${text}Z`)
      : Number.NaN;
    if (Number.isFinite(ms)) return ms;
    context.addIssue({ code: "custom", message: "a time such as 2026-11-22T13:07:11Z is expected" });
    return z.NEVER;
  });

export const overviewQuerySchema = z.object({
  q: z.string().max(64).catch(""),
  page: z.coerce.number().int().min(1).max(100_000).catch(1),
});

const windowQuerySchema = z.object({ from: timeSchema.optional(), to: timeSchema.optional() });

/** Transaction ids are 16 hex digits in links, and what a person types: hex with a letter in it, or shorter decimal, as at the command line. */
const pointQuerySchema = z.object({
  timestamp: timeSchema.optional(),
  txid: z.string().trim().max(20).optional(),
  generation: z.string().max(16).optional(),
});

/** Text out of a form's field: what is empty was not filled in. */
const nameField = z
  .string()
  .max(16 * 1024)
  .optional()
  .transform((text) => (text === "" ? undefined : text));

/** What to see of the inside of a backup; docs/operations.md#look-inside says how names are written. */
export const inspectQuerySchema = z.object({
  path: z
    .string()
    .max(16 * 1024)
    .default(""),
  key: nameField,
  after: nameField,
  prefix: nameField,
  at: z.coerce.number().int().min(0).max(Number.MAX_SAFE_INTEGER).catch(0),
  as: z.enum(["hex"]).optional().catch(undefined),
});

export type InspectQuery = z.output<typeof inspectQuerySchema>;

export const signInFormSchema = z.object({
  token: z.string().max(1024).optional(),
  code: z.string().max(64).optional(),
  to: z.string().max(2048).optional(),
});

export const acknowledgeFormSchema = z.object({ acknowledge: z.string().max(64).default("") });

export const pinFormSchema = z.object({
  txid: z.string().max(20),
  generation: z.string().max(16),
  note: z.string().max(200).optional(),
});

/** Reads what came by a schema. Errors: `bad-request`, which names the field and repeats nothing. */
export function parseAs<Schema extends z.ZodType>(schema: Schema, value: unknown): z.output<Schema> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw new PageferryError(
    "bad-request",
    `${issue?.path.join(".") ?? ""}: ${issue?.message ?? "it is not as expected"}`,
    {
      cause: result.error,
    },
  );
}

export function windowIn(query: Readonly<Record<string, string>>): Partial<Window> {
  const { from, to } = parseAs(windowQuerySchema, query);
  return { ...(from === undefined ? {} : { fromMs: from }), ...(to === undefined ? {} : { toMs: to }) };
}

/** What to restore; nothing: the newest. */
export function targetIn(query: Readonly<Record<string, string>>): RestoreTarget {
  const { timestamp, txid, generation } = parseAs(pointQuerySchema, query);
  return {
    ...(timestamp === undefined ? {} : { timestampMs: timestamp }),
    ...(txid === undefined || txid === "" ? {} : { txId: parseTxId(txid) }),
    ...(generation === undefined ? {} : { generation: parseGeneration(generation) }),
  };
}

/** A path of this host, and of nothing else; `/` for what is none. */
export function pathIn(to: string | undefined): string {
  const base = "http://here.invalid";
  if (to === undefined || !/^\/(?![/\\])/.test(to) || !URL.canParse(to, base)) return "/";
  const url = new URL(to, base);
  return url.origin === base && (url.pathname === "/" || url.pathname.startsWith("/db/"))
    ? `${url.pathname}${url.search}`
    : "/";
}
