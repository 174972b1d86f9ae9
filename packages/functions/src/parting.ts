// That a database is no longer backed up, on purpose, as its agent said last; and which envelope says that it is again. A queue may bring an
// older one later, and is not to be taken at its word then. Pure.

import { type Envelope, type Farewell, farewellPattern, farewellWords } from "@pageferry/format";
import { z } from "zod";
import { formatTime } from "./replica-state.ts";

/** What was said, and when. */
export interface Parting {
  readonly reason: Farewell;
  readonly host: string;
  /** When it was received. */
  readonly atMs: number;
  /** By the agent's clock. */
  readonly sentAtMs: number;
}

/** As it is noted. */
export const partingSchema = z.object({
  reason: z.string().regex(farewellPattern),
  host: z.string(),
  atMs: z.number(),
  sentAtMs: z.number(),
});

/** As long as a call of an agent may take. */
const overtakenMsMax = 60_000;

/** What is known before an envelope comes. */
interface Known {
  readonly parting: Parting | null;
  /** When the newest envelope before was received. */
  readonly lastSeenMs: number;
}

/** What holds after an envelope. */
export function partingAfter(
  { parting, lastSeenMs }: Known,
  { farewell, begin: { host }, sentAtMs }: Envelope,
  receivedAtMs: number,
): Parting | null {
  if (farewell !== undefined) {
    const isSame = parting?.reason === farewell && parting.host === host;
    // One that was overtaken by something newer is over.
    return isSame || receivedAtMs < lastSeenMs
      ? parting
      : { reason: farewell, host, atMs: receivedAtMs, sentAtMs };
  }
  if (parting === null) return null;
  // What the same agent sent before it says nothing new, also where the farewell came by another line and overtook it. Both clocks must say so:
  // one that was set back must not silence an alarm.
  const isOlder =
    host === parting.host
      ? sentAtMs <= parting.sentAtMs && receivedAtMs <= parting.atMs + overtakenMsMax
      : receivedAtMs <= parting.atMs;
  return isOlder ? parting : null;
}

/** As the API shows it. */
export interface PartingStatus {
  readonly since: string;
  /** In words. */
  readonly by: string;
  readonly reason: string;
}

/** As the API shows it. */
export function partingStatus({ reason, host, atMs }: Parting): PartingStatus {
  return { since: formatTime(atMs), by: farewellWords(reason, host), reason };
}
