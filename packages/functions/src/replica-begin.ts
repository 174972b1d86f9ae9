// How a generation began, written once per replica; the first to arrive writes it.

import {
  formatGenerationJson,
  formatTxId,
  type GenerationBegin,
  generationJsonName,
  isPageferryError,
  PageferryError,
} from "@pageferry/format";
import type { PutOutcome, PutTarget } from "./replica-put.ts";
import type { CallOptions } from "./store.ts";

/** Writes generation.json unless it is there; one that tells another beginning is a `fork`, and is kept. */
export async function putBegin(
  target: PutTarget,
  begin: GenerationBegin,
  receivedAtMs: number,
  options: CallOptions = {},
): Promise<PutOutcome> {
  const { store, index } = target;
  const known = (await index.ready(options)).of(begin.generation).begin;
  if (known !== null) return compare(begin, known);
  const document = { version: 1, ...begin, receivedAtMs } as const;
  try {
    await store.put(generationJsonName(begin.generation), formatGenerationJson(document), options);
    index.begun(document);
    return { kind: "stored" };
  } catch (error) {
    if (!isPageferryError(error, "conflict")) throw error;
    return compareStored(target, begin, options);
  }
}

async function compareStored(
  target: PutTarget,
  begin: GenerationBegin,
  options: CallOptions,
): Promise<PutOutcome> {
  const { generation } = begin;
  try {
    const stored = await target.index.readBegin(generation, options);
    if (stored === null)
      throw new PageferryError("unavailable", `generation.json of ${generation} was removed meanwhile`);
    target.index.begun(stored);
    return compare(begin, stored);
  } catch (error) {
    if (!isPageferryError(error, "corrupt") && !isPageferryError(error, "unsupported-version")) throw error;
    return {
      kind: "fork",
      why: `generation ${generation} began with something that cannot be read: ${error.message}`,
      isUnreadable: true,
    };
  }
}

/** The host's name and the time may change, the history may not. */
function compare(begin: GenerationBegin, stored: GenerationBegin): PutOutcome {
  const [mine, theirs] = [words(begin), words(stored)];
  if (mine === theirs) return { kind: "present" };
  return { kind: "fork", why: `generation ${begin.generation} began with ${theirs}, this one with ${mine}` };
}

function words({ parent, epoch, pageSize }: GenerationBegin): string {
  const from = parent === null ? "no parent" : `parent ${parent.generation} at ${formatTxId(parent.txId)}`;
  return `${from}, epoch ${epoch}, page size ${pageSize}`;
}
