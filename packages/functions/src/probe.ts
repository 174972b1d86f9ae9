// Whether a store can be backed up to: everything that a backup does there is done once, with an object of its own that is removed.

import { isPageferryError, PageferryError } from "@pageferry/format";
import { gather } from "./body.ts";
import type { CallOptions, Difference, Retained, Store } from "./store.ts";

/** What a probe does, in order. */
export type ProbeStep =
  | "write"
  | "write again"
  | "refuse other bytes"
  | "read"
  | "read a range"
  | "list"
  | "delete";

/** What came of it. */
export interface ProbeResult {
  /** What was done, and how long each took. */
  readonly steps: readonly { readonly step: ProbeStep; readonly ms: number }[];
  /** The first step that failed; the rest was not tried, but for removing. */
  readonly failed: { readonly step: ProbeStep; readonly error: PageferryError } | undefined;
  readonly differences: readonly Difference[];
}

export interface ProbeOptions extends CallOptions {
  /** Makes the probe's name and bytes its own: 16 random bytes. */
  readonly random: Uint8Array;
}

const prefix = "pageferry-doctor-";

/** As long as a small segment. */
const probeBytes = 4096;

/** Probes a store. Nothing is thrown but the signal's reason. */
export async function probeStore(store: Store, { random, signal }: ProbeOptions): Promise<ProbeResult> {
  const id = Buffer.from(random).toString("hex");
  // Not below a directory, which some stores would keep.
  const name = `${prefix}${id}.probe`;
  const bytes = Buffer.alloc(probeBytes, random);
  const steps: { step: ProbeStep; ms: number }[] = [];
  let retained: readonly Retained[] = [];
  let failed: ProbeResult["failed"];
  const step = async (which: ProbeStep, act: () => Promise<void>): Promise<void> => {
    if (failed !== undefined && which !== "delete") return;
    const begunMs = performance.now();
    try {
      await act();
      if (failed === undefined) steps.push({ step: which, ms: Math.round(performance.now() - begunMs) });
    } catch (cause) {
      signal?.throwIfAborted();
      failed ??= { step: which, error: ours(cause) };
    }
  };
  const read = async (range: { readonly offset?: number; readonly length?: number }) =>
    gather(await store.get(name, { ...range, signal }), range.length ?? probeBytes, name);
  await step("write", async () => expect("stored", await store.put(name, bytes, { signal })));
  await step("write again", async () => expect("present", await store.put(name, bytes, { signal })));
  await step("refuse other bytes", () => refused(store, name, Buffer.alloc(probeBytes, 1), signal));
  await step("read", async () => expectBytes(bytes, await read({})));
  await step("read a range", async () =>
    expectBytes(bytes.subarray(100, 300), await read({ offset: 100, length: 200 })),
  );
  await step("list", () => listed(store, name, signal));
  await step("delete", async () => {
    retained = await store.remove([name], { signal });
  });
  const own = failed === undefined ? await store.differences?.().catch(() => []) : [];
  return { steps, failed, differences: [...(own ?? []), ...retained.slice(0, 1).map(kept)] };
}

/** What is kept costs money, and prune frees less than it says. */
function kept({ reason }: Retained): Difference {
  return reason === "locked"
    ? {
        what: "what is deleted stays until the bucket's lock lets it go",
        todo: "Let the lock be shorter than the retention, and see docs/replicas.md.",
      }
    : {
        what: "what is deleted stays as an older version, which is paid for",
        todo: "Let a rule of the bucket's lifecycle remove noncurrent versions, and see docs/replicas.md.",
      };
}

function ours(error: unknown): PageferryError {
  if (isPageferryError(error)) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new PageferryError("unavailable", message, { cause: error });
}

function expect(expected: string, was: string): void {
  if (was !== expected) throw new PageferryError("corrupt", `it said ${was} where ${expected} was expected`);
}

function expectBytes(expected: Uint8Array, was: Uint8Array): void {
  if (Buffer.compare(expected, was) !== 0)
    throw new PageferryError("corrupt", "other bytes came than were written");
}

async function refused(
  store: Store,
  name: string,
  bytes: Uint8Array,
  signal: AbortSignal | undefined,
): Promise<void> {
  try {
    await store.put(name, bytes, { signal });
  } catch (error) {
    if (isPageferryError(error, "conflict")) return;
    throw error;
  }
  throw new PageferryError("conflict", "an object was overwritten with other bytes", {
    hint: "Nothing that this store holds can be relied on; see docs/replicas.md.",
  });
}

async function listed(store: Store, name: string, signal: AbortSignal | undefined): Promise<void> {
  for await (const { name: found, size } of store.list(prefix, { signal })) {
    if (found === name && size === probeBytes) return;
  }
  throw new PageferryError("corrupt", "what was just written is not listed");
}
