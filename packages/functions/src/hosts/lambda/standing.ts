// What the functions that look after databases know of them, beside what every function has: how each stands, what was done with it, what
// waits. What other functions did meanwhile is read when somebody needs it that new.

import { tmpdir } from "node:os";
import { join } from "node:path";
import { type DatabaseName, parseDatabaseName } from "@pageferry/format";
import { createDatabases, type Databases } from "../../databases.ts";
import type { Happening } from "../../event-log.ts";
import type { CallOptions } from "../../store.ts";
import { createUpkeep, type Upkeep } from "../../upkeep.ts";
import { createVerified, type Verified } from "../../verified.ts";
import { type Container, type ContainerOptions, openContainer } from "./container.ts";
import { createDepths, type Depths } from "./depths.ts";
import { createHoleNotes, type HoleNotes, holeNotes } from "./hole-notes.ts";
import { type Letters, openLetters } from "./sqs-letters.ts";

/** For as long a message may be hidden in a queue before somebody else takes it; by then what is missing is lost, or in a lane. */
const settleMs = 15 * 60_000;

export interface Standing extends Container {
  readonly letters: Letters;
  readonly depths: Depths;
  readonly upkeep: Upkeep;
  readonly verified: Verified;
  readonly databases: Databases;
  readonly holes: HoleNotes;
  /** On the only disk there is. What is in it is this process's own. */
  readonly scratchDir: string;
  readonly now: () => number;
  /** Reads what others noted, and how much waits, where that was read longer ago. What cannot be read now stays as it was. */
  refresh(ageMsMax: number, call?: CallOptions): Promise<void>;
  /** Lists a database again in each replica, where that was done longer ago. One that cannot be listed stays as it was known. */
  relist(database: DatabaseName, ageMsMax: number, call?: CallOptions): Promise<void>;
}

/** Opens it for the function `name`. Errors: those of `openContainer`. */
export async function openStanding(name: string, options: ContainerOptions = {}): Promise<Standing> {
  const { now = Date.now, prefixes = [] } = options;
  const container = await openContainer(name, { ...options, prefixes: [...prefixes, "upkeep/", holeNotes] });
  const { environment, telemetry, notes, targets, sources, forks } = container;
  const happened = ({ kind, message, ...place }: Happening) =>
    telemetry.log.info({ kind, ...place }, message);
  const upkeep = createUpkeep({ now, notes, happened, onChange: () => undefined });
  const verified = createVerified();
  const letters = openLetters();
  const depths = createDepths({ letters, targets, environment });
  const holes = createHoleNotes(notes);
  const { config } = environment;
  const databases = createDatabases({
    ...{ queue: depths, sources, targets, alarms: telemetry.alarms, verified, upkeep, now, settleMs },
    known: config.databases.map((database) => parseDatabaseName(database.name)),
    repairs: { needsRepair: () => undefined },
    snapshotIntervalMs: config.snapshotIntervalMs,
    holesOf: holes.of,
  });
  return {
    ...container,
    ...{ letters, depths, upkeep, verified, databases, holes, now },
    scratchDir: join(tmpdir(), "pageferry", name),
    async refresh(ageMsMax, call) {
      const renew = async () => {
        if (notes.ageMs() <= ageMsMax) return;
        await notes.refresh(call);
        for (const part of [sources, forks, upkeep]) part.reload();
      };
      const reading = renew().catch((error: unknown) => {
        call?.signal?.throwIfAborted();
        telemetry.log.warn({ error }, "notes cannot be read now");
      });
      await Promise.all([reading, depths.refresh(ageMsMax, call)]);
    },
    relist: createRelist(targets),
  };
}

function createRelist(targets: Container["targets"]): Standing["relist"] {
  const listedAtMs = new Map<string, number>();
  return async (database, ageMsMax, { signal } = {}) => {
    const listing = targets.map(async ({ name, set, ask }) => {
      const place = `${name}\n${database}`;
      const startedMs = performance.now();
      if (startedMs - (listedAtMs.get(place) ?? Number.NEGATIVE_INFINITY) <= ageMsMax) return;
      await ask(async (until) => (await set.of(database)).refresh({ signal: until }), signal);
      listedAtMs.set(place, startedMs);
    });
    await Promise.allSettled(listing);
    signal?.throwIfAborted();
  };
}
