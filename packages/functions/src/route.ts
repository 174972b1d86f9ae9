// A route as a value: where it is, what it takes, what it answers. serve-route.ts serves and describes it, and a client calls it by the same
// value, so that neither can say what the other does not. It imports nothing of the host. docs/decisions/0009 says why.

import {
  type ErrorCode,
  isPageferryError,
  PageferryError,
  parseDuration,
  parseGeneration,
  parseTxId,
  type RestoreTarget,
} from "@pageferry/format";
import { z } from "zod";

/** The chapters of the reference, in its order. */
export const tags = {
  databases: "What is backed up, how it stands, and what can be restored.",
  restore: "What a restore is made of.",
  work: "What an operator asks for by hand. Answers may take hours: they begin at once, with spaces, and end with the report, or with a problem.",
  agent: "Between an agent and its host.",
  host: "The host itself.",
} as const;

/** An answer that is no JSON of ours. */
export interface PlainAnswer {
  readonly description: string;
  /** Its media type; without one it has no body. */
  readonly type?: string;
}

export interface Route {
  readonly method: "get" | "post" | "put" | "delete";
  /** As hono writes it. `:database`, `:digest` and `:name{.+}` are known. */
  readonly path: string;
  readonly tag: keyof typeof tags;
  readonly summary: string;
  readonly description?: string;
  /** A strict object: a parameter that is misspelt must not be taken for one that is absent. */
  readonly query?: z.ZodObject;
  readonly body?: { readonly type: string; readonly description: string };
  /** Success, by status: JSON by its schema, or something else. */
  readonly answers: Readonly<Record<number, z.ZodType | PlainAnswer>>;
  /** Its report comes at the end, after the status: late-answer.ts. */
  readonly isLate?: true;
  /** Asked again and again: it has an ETag, and is answered 304 where nothing changed. */
  readonly isPolled?: true;
  /** What it may fail with besides what every route may. */
  readonly errors?: readonly ErrorCode[];
}

/** Keeps a route's own types. */
export function route<const Declared extends Route>(declared: Declared): Declared {
  return declared;
}

/** What a route's query is parsed to. */
export type QueryOf<Declared extends Route> = Declared["query"] extends z.ZodType
  ? z.output<Declared["query"]>
  : Readonly<Record<never, never>>;

/** The same as it is sent. */
export type QueryInputOf<Declared extends Route> = Declared["query"] extends z.ZodType
  ? z.input<Declared["query"]>
  : Readonly<Record<never, never>>;

/** What stands in a route's path. */
export type ParamsOf<Path extends string> = Path extends `${string}:${infer Name}/${infer Rest}`
  ? Readonly<Record<Bare<Name>, string>> & ParamsOf<`/${Rest}`>
  : Path extends `${string}:${infer Name}`
    ? Readonly<Record<Bare<Name>, string>>
    : Readonly<Record<never, never>>;

type Bare<Name extends string> = Name extends `${infer Word}{${string}` ? Word : Name;

/** The JSON that a route answers with. */
export type AnswerOf<Declared extends Route> = {
  [Status in keyof Declared["answers"]]: Declared["answers"][Status] extends z.ZodType
    ? DeepReadonly<z.output<Declared["answers"][Status]>>
    : never;
}[keyof Declared["answers"]];

export type DeepReadonly<Value> = Value extends string | number | boolean | bigint | null | undefined
  ? Value
  : { readonly [Key in keyof Value]: DeepReadonly<Value[Key]> };

/** The schema of the JSON that a route answers with; `undefined` where it answers with something else. */
export function answerSchema({ answers }: Route): z.ZodType | undefined {
  return Object.values(answers).find((answer) => answer instanceof z.ZodType);
}

/** A text that a parser reads, and the pattern that says what it takes. What it throws keeps its code, and gets the name of the parameter. */
export function parsedBy<Value>(
  parse: (text: string) => Value,
  { pattern, example }: { readonly pattern: string; readonly example: string },
) {
  return z
    .string()
    .meta({ pattern, examples: [example] })
    .transform((text, context) => {
      try {
        return parse(text);
      } catch (error) {
        if (!isPageferryError(error)) throw error;
        context.addIssue({ code: "custom", message: error.message, params: { code: error.code } });
        return z.NEVER;
      }
    });
}

/** `true` or `false`; absent is false. */
export function flag(description: string) {
  return z
    .enum(["true", "false"])
    .optional()
    .transform((word) => word === "true")
    .meta({ description });
}

/** What a database may be called. */
export const databaseText = { pattern: "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", example: "app" };

/** In addresses durations are short: some decades at most, and no fractions of milliseconds. */
const durationPattern = "^([0-9]{1,5}(\\.[0-9]{1,3})?(ms|s|m|h)|[0-9]{1,4}d){1,3}$";

/** A duration, in milliseconds. */
export function durationSchema(example: string) {
  const parse = (text: string): number => {
    if (new RegExp(durationPattern).test(text)) return parseDuration(text);
    const given = JSON.stringify(text.slice(0, 40));
    throw new PageferryError("bad-request", `${given} is not a duration such as "5m", "1h30m" or "7d"`);
  };
  return parsedBy(parse, { pattern: durationPattern, example });
}

export const replicaSchema = z
  .string()
  .min(1)
  .max(1024)
  .optional()
  .meta({ description: "Only this replica, as the status names it.", examples: ["file:///mnt/backup"] });

/** Which point is meant; nothing is the newest. */
export const targetShape = {
  txid: parsedBy(parseTxId, { pattern: "^([0-9a-fA-F]{16}|[0-9]{1,15})$", example: "00000000000004d2" })
    .optional()
    .meta({
      description:
        "The transaction: 16 hex digits, or a decimal of at most 15. Not together with `timestamp`.",
    }),
  timestamp: z.iso
    .datetime({ offset: true, error: "RFC 3339 is expected, such as 2026-11-22T13:07:11Z" })
    .max(40)
    .optional()
    .meta({
      description: "The newest point that is not later, RFC 3339.",
      examples: ["2026-11-22T13:07:11Z"],
    }),
  generation: parsedBy(parseGeneration, { pattern: "^[0-9a-f]{16}$", example: "9f86d081884c7d65" })
    .optional()
    .meta({ description: "Of this generation: 16 hex digits." }),
};

/** The point that a query with `targetShape` means. */
export function targetOf({
  txid,
  timestamp,
  generation,
}: z.output<z.ZodObject<typeof targetShape>>): RestoreTarget {
  return {
    ...(txid === undefined ? {} : { txId: txid }),
    ...(timestamp === undefined ? {} : { timestampMs: Date.parse(timestamp) }),
    ...(generation === undefined ? {} : { generation }),
  };
}

/** In answers: a transaction. */
export const txIdJson = z
  .string()
  .regex(/^[0-9a-f]{16}$/)
  .meta({ description: "A transaction: 16 hex digits.", examples: ["00000000000004d2"] });

/** In answers: a generation. */
export const generationJson = z
  .string()
  .regex(/^[0-9a-f]{16}$/)
  .meta({ description: "A generation: 16 hex digits.", examples: ["9f86d081884c7d65"] });

/** In answers: RFC 3339 in UTC. */
export const timeJson = z
  .string()
  .meta({ format: "date-time", description: "RFC 3339, in UTC.", examples: ["2026-11-22T13:07:11.402Z"] });

/** In answers: how many. */
export const countJson = z.int().min(0);
