// The door: what comes in is looked at before it is acknowledged, and acknowledged only when it is durable. What is
// refused here reaches no replica and no dead letter; its sender is told.

import {
  type DatabaseName,
  decodeCompanions,
  decodeEnvelope,
  type Envelope,
  type EnvelopeItem,
  PageferryError,
} from "@pageferry/format";
import { openBody } from "./body.ts";
import { checkCompanions } from "./companions-put.ts";
import { ingestLane } from "./consumer.ts";
import { sentName } from "./deliver.ts";
import { describeBytes, describeObject } from "./describe.ts";
import type { DurableQueue, NewMessage } from "./queue.ts";
import type { Room } from "./room.ts";
import type { Sources } from "./sources.ts";
import type { StageDoor } from "./stage.ts";

export interface IngestOptions {
  readonly queue: Pick<DurableQueue, "send">;
  readonly stage: Pick<StageDoor, "touch" | "body">;
  readonly sources: Pick<Sources, "heard" | "get">;
  readonly room: Room;
  /** Throws where a database may not be backed up here. */
  readonly admit: (database: DatabaseName) => Promise<void>;
  /** Throws `fork` for a generation of which two histories were found. */
  readonly checkFork: (database: DatabaseName, begin: Envelope["begin"]) => void;
  /** Told when there was no room for an envelope: somebody may make some. */
  readonly onNoRoom: () => void;
  readonly now: () => number;
  /** Whether envelopes without items go into the queue, too: where those are heard of who take from it. Default false. */
  readonly queuesHeartbeats?: boolean;
}

/**
 * Takes an envelope; resolves when it is durable. Errors: `corrupt`, `bad-name`, `too-large`, `unsupported-version` where
 * it is at fault; what `mayAdd` throws for a database that is not its sender's; `fork` where another history of its generation
 * was found; `unavailable` or `disk-full` where it may come again.
 */
export async function ingest(
  bytes: Uint8Array,
  options: IngestOptions,
  mayAdd: (database: DatabaseName, envelope: Envelope) => void,
): Promise<Envelope> {
  const receivedAtMs = options.now();
  const envelope = decodeEnvelope(bytes);
  const { database, begin, items } = envelope;
  mayAdd(database, envelope);
  options.checkFork(database, begin);
  await options.admit(database);
  const digests: string[] = [];
  let stagedBytes = 0;
  for (const item of items) {
    await checkItem(item, envelope, options.stage);
    if (!("digest" in item)) continue;
    digests.push(item.digest);
    stagedBytes += item.size;
  }
  // A heartbeat has nothing to keep, and a thousand idle databases send fifty a second.
  if (items.length > 0 || options.queuesHeartbeats === true || tellsOfBegin(envelope, options))
    await keep({ database, body: bytes, receivedAtMs, digests, stagedBytes }, options);
  options.sources.heard(envelope, receivedAtMs);
  return envelope;
}

/** Whether replicas must hear of a generation that has nothing yet: it stands on a point of another, which is to stay. Once is enough. */
function tellsOfBegin({ database, begin }: Envelope, { sources }: IngestOptions): boolean {
  if (begin.parentStateHash === undefined) return false;
  return sources.get(database)?.generations.has(begin.generation) !== true;
}

async function keep(message: NewMessage, { room, queue, onNoRoom }: IngestOptions): Promise<void> {
  try {
    await room.check(message.body.length);
    await queue.send(ingestLane, message);
  } catch (error) {
    onNoRoom();
    throw error;
  }
}

async function checkItem(
  item: EnvelopeItem,
  envelope: Envelope,
  stage: IngestOptions["stage"],
): Promise<void> {
  const name = sentName(item.name, envelope.begin.generation);
  if ("bytes" in item) {
    if ("digest" in name) await decodeCompanions(name.name, item.bytes);
    else describeBytes(name, item.bytes);
    return;
  }
  // Touched, so that it is not collected before the message that points at it is in the queue.
  const size = await stage.touch(item.digest, envelope.database);
  if (size === undefined) {
    throw new PageferryError(
      "unavailable",
      `staged body ${item.digest} of ${item.name} is not here: stage it again`,
    );
  }
  if (size !== item.size) {
    throw new PageferryError(
      "corrupt",
      `object ${item.name}: ${size} bytes are staged, its envelope says ${item.size}`,
    );
  }
  const body = await stage.body(item.digest, envelope.database);
  if ("digest" in name) await checkCompanions(name.name, openBody(body, `object ${item.name}`));
  else await describeObject(name, body);
}
