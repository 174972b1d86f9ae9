// A batch of messages to all replicas at once. What a replica does not take goes on in its own lane, alone; what is large
// goes there at once, and what is at fault becomes that lane's dead letter. Nothing here knows a host or a queue.

import { PageferryError } from "@pageferry/format";
import { withDeadline } from "./deadline.ts";
import type { Message } from "./deliver.ts";
import type { Settlement } from "./queue.ts";
import { type Outcome, settleFanout } from "./settle.ts";

/** A body above this is copied in the lanes: it would hold up everything that came with it. */
export const copiedBytesMin = 16 * 1024 * 1024;

/** A replica that is not done by then goes on in its lane, where it may take its time. */
const deadlineMsDefault = 5000;

/** A replica as fan-out sees it. */
export interface FanoutTarget {
  /** A stable word for logs. */
  readonly name: string;
  /** Where messages wait that it could not take. */
  readonly lane: string;
  /** Where messages wait whose bodies are large. */
  readonly copyLane: string;
  /** Whether it may be asked now; one that failed or is busy gets its messages by its lane. */
  isReady(): boolean;
  /** One outcome for each message. Throws only the signal's reason. */
  deliver(messages: readonly Message[], signal: AbortSignal): Promise<ReadonlyMap<number, Outcome>>;
}

export interface FanoutOptions {
  readonly signal?: AbortSignal | undefined;
  /** Default 5 s. */
  readonly deadlineMs?: number;
}

/** Sends a batch to all replicas; one settlement for each message: done here, its rest in the lanes. Never throws. */
export async function fanOut(
  messages: readonly Message[],
  targets: readonly FanoutTarget[],
  options: FanoutOptions = {},
): Promise<Settlement[]> {
  const small = messages.filter((message) => !isLarge(message));
  const results = await Promise.all(targets.map((target) => deliverOrLane(target, small, options)));
  return messages.map(({ id }): Settlement => {
    const byLane = new Map<string, Outcome>();
    for (const [at, target] of targets.entries()) {
      const outcome = results[at]?.get(id);
      byLane.set(outcome === undefined ? target.copyLane : target.lane, outcome ?? copied);
    }
    return settleFanout(id, byLane);
  });
}

const copied: Outcome = {
  kind: "retry",
  error: new PageferryError("unavailable", "its bodies are large: copied in its own time"),
};

function isLarge({ envelope }: Message): boolean {
  return envelope.items.some((item) => "digest" in item && item.size >= copiedBytesMin);
}

async function deliverOrLane(
  target: FanoutTarget,
  messages: readonly Message[],
  options: FanoutOptions,
): Promise<ReadonlyMap<number, Outcome>> {
  if (messages.length === 0) return new Map();
  const all = (error: unknown) =>
    new Map(messages.map(({ id }): [number, Outcome] => [id, { kind: "retry", error }]));
  if (!target.isReady())
    return all(new PageferryError("unavailable", `${target.name}: is busy or does not answer`));
  try {
    return await withDeadline(options.deadlineMs ?? deadlineMsDefault, options.signal, (signal) =>
      target.deliver(messages, signal),
    );
  } catch (cause) {
    return all(new PageferryError("unavailable", `${target.name}: was not done in time`, { cause }));
  }
}
