// Looking inside a backup over HTTP: buckets and keys of a point, and one value. Off unless the configuration turns it on, and every use is
// told with everything but what was looked at: backups hold secrets. docs/operations.md#look-inside.

import {
  type BucketEntry,
  bytesOfName,
  counted,
  formatTxId,
  getValue,
  listBucket,
  nameOfBytes,
  PageferryError,
  parseBucketPath,
} from "@pageferry/format";
import type { Hono } from "hono";
import { askedRange } from "./http-range.ts";
import type { Looks } from "./inspect-looks.ts";
import type { PointOrder } from "./inspect-points.ts";
import { type InspectLs, inspectGetRoute, inspectLsRoute } from "./inspect-schema.ts";
import type { Parsed } from "./parsed.ts";
import { targetOf } from "./route.ts";
import { addRoute, type Call } from "./serve-route.ts";

/** One answer holds so much of a value; more is asked for by ranges. */
export const valueBytesMax = 64 * 1024 * 1024;

export function addInspectRoutes(app: Hono, looks: Looks, { placeOf }: Pick<Parsed, "placeOf">): void {
  addRoute(app, inspectLsRoute, async (call) => {
    const order = await orderOf(call, placeOf);
    looks.requireOn();
    return answerLs(call, looks, order);
  });
  addRoute(app, inspectGetRoute, async (call) => {
    const order = await orderOf(call, placeOf);
    looks.requireOn();
    return answerGet(call, looks, order);
  });
}

async function answerLs(
  { context, query, signal }: Call<typeof inspectLsRoute>,
  { look }: Looks,
  order: PointOrder,
): Promise<Response> {
  const { path, after, prefix, limit } = query;
  const buckets = parseBucketPath(path);
  const listOptions = { limit, signal, after: nameOf(after), prefix: nameOf(prefix) };
  const use = { depth: buckets.length, call: "ls", signal } as const;
  const { plan, listing } = await look(context, order, use, async ({ plan, pages }) => ({
    plan,
    listing: await listBucket(pages, buckets, listOptions),
  }));
  if (listing === undefined) throw nothing(`no bucket of this path, ${counted(buckets.length, "name")} long`);
  const { generation, txId, stampMs } = plan;
  const answer: InspectLs = {
    ...{ generation, txid: formatTxId(txId), path: buckets.map(nameOfBytes).join("/") },
    time: stampMs === null ? null : new Date(stampMs).toISOString(),
    entries: listing.entries.map(entryJson),
    next: listing.next === undefined ? null : nameOfBytes(listing.next),
  };
  return context.json(answer, 200, noStore);
}

function entryJson(entry: BucketEntry): InspectLs["entries"][number] {
  const key = nameOfBytes(entry.key);
  if (entry.kind === "key") return { key, kind: "key", bytes: entry.valueBytes };
  return { key, kind: "bucket", root: entry.root, sequence: entry.sequence.toString() };
}

async function answerGet(
  { context, query, signal }: Call<typeof inspectGetRoute>,
  { look }: Looks,
  order: PointOrder,
): Promise<Response> {
  const buckets = parseBucketPath(query.path);
  const name = bytesOfName(query.key);
  const use = { depth: buckets.length, call: "get", signal } as const;
  const found = await look(context, order, use, async ({ pages }) => {
    const value = await getValue(pages, buckets, name, { signal });
    if (value === undefined || value === "bucket") return value;
    const range = askedRange({ range: context.req.header("range"), ifRange: undefined }, value.bytes, "");
    if (range === "unsatisfiable") return { none: value.bytes };
    const { offset: start, length } = range ?? { offset: 0, length: value.bytes };
    const end = start + length;
    if (end - start > valueBytesMax) throw tooLarge(value.bytes);
    const pieces = value.read(start, end);
    // What is broken is told by the status, not in the middle of an answer, as far as the first piece can tell.
    const first = await pieces.next();
    return {
      body: firstThenRest(first, pieces),
      bytes: value.bytes,
      start,
      end,
      isPart: range !== undefined,
    };
  });
  if (found === undefined)
    throw nothing(`no such key in a bucket of this path, ${counted(buckets.length, "name")} long`);
  if (found === "bucket")
    throw new PageferryError("bad-request", "this key is a bucket", { hint: "List it with …/inspect/ls." });
  if ("none" in found) {
    const headers = { ...valueHeaders, "content-range": `bytes */${found.none}`, "content-length": "0" };
    return new Response(null, { status: 416, headers });
  }
  const { start, end, bytes, isPart } = found;
  const partial = { "content-range": `bytes ${start}-${end - 1}/${bytes}` };
  return new Response(ReadableStream.from(found.body) as ReadableStream, {
    status: isPart ? 206 : 200,
    headers: { ...valueHeaders, "content-length": String(end - start), ...(isPart ? partial : {}) },
  });
}

function tooLarge(bytes: number): PageferryError {
  return new PageferryError("too-large", `a value of ${bytes} bytes, one answer has ${valueBytesMax}`, {
    hint: "Ask for it by parts, with a Range header.",
  });
}

async function* firstThenRest(
  first: IteratorResult<Uint8Array, void>,
  rest: AsyncGenerator<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  if (first.done === true) return;
  yield first.value;
  yield* rest;
}

const noStore = { "cache-control": "no-store" };

/** A value may be a page of HTML, and is never shown as one. */
const valueHeaders = {
  ...noStore,
  "content-type": "application/octet-stream",
  "content-disposition": 'attachment; filename="value"',
  "x-content-type-options": "nosniff",
  "accept-ranges": "bytes",
};

async function orderOf(
  { context, query }: Call<typeof inspectLsRoute> | Call<typeof inspectGetRoute>,
  placeOf: Parsed["placeOf"],
): Promise<PointOrder> {
  const { replica } = query;
  return { ...(await placeOf(context, replica)), target: targetOf(query), replica };
}

function nameOf(text: string | undefined): Uint8Array | undefined {
  return text === undefined ? undefined : bytesOfName(text);
}

function nothing(what: string): PageferryError {
  return new PageferryError("not-found", `${what}, at this point`, {
    hint: "List what there is with …/inspect/ls, from the empty path on.",
  });
}
