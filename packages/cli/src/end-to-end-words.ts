// What a check from end to end proves, and what it does not: decided from what was seen, in sentences. Pure.

import { formatDuration } from "@pageferry/format";
import type { WaitAnswer } from "./wait-turns.ts";

/** What a check saw. */
export interface EndToEnd extends WaitAnswer {
  /** Where the transaction comes from: the file as it is now, or what the host has heard of. */
  readonly from: "file" | "captured";
  /** Whether the agent was made to send it at once. */
  readonly forced: boolean;
  /** Why not. */
  readonly notForced: string | null;
  /** Transactions above `after`, up to `upTo`, that the host did not have when the check began; null: it had everything. */
  readonly travelled: { readonly after: string | null; readonly upTo: string } | null;
  /** When the host heard of the agent last, before the check. */
  readonly lastHeard: string | null;
}

/** What follows from it. */
export interface Proof {
  readonly proves: string;
  readonly doesNotProve: string;
}

/** Says what it is worth. `nowMs`: for the age of what was heard. */
export function proofOf(seen: EndToEnd, nowMs: number): Proof {
  const { travelled, forced, from } = seen;
  if (travelled !== null) {
    const what =
      travelled.after === null
        ? `everything up to ${travelled.upTo}`
        : `what was committed after ${travelled.after}, up to ${travelled.upTo}`;
    const sent = forced ? "sent at once" : "sent";
    return {
      proves: `the whole way: ${what} was captured, ${sent}, acknowledged by the host and stored in each replica while this ran`,
      doesNotProve: readBack,
    };
  }
  const held = "each replica, listed just now, holds it";
  const newCommit =
    "that a new commit arrives: nothing was committed since the last acknowledgement, so nothing had to be sent. Let the application commit, and check again";
  if (forced) {
    return {
      proves: `the agent has captured all that is in the file, the host has acknowledged it, and ${held}`,
      doesNotProve: `${newCommit}; ${readBack}`,
    };
  }
  if (from === "file") {
    return {
      proves: `what is in the file is at the host, and ${held}`,
      doesNotProve: `${newCommit}; that its agent runs${heardWords(seen, nowMs)}; ${readBack}`,
    };
  }
  return {
    proves: `what the host has heard of is stored: ${held}`,
    doesNotProve: `that the file has nothing newer: name the file, or ask where its agent runs; ${readBack}`,
  };
}

const readBack = "that it reads back whole, for which there is `pageferry verify`";

function heardWords({ lastHeard }: EndToEnd, nowMs: number): string {
  if (lastHeard === null) return "";
  const ageMs = Math.max(0, nowMs - Date.parse(lastHeard));
  return ` (the host heard of it ${formatDuration(Math.round(ageMs / 1000) * 1000)} ago)`;
}

/** For people. `what`: the file or the database that was asked for. */
export function formatEndToEnd(seen: EndToEnd, what: string, nowMs: number): string {
  const { txid, waitedMs, replicas, forced, notForced, from } = seen;
  const { proves, doesNotProve } = proofOf(seen, nowMs);
  const names = replicas.filter(({ hasIt }) => hasIt).map(({ name }) => name);
  const reached = `${txid === null ? "" : `transaction ${txid}, `}is in ${names.join(", ")}`;
  return [
    `from end to end: what ${from === "file" ? "is in" : "was captured of"} ${what}, ${reached} after ${formatDuration(waitedMs)}`,
    forced ? "sent: at once, by the agent on this machine" : `sent: not by this check: ${notForced}`,
    `proves: ${proves}`,
    `does not prove: ${doesNotProve}`,
    "",
  ].join("\n");
}
