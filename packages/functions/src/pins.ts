// Pins over all replicas of a database: a point that somebody chose stays until they let it go. See docs/operations.md#retention.

import {
  type ArchiveReader,
  type DatabaseName,
  type Generation,
  openArchive,
  PageferryError,
  planFromArchive,
  type RestoreTarget,
  type TxId,
} from "@pageferry/format";
import { withDeadline } from "./deadline.ts";
import type { Replica } from "./replica.ts";
import type { CallOptions } from "./store.ts";
import { addPin, listPins, type Pin, removePin } from "./wanted-points.ts";

/** A pinned point, and where its pin lies. */
export interface PinnedPoint extends Pin {
  readonly replicas: readonly string[];
}

/** What pinning did, or letting go: the point, and the replicas that know it now. */
export interface PinReport {
  readonly database: DatabaseName;
  readonly generation: Generation;
  readonly txId: TxId;
  readonly replicas: readonly string[];
  readonly failures: readonly { readonly replica: string; readonly why: string }[];
}

/**
 * Pins the point that a restore of `target` would give. Errors: those of planning (`not-found` with the neighbours), `unavailable` where no
 * replica could be told; one that could not is in the report.
 */
export async function pinPoint(
  database: DatabaseName,
  replicas: readonly Replica[],
  target: RestoreTarget,
  { note, now, signal }: CallOptions & { readonly note?: string | undefined; readonly now: () => number },
): Promise<PinReport> {
  const readers: ArchiveReader[] = replicas.map(({ reader }) => reader);
  const { generation, txId } = await planFromArchive(await openArchive(readers, { signal }), target, {
    signal,
  });
  return onEach(database, replicas, { generation, txId }, (replica) =>
    addPin(replica.objects, { generation, txId, note }, now(), { signal }),
  );
}

/** Lets a pinned point go: from the next prune on its age counts again. */
export async function unpinPoint(
  database: DatabaseName,
  replicas: readonly Replica[],
  point: { readonly generation: Generation; readonly txId: TxId },
  call: CallOptions,
): Promise<PinReport> {
  return onEach(database, replicas, point, (replica) => removePin(replica.objects, point, call));
}

/** A replica that does not tell its pins by then is not waited for. */
const pinsWaitMs = 2000;

/**
 * All pins, newest transaction first. A pin lies in every replica that could be told, so one that is away hides none that another knows; the
 * first failure is thrown where none answers.
 */
export async function pinsOf(
  replicas: readonly Promise<Replica>[],
  { signal }: CallOptions,
): Promise<PinnedPoint[]> {
  // Who gave up before they were opened hears of none.
  for (const opening of replicas) opening.catch(() => undefined);
  const asked = await Promise.allSettled(
    replicas.map((opening) =>
      withDeadline(pinsWaitMs, signal, async (until) => {
        const { name, objects } = await opening;
        return { name, pins: await listPins(objects, { signal: until }) };
      }),
    ),
  );
  signal?.throwIfAborted();
  const failed = asked.find((one) => one.status === "rejected");
  if (failed !== undefined && !asked.some((one) => one.status === "fulfilled")) throw failed.reason;
  const found = new Map<string, { pin: Pin; replicas: string[] }>();
  for (const { name, pins } of asked.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []))) {
    for (const pin of pins) {
      const key = `${pin.generation} ${pin.txId}`;
      const known = found.get(key) ?? { pin, replicas: [] };
      found.set(key, known);
      known.replicas.push(name);
    }
  }
  return [...found.values()]
    .map(({ pin, replicas: names }) => ({ ...pin, replicas: names }))
    .sort((a, b) => (a.txId < b.txId ? 1 : -1));
}

async function onEach(
  database: DatabaseName,
  replicas: readonly Replica[],
  point: { readonly generation: Generation; readonly txId: TxId },
  act: (replica: Replica) => Promise<unknown>,
): Promise<PinReport> {
  const done = await Promise.allSettled(replicas.map(act));
  const told = replicas.filter((_, at) => done[at]?.status === "fulfilled").map(({ name }) => name);
  const failures = done.flatMap((one, at) => {
    if (one.status === "fulfilled") return [];
    const why = one.reason instanceof Error ? one.reason.message : String(one.reason);
    return [{ replica: replicas[at]?.name ?? "", why }];
  });
  const [first] = failures;
  if (told.length === 0)
    throw new PageferryError(
      "unavailable",
      `no replica of ${database} could be told: ${first?.why ?? "there is none"}`,
    );
  return { database, ...point, replicas: told, failures };
}
