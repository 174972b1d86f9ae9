// The HTTP side of a download: objects of an archive, and a restored database itself, whole or in ranges. docs/operations.md#restore-over-http.

import { createHash } from "node:crypto";
import {
  formatStateHash,
  formatTxId,
  PageferryError,
  type RestorePlan,
  type RestoreTarget,
  type TxId,
} from "@pageferry/format";
import { restoreFile } from "@pageferry/format/node";
import type { Context, Hono } from "hono";
import { type AcknowledgeOptions, requireAcknowledged } from "./acknowledged.ts";
import type { ArchiveApi, ArchivePlace } from "./archive-api.ts";
import { askedRange, contentRange } from "./http-range.ts";
import { withoutIdleTimeout } from "./idle-timeout.ts";
import { streamImage } from "./image-stream.ts";
import type { ArchiveParsed } from "./manifest-api.ts";
import { objectRoute, restoreRoute } from "./manifest-schema.ts";
import type { ImageFacts, RestoredImages } from "./restored-images.ts";
import { targetOf } from "./route.ts";
import { addRoute, type Call } from "./serve-route.ts";
import { isMutableName } from "./store.ts";

export interface DownloadApiOptions extends AcknowledgeOptions {
  /** Without it the host sends no databases, but manifests and objects. */
  readonly images?: RestoredImages;
  /** A larger database is not sent: where the host cannot. Default: any size is. */
  readonly streamBytesMax?: number;
}

export function addDownloadRoutes(
  app: Hono,
  { images, ...more }: DownloadApiOptions,
  parsed: ArchiveParsed,
): void {
  addRoute(app, objectRoute, (call) => answerObject(call, parsed));
  if (images === undefined) return;
  addRoute(app, restoreRoute, (call) => answerRestore(call, { ...more, images }, parsed));
}

async function answerObject(
  { context, query, signal }: Call<typeof objectRoute>,
  { placeOf, objects }: ArchiveParsed,
): Promise<Response> {
  const { readers } = await placeOf(context, query.replica);
  const found = await objects.find(readers, context.req.param("name") ?? "", { signal });
  const { name, size } = found;
  // What may be replaced has no name for its bytes.
  const etag = isMutableName(name) ? undefined : `"${digestOf([name, String(size)])}"`;
  const headers = {
    "content-type": "application/octet-stream",
    "cache-control": "no-store",
    ...(etag === undefined ? {} : { etag }),
  };
  return answerBytes(context, { size, etag, headers }, async (range) =>
    bodyOf(await objects.open(readers, found, { ...range, signal })),
  );
}

function bodyOf(chunks: AsyncIterable<Uint8Array>): ReadableStream {
  return (chunks instanceof ReadableStream ? chunks : ReadableStream.from(chunks)) as ReadableStream;
}

interface Representation {
  readonly size: number;
  readonly etag: string | undefined;
  readonly headers: Readonly<Record<string, string>>;
}

/** Answers with bytes, or the part of them that is asked for; `open` is not called where only headers are. */
async function answerBytes(
  context: Context,
  { size, etag, headers: given }: Representation,
  open: (range: { readonly offset: number; readonly length: number }) => Promise<ReadableStream>,
): Promise<Response> {
  const headers = { ...given, "accept-ranges": "bytes" };
  const ask = { range: context.req.header("range"), ifRange: context.req.header("if-range") };
  const range = askedRange(ask, size, etag ?? "");
  if (range === "unsatisfiable") {
    const none = { "content-range": `bytes */${size}`, "content-length": "0" };
    return new Response(null, { status: 416, headers: { ...headers, ...none } });
  }
  const part = range ?? { offset: 0, length: size };
  const isHead = context.req.method === "HEAD";
  const partial = range === undefined ? {} : { "content-range": contentRange(range, size) };
  const body = isHead || part.length === 0 ? null : await open(part);
  return new Response(body, {
    status: range === undefined ? 200 : 206,
    headers: { ...headers, ...partial, "content-length": String(part.length) },
  });
}

async function answerRestore(
  { context, query, signal }: Call<typeof restoreRoute>,
  {
    images,
    profileOf,
    streamBytesMax = Number.POSITIVE_INFINITY,
  }: DownloadApiOptions & { readonly images: RestoredImages },
  { placeOf, archive }: ArchiveParsed,
): Promise<Response> {
  const { replica } = query;
  const place = await placeOf(context, replica);
  requireAcknowledged(place.database, query.acknowledge, { profileOf });
  const target = targetOf(query);
  refuseLooseResume(context, target);
  const { plan, ends } = await archive.plan(place, target, { signal });
  const { pages, pageSize, stateHash } = ends;
  const bytes = pages === undefined || pageSize === undefined ? undefined : pages * pageSize;
  const check = (size: number | undefined): void => {
    if (size !== undefined && size > streamBytesMax)
      throw tooLarge(place.database, plan, size, streamBytesMax);
  };
  check(bytes);
  const key = [place.database, plan.generation, plan.txId, replica ?? ""].join("\n");
  if (context.req.method === "HEAD") {
    const known = images.peek(key);
    const facts = known ?? (bytes === undefined ? undefined : factsOf(plan, { bytes, stateHash }));
    return headAnswer(context, place.database, plan, facts);
  }
  const order = {
    ...{ key, bytes: bytes ?? plan.snapshot.size },
    restore: (output: string, until: AbortSignal) => restoreImage(plan, place, archive, output, until),
  };
  const image = await withoutIdleTimeout(context, () => images.open(order, { signal }));
  let isSent = false;
  try {
    const { facts } = image;
    check(facts.bytes);
    const headers = headersOf(place.database, facts);
    return await answerBytes(context, { size: facts.bytes, etag: facts.etag, headers }, async (range) => {
      isSent = true;
      return streamImage(image, range);
    });
  } finally {
    if (!isSent) await image[Symbol.asyncDispose]();
  }
}

