// The HTTP side of a restore: the manifest of a point, and the objects that it names.

import { type DatabaseName, type Manifest, manifestJson, PageferryError } from "@pageferry/format";
import type { Hono } from "hono";
import { createObjectServer, planManifest } from "./archive-api.ts";
import type { Parsed } from "./parsed.ts";
import { manifestRoute, objectRoute } from "./restore-schema.ts";
import { targetOf } from "./route.ts";
import { addRoute } from "./serve-route.ts";

export interface RestoreApiOptions {
  /** Keeps prune away from a point that somebody is about to restore. */
  readonly lease: (database: DatabaseName, point: Pick<Manifest, "generation" | "txId">) => Promise<void>;
}

export function addRestoreRoutes(app: Hono, options: RestoreApiOptions, { known, readersOf }: Parsed): void {
  const objects = createObjectServer();
  addRoute(app, manifestRoute, async ({ context, query, signal }) => {
    const readers = await readersOf(context, query.replica);
    const without = new Set(query.without ?? []);
    const manifest = await planManifest(readers, targetOf(query), { signal, without });
    await options.lease(await known(context), manifest);
    return context.json(manifestJson(manifest), 200, { "cache-control": "no-store" });
  });
  addRoute(app, objectRoute, async ({ context, query, signal }) => {
    const range = rangeOf(context.req.header("range"));
    const readers = await readersOf(context, query.replica);
    const chunks = await objects.open(readers, context.req.param("name") ?? "", { ...range, signal });
    const body = chunks instanceof ReadableStream ? chunks : ReadableStream.from(chunks);
    const headers = {
      "content-type": "application/octet-stream",
      "cache-control": "no-store",
      "accept-ranges": "bytes",
    };
    if (range === undefined) return new Response(body as ReadableStream, { headers });
    const last = range.offset + range.length - 1;
    const partial = {
      "content-range": `bytes ${range.offset}-${last}/*`,
      "content-length": String(range.length),
    };
    return new Response(body as ReadableStream, { status: 206, headers: { ...headers, ...partial } });
  });
}

/** `bytes=FIRST-LAST`; a restore knows where the things it wants end. */
function rangeOf(
  header: string | undefined,
): { readonly offset: number; readonly length: number } | undefined {
  if (header === undefined) return undefined;
  const [, first, last] = /^bytes=(\d{1,15})-(\d{1,15})$/.exec(header.trim()) ?? [];
  const [offset, end] = [Number(first), Number(last)];
  if (first === undefined || last === undefined || end < offset) {
    throw new PageferryError(
      "bad-request",
      `range ${JSON.stringify(header.slice(0, 40))} is not bytes=FIRST-LAST`,
    );
  }
  return { offset, length: end - offset + 1 };
}
