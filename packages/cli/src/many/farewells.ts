// Databases that were let go on purpose, of which the host is to hear so: what could not be said is owed, and said again each minute for a day,
// unless the database is back by then.

import { type Farewell, isPageferryError } from "@pageferry/format";
import { isThere } from "../is-there.ts";
import type { Log } from "../log.ts";
import type { Member } from "./fleet-plan.ts";

/** Speaks to the host for a database that the agent does not have. */
export interface Speaker {
  /** Whether the shadow has anything of it: else there is nothing to speak for. */
  knows(name: string): Promise<boolean>;
  /** Sends what of it waits, and the farewell; false: the host did not take it. Errors: `locked` where another agent has it. */
  say(name: string, farewell: Farewell): Promise<boolean>;
}

/** What is owed to the host. */
export interface Farewells extends Pick<Speaker, "knows"> {
  /** Says it now; what is not taken is owed. Errors: as the speaker. */
  say(name: string, farewell: Farewell): Promise<boolean>;
  owe(name: string, farewell: Farewell): void;
  /** It is backed up again. */
  forget(name: string): void;
  owed(): readonly string[];
  /** Says what is owed, until one is not taken: what comes after it would not be, either. */
  sayAgain(signal: AbortSignal): Promise<void>;
}

/** A host that is away for longer hears it when somebody says it once more. */
const owedMsMax = 24 * 3_600_000;

/** Owes nothing at first. `nowMs`: a clock that is never set. */
export function createFarewells(
  { knows, say }: Speaker,
  log: Log,
  nowMs = () => performance.now(),
): Farewells {
  const owed = new Map<string, { readonly farewell: Farewell; readonly sinceMs: number }>();
  const owe = (name: string, farewell: Farewell): void => {
    const sinceMs = owed.get(name)?.sinceMs ?? nowMs();
    // Behind the others: one that is refused for ever holds up none of them.
    owed.delete(name);
    owed.set(name, { farewell, sinceMs });
  };
  const speak = async (name: string, farewell: Farewell): Promise<boolean> => {
    const isTold = await say(name, farewell);
    if (isTold) owed.delete(name);
    else owe(name, farewell);
    return isTold;
  };
  return {
    ...{ knows, owe, say: speak },
    forget: (name) => void owed.delete(name),
    owed: () => [...owed.keys()],
    async sayAgain(signal) {
      for (const [name, { farewell, sinceMs }] of [...owed]) {
        if (signal.aborted) return;
        if (nowMs() - sinceMs > owedMsMax) {
          owed.delete(name);
          log.warn({ database: name }, "the host could not be told for a day that it is no longer backed up");
        } else if (!(await speak(name, farewell).catch((error: unknown) => isAnothers(name, error)))) return;
      }
    },
  };

  /** Another agent has it now, and speaks for it. What else goes wrong, such as a full disk, passes. */
  function isAnothers(name: string, error: unknown): boolean {
    return isPageferryError(error, "locked") && owed.delete(name);
  }
}

/**
 * Why a database that a reload lets go is no longer backed up, on purpose; undefined: it was found, and its file is gone. Nobody knows then
 * whether that was meant, and the host's alarm stands.
 */
export async function farewellOfReload(member: Member | undefined): Promise<Farewell | undefined> {
  if (member?.origin === "found" && !(await isThere(member.database.path))) return undefined;
  return "unconfigured";
}
