// Who works on an archive now, so that two hosts of one replica do not do the same work twice. It saves work and nothing else: every task
// is safe to be done by both at once, so a lease that is lost, broken or ignored does no harm.

import { isPageferryError } from "@pageferry/format";
import { z } from "zod";
import type { RootedStore } from "./rooted-store.ts";
import type { CallOptions } from "./store.ts";

/** A lease is one line of JSON. */
const leaseBytesMax = 4096;

/** Who is silent for so long has died; a clock that is wrong keeps nobody away for longer. */
const leaseMs = 10 * 60_000;

const leaseSchema = z.object({
  version: z.literal(1),
  holder: z.string().max(200),
  expiresAtMs: z.number(),
});

export interface WorkLeaseOptions extends CallOptions {
  /** A word for the task: `compact`. */
  readonly task: string;
  /** Who works: a word of its own for each host. */
  readonly holder: string;
  readonly now: () => number;
}

/** Carries `work` out, unless somebody else says that they do; `undefined` then. */
export async function withWorkLease<Result>(
  store: RootedStore,
  { task, holder, now, signal }: WorkLeaseOptions,
  work: () => Promise<Result>,
): Promise<Result | undefined> {
  const name = `marks/work-${task}.json`;
  const held = await read(store, name, { signal });
  const leftMs = held === undefined ? 0 : held.expiresAtMs - now();
  if (held !== undefined && held.holder !== holder && leftMs > 0 && leftMs <= leaseMs) return undefined;
  // One that cannot be written keeps nobody away, and stops no work.
  const write = (expiresAtMs: number) =>
    store.replace(name, Buffer.from(`${JSON.stringify({ version: 1, holder, expiresAtMs })}\n`), { signal });
  await write(now() + leaseMs).catch(() => signal?.throwIfAborted());
  try {
    return await work();
  } finally {
    // Its end is told so that nobody waits for it; who cannot tell it is waited for.
    await write(now()).catch(() => undefined);
  }
}

async function read(store: RootedStore, name: string, call: CallOptions) {
  try {
    const text = new TextDecoder().decode(await store.read(name, leaseBytesMax, call));
    return leaseSchema.parse(JSON.parse(text));
  } catch (error) {
    call.signal?.throwIfAborted();
    if (isPageferryError(error) && error.remedy === "retry") throw error;
    return undefined;
  }
}