/**
 * Whoever goes on with a download must go on with the same database: "the newest" is another one by now. `curl -C -` sends a Range and says nothing
 * of what it has.
 */
function refuseLooseResume(context: Context, { txId, generation }: RestoreTarget): void {
  const isResume = /^\s*bytes\s*=/i.test(context.req.header("range") ?? "");
  const isExact = txId !== undefined && generation !== undefined;
  if (!isResume || isExact || context.req.header("if-range") !== undefined) return;
  throw new PageferryError("bad-request", "a part of a database is only given of a named one", {
    hint: "Name generation and txid, as x-pageferry-generation and x-pageferry-txid of the first answer, or send its ETag in If-Range.",
  });
}

function tooLarge(database: string, { generation, txId }: RestorePlan, size: number, max: number) {
  const manifest = `/v1/databases/${database}/manifest?generation=${generation}&txid=${formatTxId(txId)}`;
  return new PageferryError("too-large", `${database} is ${size} bytes, and this host sends at most ${max}`, {
    hint: `Restore by its manifest, ${manifest}, as \`pageferry restore\` does.`,
  });
}

async function restoreImage(
  plan: RestorePlan,
  place: ArchivePlace,
  archive: ArchiveApi,
  output: string,
  signal: AbortSignal,
): Promise<ImageFacts> {
  let used = plan;
  const result = await restoreFile({
    ...{ plan, output, signal, readers: place.readers, isScratch: true },
    async replan(without, { generation, txId }) {
      used = (await archive.plan(place, { generation, txId }, { signal, without })).plan;
      return used;
    },
  });
  return factsOf(used, { bytes: result.bytes, stateHash: result.stateHash });
}

function factsOf(plan: RestorePlan, known: Pick<ImageFacts, "bytes" | "stateHash">): ImageFacts {
  const { generation, txId, stampMs } = plan;
  const names = [plan.snapshot, ...plan.steps].map(({ name }) => name);
  const state = known.stateHash === undefined ? "unknown" : formatStateHash(known.stateHash);
  const etag = `"${generation}-${formatTxId(txId)}-${state}-${digestOf(names).slice(0, 8)}"`;
  return { ...known, generation, txId, stampMs, etag };
}

function headersOf(database: string, facts: Omit<ImageFacts, "bytes">): Record<string, string> {
  const { generation, stampMs, stateHash, etag } = facts;
  const time = stampMs === null ? {} : { "x-pageferry-timestamp": new Date(stampMs).toISOString() };
  const hash = stateHash === undefined ? {} : { "x-pageferry-state-hash": formatStateHash(stateHash) };
  return {
    "content-type": "application/octet-stream",
    "content-disposition": `attachment; filename="${fileName(database, facts.txId)}"`,
    "cache-control": "no-store",
    "x-pageferry-generation": generation,
    "x-pageferry-txid": formatTxId(facts.txId),
    ...time,
    ...hash,
    etag,
  };
}

/** A database's name is safe in a header, and in a directory. */
function fileName(database: string, txId: TxId): string {
  return `${database}-${formatTxId(txId)}.db`;
}

/** What can be told without a restore; of some archives that is not the length. */
function headAnswer(
  context: Context,
  database: string,
  plan: RestorePlan,
  facts: ImageFacts | undefined,
): Response | Promise<Response> {
  if (facts === undefined || facts.stateHash === undefined) {
    const { etag: _, ...headers } = headersOf(database, factsOf(plan, { bytes: 0, stateHash: undefined }));
    const length: Record<string, string> =
      facts === undefined ? {} : { "content-length": String(facts.bytes) };
    return new Response(null, { headers: { ...headers, ...length, "accept-ranges": "bytes" } });
  }
  const { bytes: size, etag } = facts;
  const headers = headersOf(database, facts);
  return answerBytes(context, { size, etag, headers }, () =>
    Promise.reject(new Error("a HEAD opens nothing")),
  );
}

function digestOf(words: readonly string[]): string {
  return createHash("sha256").update(words.join("\n")).digest("hex").slice(0, 32);
}
