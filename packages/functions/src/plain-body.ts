// Bodies as they are: what is compressed would have to be unpacked before its size is known, and nothing of ours is sent so.

import { PageferryError } from "@pageferry/format";
import type { Context, Next } from "hono";

/** Of a body, and of the line it comes on: what each may be. */
const plain = { "content-encoding": "identity", "transfer-encoding": "chunked" } as const;

/** Refuses a request whose body is packed in some way. */
export async function requirePlainBody(context: Context, next: Next): Promise<void> {
  for (const [name, only] of Object.entries(plain)) {
    const given = context.req.header(name);
    if (given !== undefined && given.trim().toLowerCase() !== only)
      throw new PageferryError("unsupported-media", `${name} is ${given.slice(0, 40)}, and none is taken`);
  }
  await next();
}
