// Looking inside a backup over HTTP: buckets and keys of a point, and one value. Off unless the configuration turns it on, and every use is
// told with everything but what was looked at: backups hold secrets. docs/operations.md#look-inside.

import {
  type ArchiveReader,
  type BucketEntry,
  bytesOfName,
  type DatabaseName,
  formatTxId,
  getValue,
  listBucket,
  nameOfBytes,
  PageferryError,
  parseBucketPath,
  type RestorePlan,
  type RestoreTarget,
} from "@pageferry/format";
import type { Context, Hono } from "hono";
import type { z } from "zod";
import { grantOfCall } from "./access.ts";
import { createInspectPoints, type InspectPoints, type PointOrder } from "./inspect-points.ts";
import { type InspectLs, inspectGetQuerySchema, inspectLsQuerySchema } from "./inspect-schema.ts";
import type { WantedPoint } from "./retention.ts";

/** One answer holds so much of a value; more is asked for by ranges. */
const valueBytesMax = 64 * 1024 * 1024;

/** One use, as it is logged. */
export interface InspectUse {
  readonly database: DatabaseName;
  readonly generation: string;
  readonly txid: string;
  /** Buckets in the path. */
  readonly depth: number;
  readonly call: "ls" | "get";
  /** The token's id. */
  readonly token: string;
}

export interface InspectApiOptions {
  /** Absent: nobody may look inside. */
  readonly inspect?: { readonly onUse: (use: InspectUse) => void } | undefined;
  readonly readers: (database: DatabaseName) => Promise<readonly ArchiveReader[]>;
  readonly lease: (database: DatabaseName, point: WantedPoint) => Promise<void>;
}

/** What the rest of the API knows of a request. */
interface Parsed {
  readonly known: (context: Context) => Promise<DatabaseName>;
  readonly targetOf: (context: Context) => RestoreTarget;
}

export function addInspectRoutes(app: Hono, options: InspectApiOptions, parsed: Parsed): void {
  const points = createInspectPoints({
    readers: async (database, replica) => readersNamed(await options.readers(database), replica),
    lease: options.lease,
    now: () => performance.now(),
  });
  app.get("/v1/databases/:database/inspect/ls", (context) => answerLs(context, options, parsed, points));
  app.get("/v1/databases/:database/inspect/get", (context) => answerGet(context, options, parsed, points));
}

async function answerLs(context: Context, options: InspectApiOptions, parsed: Parsed, points: InspectPoints) {
  const onUse = requireOn(options);
  const { path, after, prefix, limit } = parsedQuery(inspectLsQuerySchema, context);
  const order = await orderOf(context, parsed);
  const buckets = parseBucketPath(path);
  const { signal } = context.req.raw;
  const listOptions = { limit, signal, after: nameOf(after), prefix: nameOf(prefix) };
  const { plan, listing } = await points.use(order, { signal }, async ({ plan, pages }) => {
    onUse(useOf(context, order, plan, buckets.length, "ls"));
    return { plan, listing: await listBucket(pages, buckets, listOptions) };
  });
  if (listing === undefined) throw nothing(`no bucket of this path, ${buckets.length} names long`);
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
  context: Context,
  options: InspectApiOptions,
  parsed: Parsed,
  points: InspectPoints,
): Promise<Response> {
  const onUse = requireOn(options);
  const { path, key } = parsedQuery(inspectGetQuerySchema, context);
  const order = await orderOf(context, parsed);
  const buckets = parseBucketPath(path);
  const name = bytesOfName(key);
  const { signal } = context.req.raw;
  const found = await points.use(order, { signal }, async ({ plan, pages }) => {
    onUse(useOf(context, order, plan, buckets.length, "get"));
    const value = await getValue(pages, buckets, name, { signal });
    if (value === undefined || value === "bucket") return value;
    const range = rangeIn(context.req.header("range"), value.bytes);
    const { start, end } = range ?? { start: 0, end: value.bytes };
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
    throw nothing(`no such key in a bucket of this path, ${buckets.length} names long`);
  if (found === "bucket")
    throw new PageferryError("bad-request", "this key is a bucket", { hint: "List it with …/inspect/ls." });
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

function requireOn({ inspect }: InspectApiOptions): (use: InspectUse) => void {
  if (inspect !== undefined) return inspect.onUse;
  throw new PageferryError("forbidden", "this host does not let anybody look inside its backups", {
    hint: "Set `inspect: true` in its configuration; docs/operations.md#look-inside says what that means.",
  });
}

async function orderOf(context: Context, { known, targetOf }: Parsed): Promise<PointOrder> {
  return { database: await known(context), target: targetOf(context), replica: context.req.query("replica") };
}

function nameOf(text: string | undefined): Uint8Array | undefined {
  return text === undefined ? undefined : bytesOfName(text);
}

function useOf(
  context: Context,
  { database }: PointOrder,
  { generation, txId }: RestorePlan,
  depth: number,
  call: InspectUse["call"],
): InspectUse {
  return { database, generation, txid: formatTxId(txId), depth, call, token: grantOfCall(context).id };
}

/** The message names the parameter, never its value. */
function parsedQuery<Schema extends z.ZodType>(schema: Schema, context: Context): z.output<Schema> {
  const result = schema.safeParse(context.req.query());
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw new PageferryError("bad-request", `${issue?.path.join(".") || "query"}: ${issue?.message}`);
}

function nothing(what: string): PageferryError {
  return new PageferryError("not-found", `${what}, at this point`, {
    hint: "List what there is with …/inspect/ls, from the empty path on.",
  });
}

function readersNamed(
  readers: readonly ArchiveReader[],
  wanted: string | undefined,
): readonly ArchiveReader[] {
  if (wanted === undefined) return readers;
  const found = readers.filter(({ name }) => name === wanted || name.startsWith(`${wanted}/`));
  if (found.length > 0) return found;
  throw new PageferryError("not-found", `replica ${wanted.slice(0, 200)} is not configured`, {
    hint: `There are ${readers.map(({ name }) => name).join(", ")}.`,
  });
}

/** `bytes=FIRST-LAST` or `bytes=FIRST-`, within the value. */
function rangeIn(
  header: string | undefined,
  bytes: number,
): { readonly start: number; readonly end: number } | undefined {
  if (header === undefined) return undefined;
  const [, first, last] = /^bytes=(\d{1,15})-(\d{0,15})$/.exec(header.trim()) ?? [];
  const start = Number(first);
  const end = last ? Math.min(Number(last) + 1, bytes) : bytes;
  if (first !== undefined && start < end) return { start, end };
  throw new PageferryError("bad-request", `the range does not lie in the value's ${bytes} bytes`, {
    hint: "Write bytes=FIRST-LAST, from 0 on.",
  });
}
