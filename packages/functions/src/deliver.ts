// A batch of messages to one replica: grouped by database and generation, generation.json first, then the objects in the
// order in which they came. Each message gets its own outcome; one that is at fault stops no other.

import {
  type CompanionsName,
  companionsObjectBytesMax,
  type DatabaseName,
  type Envelope,
  type EnvelopeItem,
  type Generation,
  isPageferryError,
  PageferryError,
  parseCompanionsName,
  parseObjectName,
} from "@pageferry/format";
import pMap from "p-map";
import { gather, openBody as openVerified } from "./body.ts";
import type { StateObjectName } from "./describe.ts";
import type { Replica } from "./replica.ts";
import type { LargeBody, PutOutcome, ReplicaItem } from "./replica-put.ts";
import { type Outcome, outcomeOf, worstOf } from "./settle.ts";
import type { CallOptions } from "./store.ts";

/** Generations that are written at a time: enough to hide a store's latency. */
const generationsAtOnce = 8;

/** A staged segment up to this size is read into memory, so that its receipt time can be written into it. */
const stampedBytesMax = 8 * 1024 * 1024;

/** A message, decoded. */
export interface Message {
  readonly id: number;
  readonly envelope: Envelope;
  readonly receivedAtMs: number;
}

/** A history that contradicts the stored one; a copy is in quarantine. */
export interface ForkFound {
  readonly database: DatabaseName;
  readonly generation: Generation;
  readonly epoch: number;
  readonly replica: string;
  readonly why: string;
  /** What is stored cannot be read: it may be damaged, rather than another history. */
  readonly isUnreadable: boolean;
}

export interface DeliverOptions extends CallOptions {
  readonly replicaOf: (database: DatabaseName) => Promise<Replica>;
  readonly stagedBody: (digest: string, database: DatabaseName) => Promise<LargeBody>;
  /** Pack segments that follow one another into one object. */
  readonly pack: boolean;
  readonly onFork: (fork: ForkFound) => void;
}

/** Delivers messages to one replica. Throws only the signal's reason; what was stored by then is found to be present later. */
export async function deliver(
  messages: readonly Message[],
  options: DeliverOptions,
): Promise<Map<number, Outcome>> {
  const groups = Map.groupBy(messages, ({ envelope }) => `${envelope.database}/${envelope.begin.generation}`);
  const outcomes = new Map<number, Outcome>();
  await pMap(
    groups.values(),
    async (group) => {
      for (const [id, outcome] of await deliverGroup(group, options)) outcomes.set(id, outcome);
    },
    { concurrency: generationsAtOnce },
  );
  return outcomes;
}

interface GroupItem {
  readonly message: number;
  readonly item: ReplicaItem;
}

interface FilesItem {
  readonly message: number;
  readonly name: CompanionsName;
  readonly item: EnvelopeItem;
}

async function deliverGroup(
  group: readonly Message[],
  options: DeliverOptions,
): Promise<Map<number, Outcome>> {
  const [first] = group as readonly [Message];
  const { database, begin } = first.envelope;
  const { generation } = begin;
  const met = new Map<number, Outcome[]>(group.map(({ id }) => [id, []]));
  const note = (replica: Replica, id: number, outcome: PutOutcome): void => {
    if (outcome.kind === "failed") {
      met.get(id)?.push({ kind: outcome.fault === "item" ? "dead" : "retry", error: outcome.error });
    }
    if (outcome.kind !== "fork") return;
    met.get(id)?.push({ kind: "done", isStored: false });
    const { why, isUnreadable = false } = outcome;
    options.onFork({ database, generation, epoch: begin.epoch, replica: replica.name, why, isUnreadable });
  };
  try {
    const replica = await options.replicaOf(database).catch((error: unknown) => {
      // Another's archive will never take these; it is no failure of the replica, which serves its owner.
      if (isPageferryError(error, "conflict"))
        for (const one of met.values()) one.push({ kind: "dead", error });
      else throw error;
    });
    if (replica === undefined) return outcomesOf(met);
    for (const { id, envelope, receivedAtMs } of distinctBegins(group)) {
      note(replica, id, await replica.begin(envelope.begin, receivedAtMs, options));
    }
    const { items, files } = await openItems(group, options, met);
    const puts = items.map(({ item }) => item);
    const outcomes = await replica.putAll(generation, puts, { signal: options.signal, pack: options.pack });
    for (const [at, { message }] of items.entries()) note(replica, message, outcomes[at] as PutOutcome);
    // After the segments, and one at a time: each may be as large as all companion files of a database.
    for (const { message, name, item } of files) {
      try {
        const bytes = await filesBytes(item, database, options);
        note(replica, message, await replica.putCompanions(name, bytes, options));
      } catch (error) {
        options.signal?.throwIfAborted();
        met.get(message)?.push(outcomeOf(error));
      }
    }
  } catch (error) {
    options.signal?.throwIfAborted();
    // Whatever it is, it was not met in a message.
    for (const outcomes of met.values()) outcomes.push({ kind: "retry", error });
  }
  return outcomesOf(met);
}

