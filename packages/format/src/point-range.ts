// The pages that one step of a plan brings: of a large segment by its page index, one frame at a time; small segments and packs are decoded
// once, and held as long as the cache does.

import { type DerivedMeta, type MetaFields, metaSlot } from "./bolt/meta.ts";
import type { Weighed } from "./byte-cache.ts";
import { checkRuns } from "./chain.ts";
import { PageferryError } from "./errors.ts";
import { fromObject, type ObjectSource, type PointSource, placeBytes } from "./point-source.ts";
import { readRawBytes, tableFrames } from "./raw-frames.ts";
import { checkName, decodePartsAsync, metaOf, type Part, type PartFacts, partFacts } from "./restore-part.ts";
import type { PlanStep } from "./restore-plan.ts";
import { readFrame } from "./seek-reader.ts";
import { isBareSegment } from "./segment-bare.ts";
import { segmentWords } from "./segment-header.ts";
import { openSegment, type SegmentRanges } from "./segment-range.ts";

/** Below it one read is cheaper than the four that parts need. */
const smallBytes = 4 * 1024 * 1024;

/** One step, opened. */
export interface RangePages {
  readonly name: string;
  /** Its segments that lead from `from` to `to`, oldest first. */
  readonly parts: readonly PartFacts[];
  /** The block of a page that a part's runs hold. Throws `corrupt` naming the object. */
  page(part: number, pageId: number, signal: AbortSignal | undefined): Promise<Uint8Array>;
  /** The meta of a part without a meta page. */
  deriveMeta(part: number, signal: AbortSignal | undefined): Promise<DerivedMeta>;
}

/** The same in one reader. */
interface OpenedCopy {
  readonly parts: readonly PartFacts[];
  page(part: number, pageId: number, from: ObjectSource): Promise<Uint8Array | undefined>;
  deriveMeta(part: number, from: ObjectSource): Promise<DerivedMeta>;
}

/** Opens a step. Errors: `corrupt`, `too-large`, `unsupported-version`, `not-found`, what the readers throw. */
export async function openRangePages(
  source: PointSource,
  step: PlanStep,
  signal: AbortSignal | undefined,
): Promise<RangePages> {
  const copies = new Map<string, OpenedCopy>();
  const copyIn = async (from: ObjectSource): Promise<OpenedCopy> => {
    const copy = copies.get(from.reader) ?? (await openCopy(source, step, from));
    copies.set(from.reader, copy);
    return copy;
  };
  const { parts } = await fromObject(source, step, signal, copyIn);
  return {
    name: step.name,
    parts,
    page: (part, pageId, until) =>
      fromObject(source, step, until, async (from) => {
        const bytes = await (await copyIn(from)).page(part, pageId, from);
        if (bytes !== undefined) return bytes;
        throw new PageferryError("corrupt", `page ${pageId} is not in this copy`);
      }),
    deriveMeta: (part, until) =>
      fromObject(source, step, until, async (from) => (await copyIn(from)).deriveMeta(part, from)),
  };
}

async function openCopy(source: PointSource, step: PlanStep, from: ObjectSource): Promise<OpenedCopy> {
  if (step.kind === "segment" && from.parts.size > smallBytes) {
    const isBare = isBareSegment(await from.parts.read(0, 4)) === true;
    const ranges = isBare ? undefined : await openSegment(from.parts);
    if (ranges !== undefined) return openRanged(source, step, from, ranges);
  }
  return openWhole(source, step, from);
}

async function openWhole(source: PointSource, step: PlanStep, first: ObjectSource): Promise<OpenedCopy> {
  const load = (from: ObjectSource): Promise<readonly Part[]> =>
    source.cache.get(`${from.key}\n${step.from}-${step.to}`, async (): Promise<Weighed<readonly Part[]>> => {
      const bytes = await from.whole(source.wholeBytesMax);
      const value = await decodePartsAsync(step, bytes, source.wholeBytesMax);
      return { value, bytes: value.reduce((sum, { frames }) => sum + bytesOf(frames), 0) };
    });
  const parts = (await load(first)).map(({ facts }) => facts);
  for (const { runs } of parts) source.onHold(runs.byteLength);
  return {
    parts,
    async page(at, pageId, from) {
      const part = (await load(from))[at];
      if (part === undefined) return undefined;
      const { runs, pageSize } = part.facts;
      const run = findRun(runs, pageId);
      if (run === undefined) return undefined;
      const offset = (pageId - (runs[run * 2] as number)) * pageSize;
      return part.frames[run]?.subarray(offset, offset + pageSize);
    },
    async deriveMeta(at, from) {
      const part = (await load(from))[at];
      if (part === undefined) throw new PageferryError("corrupt", `${step.name}: holds no segment ${at}`);
      return part.deriveMeta();
    },
  };
}

function bytesOf(frames: readonly Uint8Array[]): number {
  return frames.reduce((sum, frame) => sum + frame.length, 0);
}

async function openRanged(
  source: PointSource,
  step: PlanStep,
  first: ObjectSource,
  { header, runs, data, frames }: SegmentRanges,
): Promise<OpenedCopy> {
  checkName(step, header.parentTxId, header.txId);
  const last = runs.at(-1);
  checkRuns(header, runs.length, last === undefined ? 0n : last.pageId + last.count);
  const what = segmentWords(header);
  const { pageSize } = header;
  const places = tableFrames(frames);
  const offsets = Float64Array.from(runs, ({ offset }) => Number(offset));
  const read = (offset: number, length: number, from: ObjectSource): Promise<Uint8Array> =>
    readRawBytes(places, offset, length, ({ index }) =>
      source.cache.get(`${from.key}\n#${index}`, async () => {
        const value = await readFrame(from.parts, data, frames[index] as (typeof frames)[number], what);
        return { value, bytes: value.length };
      }),
    );
  const known = partFacts(header, runs, undefined);
  source.onHold(known.runs.byteLength + offsets.byteLength + frames.length * placeBytes);
  const page: OpenedCopy["page"] = async (_part, pageId, from) => {
    const run = findRun(known.runs, pageId);
    if (run === undefined) return undefined;
    const inside = (pageId - (known.runs[run * 2] as number)) * pageSize;
    return read((offsets[run] as number) + inside, pageSize, from);
  };
  const readMeta = async (): Promise<MetaFields | undefined> => {
    const slot = metaSlot(header.txId);
    const block = await page(0, slot, first);
    return block === undefined ? undefined : metaOf(header, { id: BigInt(slot), data: block });
  };
  const meta = await readMeta();
  // What was made without its meta page says where its root is only as a whole.
  return {
    parts: [{ ...known, meta }],
    page,
    deriveMeta: async (part, from) => (await openWhole(source, step, from)).deriveMeta(part, from),
  };
}

/** Which run (pairs: first page, count; ascending) holds a page. */
export function findRun(runs: Uint32Array, pageId: number): number | undefined {
  let low = 0;
  let high = runs.length / 2;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const first = runs[middle * 2] as number;
    if (pageId < first) high = middle;
    else if (pageId >= first + (runs[middle * 2 + 1] as number)) low = middle + 1;
    else return middle;
  }
  return undefined;
}
