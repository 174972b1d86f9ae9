// The query of a call, read by its schema.

import { PageferryError } from "@pageferry/format";
import type { Context } from "hono";
import type { z } from "zod";

/** The query as a schema reads it. Errors: `bad-request`, which names what does not parse. */
export function parsedQuery<Schema extends z.ZodType>(schema: Schema, { req }: Context): z.infer<Schema> {
  const { data, error } = schema.safeParse(req.query());
  if (error === undefined) return data as z.infer<Schema>;
  const [first] = error.issues;
  throw new PageferryError("bad-request", `${first?.path.join(".") ?? "query"}: ${first?.message ?? ""}`);
}