function outcomesOf(met: ReadonlyMap<number, Outcome[]>): Map<number, Outcome> {
  return new Map([...met].map(([id, outcomes]) => [id, worstOf(outcomes)]));
}

/** Every envelope tells how its generation began; one of each telling is enough. */
function distinctBegins(group: readonly Message[]): Message[] {
  const told = new Map<string, Message>();
  for (const message of group) {
    const { parent, epoch, pageSize } = message.envelope.begin;
    const words = `${parent?.generation} ${parent?.txId} ${epoch} ${pageSize}`;
    if (!told.has(words)) told.set(words, message);
  }
  return [...told.values()];
}

async function openItems(
  group: readonly Message[],
  options: DeliverOptions,
  met: ReadonlyMap<number, Outcome[]>,
): Promise<{ readonly items: readonly GroupItem[]; readonly files: readonly FilesItem[] }> {
  const items: GroupItem[] = [];
  const files: FilesItem[] = [];
  for (const { id, envelope, receivedAtMs } of group) {
    for (const item of envelope.items) {
      try {
        const name = sentName(item.name, envelope.begin.generation);
        if ("digest" in name) {
          files.push({ message: id, name, item });
          continue;
        }
        const body = await openBody(item, name, envelope.database, options);
        items.push({ message: id, item: { name, body, receivedAtMs } });
      } catch (error) {
        options.signal?.throwIfAborted();
        met.get(id)?.push(outcomeOf(error));
      }
    }
  }
  return { items, files };
}

/** Those and versions of its companion files. */
export function sentName(name: string, generation: Generation): StateObjectName | CompanionsName {
  const files = parseCompanionsName(name);
  return files?.generation === generation ? files : stateName(name, generation);
}

/** What an agent may send: segments, packs and snapshots of the envelope's own generation. */
function stateName(name: string, generation: Generation): StateObjectName {
  const parsed = parseObjectName(name);
  const isState = parsed?.kind === "segment" || parsed?.kind === "pack" || parsed?.kind === "snapshot";
  if (!isState || parsed.generation !== generation) {
    throw new PageferryError(
      "bad-name",
      `object ${name.slice(0, 120)} is no segment or snapshot of generation ${generation}`,
    );
  }
  return parsed;
}

async function filesBytes(
  item: EnvelopeItem,
  database: DatabaseName,
  options: DeliverOptions,
): Promise<Uint8Array> {
  if ("bytes" in item) return item.bytes;
  const where = `object ${item.name}`;
  return gather(
    openVerified(await stagedOf(item, database, options), where),
    companionsObjectBytesMax,
    where,
  );
}

async function stagedOf(
  item: Extract<EnvelopeItem, { readonly digest: string }>,
  database: DatabaseName,
  options: DeliverOptions,
): Promise<LargeBody> {
  const body = await options.stagedBody(item.digest, database);
  if (body.size === item.size) return body;
  throw new PageferryError(
    "corrupt",
    `object ${item.name}: staged ${body.size} bytes, its envelope says ${item.size}`,
  );
}

async function openBody(
  item: EnvelopeItem,
  name: StateObjectName,
  database: DatabaseName,
  options: DeliverOptions,
): Promise<Uint8Array | LargeBody> {
  if ("bytes" in item) return item.bytes;
  const body = await stagedOf(item, database, options);
  if (name.kind !== "segment" || body.size > stampedBytesMax) return body;
  // Who staged it may have put other bytes under the digest.
  const where = `object ${item.name}`;
  return gather(openVerified(body, where), stampedBytesMax, where);
}
