// A version of companion files into a replica. Its name is made of its content: the same again is nothing, and there is no history to judge.

import {
  type CompanionsName,
  companionsObjectBytesMax,
  decodeCompanions,
  isPageferryError,
} from "@pageferry/format";
import { gather } from "./body.ts";
import { attempted, type PutOutcome, type PutTarget } from "./replica-put.ts";
import type { CallOptions } from "./store.ts";

/** Reads a version to its end and holds it against its name and its checksums. Errors: as `decodeCompanions`. */
export async function checkCompanions(name: string, chunks: AsyncIterable<Uint8Array>): Promise<void> {
  await decodeCompanions(name, await gather(chunks, companionsObjectBytesMax, `object ${name}`));
}

/** Stores a version. Throws only the signal's reason. */
export async function putCompanions(
  { store, index }: PutTarget,
  name: CompanionsName,
  bytes: Uint8Array,
  options: CallOptions = {},
): Promise<PutOutcome> {
  const checked = await attempted("item", options.signal, async () => {
    await decodeCompanions(name.name, bytes);
    return { kind: "present" };
  });
  if (checked.kind === "failed") return checked;
  return attempted("replica", options.signal, async () => {
    const kind = await putOnce(store, name.name, bytes, options);
    index.companionsStored(name, bytes.length);
    return { kind };
  });
}

/** Other bytes under the name are the same version, compressed by another program, or broken: then this one waits in the dead letters. */
async function putOnce(
  store: PutTarget["store"],
  name: string,
  bytes: Uint8Array,
  options: CallOptions,
): Promise<"stored" | "present"> {
  try {
    return await store.put(name, bytes, options);
  } catch (error) {
    if (!isPageferryError(error, "conflict")) throw error;
    await checkCompanions(name, await store.get(name, options));
    return "present";
  }
}
