// The body of one of our own forms: small, of the type that a form without files has, and sent from our own page.

import { PageferryError } from "@pageferry/format";
import type { Context } from "hono";
import { createBodyReader } from "../request-body.ts";
import { mayChange } from "./same-origin.ts";

/** A token, a path and a note are two KB. */
const formBytesMax = 16 * 1024;

export interface FormReader {
  /** The form's fields. Errors: `forbidden` (sent from elsewhere), `bad-request`, `too-large`. */
  read(context: Context): Promise<Readonly<Record<string, string>>>;
}

export function createFormReader(): FormReader {
  const bodies = createBodyReader();
  return {
    async read(context) {
      if (!mayChange(context.req.raw.headers)) throw foreign();
      const type = context.req.header("content-type")?.split(";")[0]?.trim().toLowerCase();
      if (type !== "application/x-www-form-urlencoded")
        throw new PageferryError("bad-request", "a form is expected");
      const text = new TextDecoder().decode(await bodies.read(context, formBytesMax));
      return Object.fromEntries(new URLSearchParams(text));
    },
  };
}

/** A form that somebody else's page sent with our cookie. */
export function foreign(): PageferryError {
  return new PageferryError("forbidden", "this was not sent from a page of this host", {
    hint: "Open the page by the address under which you signed in. A proxy before the host must pass on the Host header.",
  });
}
