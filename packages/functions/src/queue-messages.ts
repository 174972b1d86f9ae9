// What goes into the durable queue and what comes out of it, as its users see it.

export interface NewMessage {
  readonly database: string;
  readonly body: Uint8Array;
  readonly receivedAtMs: number;
  /** Staged bodies that this message points at; they are kept while it waits. */
  readonly digests?: readonly string[];
  /** How many bytes those are, for the bounds of lanes. */
  readonly stagedBytes?: number;
}

/** One turn with a message. It comes again, later, unless it is settled before its visibility ends. */
export interface Delivery {
  readonly id: number;
  readonly lane: string;
  readonly database: string;
  readonly body: Uint8Array;
  readonly receivedAtMs: number;
  /** How often it was handed out, this time included. */
  readonly receiveCount: number;
}

/** Where a message goes on: into a lane after a delay, or into that lane's dead letters. */
export interface Onward {
  readonly lane: string;
  readonly delayMs?: number;
  readonly dead?: boolean;
  readonly error?: string;
}

/**
 * What became of a delivery. All of it is one transaction: a message is never in no lane before it is done. `isStored`: some
 * replica has all of the message, durably, so that other lanes may let go of it when they are full.
 */
export type Settlement =
  | {
      readonly id: number;
      readonly kind: "done";
      readonly onward?: readonly Onward[];
      readonly isStored?: boolean;
    }
  | { readonly id: number; readonly kind: "retry"; readonly delayMs: number; readonly error?: string }
  | { readonly id: number; readonly kind: "dead"; readonly error: string };

export interface DeadLetter {
  readonly id: number;
  readonly lane: string;
  readonly database: string;
  readonly size: number;
  readonly deadAtMs: number;
  readonly error: string;
}

/** How much waits for one database in one lane. */
export interface LaneDepth {
  readonly lane: string;
  readonly database: string;
  readonly messages: number;
  readonly bytes: number;
  readonly dead: number;
  /** When the oldest that waits was received, looked up when it is asked for; absent when none does. */
  readonly oldestMs?: number;
}

export interface ReceiveOptions {
  readonly messagesMax: number;
  readonly bytesMax: number;
  /** At most ten minutes; `extend` makes it longer. */
  readonly visibilityMs: number;
}
