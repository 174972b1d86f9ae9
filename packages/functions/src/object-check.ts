// Is an object of an archive what its name says, and whole? Read to its end, in little memory, wherever the bytes come from.

import {
  decodePack,
  decodeSegmentAsync,
  decodeSnapshot,
  type ObjectName,
  PageferryError,
  packBytesMax,
  parseGenerationJson,
  parseObjectName,
  type RangeObjectName,
  type SegmentHeader,
  segmentState,
  type TxId,
  verifySegmentStream,
} from "@pageferry/format";
import { gather } from "./body.ts";
import { checkCompanions } from "./companions-put.ts";

/** generation.json is a few hundred bytes. */
const generationJsonBytesMax = 64 * 1024;

/** Segments up to this are decoded; of larger ones only the checksum is verified, in little memory. */
const decodedBytesMax = 8 * 1024 * 1024;

/** A pack has its segments' bytes, and an index. */
const packObjectBytesMax = packBytesMax + packBytesMax / 8;

/**
 * Reads an object to its end and holds it against its name and its own checksums. What the Go implementation wrote has fewer of these.
 * Errors: `corrupt`, `too-large`, `unsupported-version`, `bad-name` for what is no object of an archive, what reading throws.
 */
export async function checkObject(name: string, chunks: AsyncIterable<Uint8Array>): Promise<void> {
  const parsed = parseObjectName(name);
  switch (parsed?.kind) {
    case "generation":
      return checkBegin(parsed, chunks);
    case "snapshot":
      return checkSnapshot(parsed, chunks);
    case "segment": {
      const { parentTxId, txId } = await readSegment(chunks);
      return checkRange(parsed, parentTxId, txId);
    }
    case "pack":
      return checkPack(parsed, chunks);
    case "files":
      return checkCompanions(parsed.name, chunks);
    default:
      throw new PageferryError("bad-name", `object ${name.slice(0, 120)} is none that can be verified`);
  }
}

type NameOf<Kind extends ObjectName["kind"]> = Extract<ObjectName, { readonly kind: Kind }>;

async function checkBegin(name: NameOf<"generation">, chunks: AsyncIterable<Uint8Array>): Promise<void> {
  const { generation } = parseGenerationJson(await gather(chunks, generationJsonBytesMax, name.name));
  if (generation !== name.generation) {
    throw new PageferryError("corrupt", `object ${name.name}: is of generation ${generation}`);
  }
}

async function checkSnapshot(name: NameOf<"snapshot">, chunks: AsyncIterable<Uint8Array>): Promise<void> {
  const { raw, header } = decodeSnapshot(chunks);
  for await (const _part of raw);
  const { txId } = await header;
  if (txId !== name.txId) {
    throw new PageferryError("corrupt", `object ${name.name}: is of transaction ${txId}`);
  }
}

async function checkPack(name: RangeObjectName, chunks: AsyncIterable<Uint8Array>): Promise<void> {
  const items = decodePack(await gather(chunks, packObjectBytesMax, name.name));
  for (const { entry, bytes } of items) {
    const { header } = await decodeSegmentAsync(bytes);
    const { pre, post, stampMs } = segmentState(header);
    const isAsListed =
      header.txId === entry.txId &&
      header.parentTxId === entry.parentTxId &&
      pre === entry.pre &&
      post === entry.post &&
      stampMs === entry.stampMs;
    if (!isAsListed)
      throw new PageferryError(
        "corrupt",
        `object ${name.name}: its index and its segment ${entry.txId} disagree`,
      );
  }
  checkRange(name, items[0]?.entry.parentTxId, items.at(-1)?.entry.txId);
}

/** A small segment is decoded as a restore does: its outer header, which no checksum covers, is held against the inner one. */
async function readSegment(chunks: AsyncIterable<Uint8Array>): Promise<SegmentHeader> {
  const iterator = chunks[Symbol.asyncIterator]();
  const taken: Uint8Array[] = [];
  let size = 0;
  try {
    while (size <= decodedBytesMax) {
      const { done, value } = await iterator.next();
      if (done === true) return (await decodeSegmentAsync(Buffer.concat(taken))).header;
      taken.push(value);
      size += value.length;
    }
    return await verifySegmentStream(goingOn(taken, iterator));
  } finally {
    await iterator.return?.();
  }
}

async function* goingOn(
  taken: readonly Uint8Array[],
  iterator: AsyncIterator<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  yield* taken;
  for (let next = await iterator.next(); next.done !== true; next = await iterator.next()) yield next.value;
}

function checkRange(name: RangeObjectName, parentTxId: TxId | undefined, txId: TxId | undefined): void {
  // A Go-made name tells the last transaction only.
  const isIt = txId === name.lastTxId && parentTxId !== undefined && parentTxId === name.firstTxId - 1n;
  if (isIt) return;
  throw new PageferryError(
    "corrupt",
    `object ${name.name}: holds (${parentTxId}, ${txId}], not what its name says`,
  );
}

/**
 * Hands chunks on while they are checked, and throws at the end, before the last word is out, when they do not hold: a store that is given
 * them stores nothing then.
 */
export async function* checkedOnTheWay(
  name: string,
  chunks: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
  const writer = writable.getWriter();
  const verdict = checkObject(name, readable);
  // It is asked for below; until then, and for those who leave early, it must not count as unhandled.
  verdict.catch(() => undefined);
  writer.closed.catch(() => undefined);
  try {
    for await (const chunk of chunks) {
      try {
        await writer.write(chunk);
      } catch (cause) {
        // The check has ended before the object has: it says why.
        await verdict;
        throw new PageferryError("corrupt", `object ${name}: goes on after its end`, { cause });
      }
      yield chunk;
    }
    await writer.close().catch(() => undefined);
    await verdict;
  } finally {
    await writer.abort().catch(() => undefined);
  }
}
