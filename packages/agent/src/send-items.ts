// Envelopes on their way: bodies that are too large for one are staged first, and while that takes long the host hears that
// the agent is alive.
import {
  type Envelope,
  type EnvelopeItem,
  encodeEnvelope,
  type Farewell,
  inlineBytesMax,
} from "@pageferry/format";
import type { Batch } from "./batch.ts";
import type { Chapter } from "./chapter.ts";
import type { Contact } from "./contact.ts";
import { beginOf } from "./generation.ts";
import { bodyOf, type StagedBody } from "./queue.ts";
import type { SendContext } from "./send.ts";
import { createWake } from "./wake.ts";

/** What sending needs. */
export type ItemSender = Pick<
  SendContext,
  "database" | "host" | "lag" | "now" | "policy" | "signal" | "chapters"
> & {
  readonly contact: Contact;
};

/** Sends a batch; returns when the host has it. */
export async function sendItems(state: ItemSender, chapter: Chapter, batch: Batch): Promise<void> {
  const items: EnvelopeItem[] = [];
  const bodies: StagedBody[] = [];
  for (const item of batch.items) {
    if (item.bytes.length <= inlineBytesMax) {
      items.push(item);
      continue;
    }
    const body = bodyOf(item.bytes);
    await withHeartbeats(state, chapter, () => state.contact.stage(body, state.signal));
    bodies.push(body);
    items.push({ name: item.name, digest: body.digest, size: body.size });
  }
  await deliver(state, chapter, items, bodies);
}

/** Delivers an envelope; without items it is a heartbeat. */
export function deliver(
  state: ItemSender,
  chapter: Chapter,
  items: readonly EnvelopeItem[],
  bodies: readonly StagedBody[],
): Promise<void> {
  return withHeartbeats(state, chapter, () =>
    state.contact.deliver(() => envelopeOf(state, chapter, items), bodies),
  );
}

/** An envelope without items. */
export function heartbeatOf(state: ItemSender, chapter: Chapter): Uint8Array {
  return encodeEnvelope(envelopeOf(state, chapter, []));
}

/** Says, once everything else is sent, that the database is no longer backed up. */
export function sayFarewell(state: ItemSender, chapter: Chapter, farewell: Farewell): Promise<void> {
  return state.contact.deliver(() => ({ ...envelopeOf(state, chapter, []), farewell }), []);
}

function envelopeOf(state: ItemSender, chapter: Chapter, items: readonly EnvelopeItem[]): Envelope {
  const isCurrent = state.chapters().at(-1) === chapter;
  const last = chapter.shadow.entries().at(-1);
  const newestTxId = (isCurrent ? state.lag.newestTxId() : undefined) ?? last?.txId ?? null;
  const newestStampMs = (isCurrent ? state.lag.newestAtMs() : undefined) ?? last?.stampMs ?? null;
  const begin = beginOf(chapter.cursor(), state.host);
  return { database: state.database, begin, sentAtMs: state.now(), newestTxId, newestStampMs, items };
}

/** A large body on a slow line may take long, and the host must not take that for silence. */
async function withHeartbeats(state: ItemSender, chapter: Chapter, act: () => Promise<void>): Promise<void> {
  const ended = new AbortController();
  const beating = beat(state, chapter, AbortSignal.any([state.signal, ended.signal]));
  try {
    await act();
  } finally {
    ended.abort();
    await beating;
  }
}

async function beat(state: ItemSender, chapter: Chapter, signal: AbortSignal): Promise<void> {
  const pause = createWake();
  for (;;) {
    await pause.wait(state.policy.heartbeatMs, signal);
    if (signal.aborted) return;
    await state.contact.beat(() => envelopeOf(state, chapter, []), signal);
  }
}
